"""`validate`: takes the declared outputs out of a tree that training wrote, and asks the gates.

What comes back from training is hostile: only declared outputs are taken, only regular files
inside the tree, only as dvc.lock records them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlops.adapters.dvc import outputs
from mlops.domain.dvcfiles import LockedStage, parse_lock
from mlops.domain.environment import GateRule
from mlops.domain.release import GateVerdict
from mlops.domain.source import DataObject
from mlops.errors import ConfigError, RefusedError
from mlops.policy import gates, metrics
from mlops.policy.hashes import file_md5
from mlops.steps.gitops import open_branch, target_at
from mlops.steps.sources import Source, open_source
from mlops.steps.state import emptied, write_file
from mlops.steps.telling import say

_LOCK_LIMIT = 16 << 20  # bytes of a dvc.lock
_KEPT_LIMIT = 8 << 20  # bytes of an output that git keeps


def run(env: Mapping[str, str]) -> None:
    """Take outputs, artifact and metrics; write the verdicts. Raises RefusedError where an output
    cannot be taken, or a gate fails."""
    source = open_source(env)
    tree = source.inputs.directory("source")
    taken = take_outputs(source, tree)
    source.state.write("artifact.json", _described(take_artifact(source, tree, taken)))
    found = _metrics(source, tree)
    source.state.write("metrics.json", dict(found))
    verdicts = judge(source, found)
    source.state.write("verdicts.json", [asdict(verdict) for verdict in verdicts])
    for verdict in verdicts:
        say(f"gate {verdict.told}{' (passed)' if verdict.passed else ''}")
    failed = gates.refused(verdicts)
    if failed:
        raise RefusedError("; ".join(f"gate {verdict.told}" for verdict in failed))


def take_outputs(source: Source, tree: Path) -> tuple[outputs.Output, ...]:
    """The declared outputs of the model's stages; keeps dvc.lock, and what git keeps of them."""
    emptied(source.state.lock)
    locks = _take_locks(source, tree)
    taken = outputs.collect(tree, source.scope, locks)
    kept = emptied(source.state.kept)
    for each in taken:
        if not each.cached:
            _keep(tree, each.object, kept)
    source.state.write(
        "outputs.json", [{**_described(each.object), "cached": each.cached} for each in taken]
    )
    if taken:
        say(f"{len(taken)} declared outputs of {len(source.scope)} stages")
    return taken


def _take_locks(source: Source, tree: Path) -> dict[str, LockedStage]:
    found: dict[str, LockedStage] = {}
    for path in source.lock_paths:
        content = outputs.read(tree, path, _LOCK_LIMIT)
        if content is None:
            raise RefusedError(
                f"{path} is not there: no stage of {source.model.name} was ever run",
                hint="Was the release before fetched? git fetch origin 'refs/tags/mlops/*:refs/tags/mlops/*'",
            )
        write_file(source.state.lock / path, content)
        found |= parse_lock(content, path)
    return found


def _keep(tree: Path, output: DataObject, to: Path) -> None:
    """A `cache: false` output goes into the release's tag."""
    if (output.size or 0) > _KEPT_LIMIT:
        say(f"warning: {output.path} is too large for git: the next run makes it again")
    else:
        _copied(tree, output, to)


def take_artifact(source: Source, tree: Path, taken: tuple[outputs.Output, ...]) -> DataObject:
    """The model artifact, copied out of training's reach.

    Raises ConfigError where mlops.yaml names none, RefusedError where it is not there or is nothing
    that the source or its stages declare.
    """
    path = source.model.artifact
    if path is None:
        raise ConfigError(
            f"mlops.yaml: models.{source.model.name} has no artifact",
            hint="Name the output that goes into the image",
        )
    artifact = outputs.take(tree, path, f"model {source.model.name}")
    if not _declared(source, artifact, taken):
        raise RefusedError(
            f"{path} is no output that dvc.yaml declares, nor as the source has it",
            hint="Add it to the outs of the stage that writes it",
        )
    _copied(tree, artifact, emptied(source.state.taken))
    say(f"artifact {path}: md5 {artifact.md5}, {artifact.size} bytes")
    return artifact


def _declared(source: Source, artifact: DataObject, taken: tuple[outputs.Output, ...]) -> bool:
    if source.model.train.command:
        return True
    places = (each.object.path for each in taken)
    if any(artifact.path == place or artifact.path.startswith(f"{place}/") for place in places):
        return True
    tracked = {data.path: data.md5 for data in source.dvc.tracked(source.commit)}
    committed = source.repository.read(source.commit, artifact.path)
    return tracked.get(artifact.path) == artifact.md5 or (
        committed is not None and file_md5(committed) == artifact.md5
    )


def _copied(tree: Path, output: DataObject, to: Path) -> None:
    """A copy that is, byte for byte, what was taken."""
    target = to / output.path
    target.parent.mkdir(parents=True, exist_ok=True)
    place = tree / output.path
    if place.is_dir():
        shutil.copytree(place, target, symlinks=True, copy_function=_link_or_copy)
    else:
        _link_or_copy(str(place), str(target))
    copy = outputs.take(to, output.path, "this run")
    if copy.md5 != output.md5:
        raise RefusedError(f"{output.path} changed while it was taken", hint="Run again")


def _link_or_copy(old: str, new: str) -> str:
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        shutil.copy2(old, new, follow_symlinks=False)
    return new


def _metrics(source: Source, tree: Path) -> Mapping[str, Any]:
    path = source.model.metrics
    if path is None:
        return {}
    return metrics.parse_metrics(outputs.read(tree, path, metrics.LIMIT), path)


def judge(source: Source, found: Mapping[str, Any]) -> tuple[GateVerdict, ...]:
    """The verdicts of the model's gates and the first environment's, against what it pins now."""
    environment = source.inputs.text("environment")
    rules: tuple[GateRule, ...] = source.model.gates
    if not environment:
        return gates.evaluate(rules, found, None)
    branch = open_branch(source)
    target = target_at(branch, branch.refresh(), environment, source.model.name)
    pinned = target.record.metrics if target.record is not None else None
    if target.pinned is not None and pinned is None:
        pinned = {}
    return gates.evaluate((*rules, *target.policy.gates), found, pinned)


def _described(output: DataObject) -> dict[str, Any]:
    found = {
        "path": output.path,
        "md5": output.md5,
        "size": output.size,
        "nfiles": output.nfiles,
    }
    return {key: value for key, value in found.items() if value is not None}
