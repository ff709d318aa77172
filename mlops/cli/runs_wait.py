"""`mlops runs wait`: until runs are over, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from mlops.cli import options, render, runs_options, runs_place, runs_words, wiring_cluster
from mlops.cli.runs_json import run_json
from mlops.cli.runs_kept import Kept
from mlops.domain.run import Phase, RunResult

_HELD_BACK = ("PipelineRunPending", "TaskRunPending")


def wait(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs, or how their names begin; default: all that are not over.",
            autocompletion=runs_place.offered,
            show_default=False,
        ),
    ] = None,
    *,
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> int:
    """Wait until runs are over, and say how each ended, as it ends.

    On a cluster one watch is enough for all of them. Exit code 1 where one did not succeed.

    Examples:  mlops runs wait    mlops runs wait spam-1a2b3c4-1 spam-5d6e7f8-1 -o json
    """
    place = runs_place.here(repo, executor, namespace)
    kept = runs_place.executor(place, patience=wiring_cluster.LASTING)
    ended = list(_told(kept, _chosen(kept, names or ()), output))
    render.answer([run_json(run, kept.name) for run in ended], output, lambda: None)
    return int(any(run.phase is not Phase.SUCCEEDED for run in ended))


def _chosen(kept: Kept, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the runs to wait for: one that is held back would be waited for in vain."""
    if names:
        return tuple(dict.fromkeys(runs_place.find(kept, name).name for name in names))
    there = (run for run in kept.list() if not run.phase.done)
    return tuple(run.name for run in there if run.reason not in _HELD_BACK)


def _told(kept: Kept, names: Sequence[str], output: options.Output) -> Iterator[RunResult]:
    for run in kept.endings(names):
        said = f"{run.name}: {run.phase}"
        told = runs_words.outcome(run)
        if run.phase is not Phase.SUCCEEDED and told:
            said = f"{said}: {render.words(told)}"
        (render.line if output is options.Output.TEXT else render.note)(said)
        yield run
