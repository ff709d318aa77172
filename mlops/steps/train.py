"""`train`: `dvc repro` decides and runs here; each command runs in the environment image."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from mlops.adapters.dvc import program
from mlops.adapters.dvc.workspace import prepare
from mlops.domain.digest import ImageRef
from mlops.errors import RefusedError
from mlops.steps import circumstances, shim
from mlops.steps.exchange import Exchange
from mlops.steps.sources import Source, open_source
from mlops.steps.telling import say

_TAIL = 40  # lines of DVC's that an error may draw on


def run(env: Mapping[str, str]) -> None:
    """Train in the workspace `source`.

    Raises RefusedError that names the stage and the exit code where a command fails.
    """
    source = open_source(env)
    exchange = Exchange(source.inputs.directory("exchange"), source.state.training)
    exchange.prepare(variables(source))
    exchange.wait(str(ImageRef.parse(source.inputs.text("image"))))
    source.state.write("trained.json", circumstances.of_training(source))
    tree = source.inputs.directory("source")
    if source.model.train.command:
        _command(source, exchange)
    elif source.scope:
        _repro(source, exchange, tree)
    else:
        raise RefusedError(
            f"{source.model.name} has neither DVC stages nor train.command",
            hint="Name one in mlops.yaml",
        )


def variables(source: Source) -> dict[str, str]:
    """The variables that commands get beside those of their image: fixed ones, `train.env`, and
    the commit's time, so that what is stamped is stamped the same on another day."""
    committed = source.repository.info(source.commit).committed
    given: dict[str, str] = json.loads(source.inputs.text("train-env"))
    return {
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",  # DVC hashes directories of sources
        "SOURCE_DATE_EPOCH": str(int(committed.timestamp())),
        **given,
    }


def _repro(source: Source, exchange: Exchange, tree: Path) -> None:
    workspace = prepare(tree, source.state.cache, source.dvc_config, project=source.home)
    exchange.keep(tree)
    said: list[str] = []

    def tell(line: str) -> None:
        say(line)
        said.append(line)
        del said[:-_TAIL]

    code = workspace.repro(
        source.model.train.stages,
        shell=exchange.shell,
        env=exchange.variables(tree),
        line=tell,
        force=source.inputs.flag("retrain"),
    )
    took = exchange.took()
    if took:
        say(
            "commands took "
            + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in took.items())
        )
    if code == 0:
        return
    failure = exchange.failure()
    if failure is not None:
        raise RefusedError(failure.text, hint="See the lines above")
    raise RefusedError(f"dvc repro failed (exit {code}): {program.words(chr(10).join(said))}")


def _command(source: Source, exchange: Exchange) -> None:
    """One command, the same way, without DVC."""
    command = shlex.join(source.model.train.command)
    say(f"> {command}")
    given = {os.fsencode(k): os.fsencode(v) for k, v in variables(source).items()}
    code, reason = shim.forward(
        str(exchange.directory), b".", os.fsencode(command), given, shim.to_stdout
    )
    if code != 0:
        told = f"train.command failed (exit {code})"
        raise RefusedError(f"{told}: {reason}" if reason else told, hint="See the lines above")
