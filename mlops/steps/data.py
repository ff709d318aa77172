"""`data`: pulls what DVC versions. Together with `push` the only step with credentials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlops.adapters.dvc.workspace import Workspace
from mlops.domain.dvcfiles import TrackedData
from mlops.errors import RefusedError
from mlops.steps import credentials
from mlops.steps.sources import Source, open_source
from mlops.steps.telling import say


def run(env: Mapping[str, str]) -> None:
    """Pull into the workspace `source`; its cache lies in `state`, out of training's sight."""
    source = open_source(env)
    if not source.has_dvc:
        say("no DVC here: nothing to pull")
        return
    tree = source.inputs.directory("source")
    found = credentials.settings(source.dvc_config, source.home)
    tracked = source.dvc.tracked(source.commit)
    if source.dvc.has_remote(source.commit) or any(data.remote or data.foreign for data in tracked):
        _pull(source, tree, found)
    else:
        say("no DVC remote: nothing to pull")
    _require(tree, tracked)


def _pull(source: Source, tree: Path, found: credentials.DvcSettings) -> None:
    workspace = Workspace(tree, source.state.cache, found.config, source.home, found.remotes)
    try:
        # outputs that the remote lacks are made again by their stages
        say(workspace.pull(allow_missing=True) or "nothing to pull")
    finally:
        bare = Workspace(tree, source.state.cache, source.dvc_config, source.home)
        bare.reset_config()  # no credential stays where training looks


def _require(tree: Path, tracked: tuple[TrackedData, ...]) -> None:
    missing = [f"{data.path} (md5 {data.md5[:4]}…)" for data in tracked if _absent(tree, data)]
    if missing:
        raise RefusedError(
            "the DVC remote lacks data of this source\n  " + "\n  ".join(missing),
            hint="Send it: mlops data push",
        )


def _absent(tree: Path, data: TrackedData) -> bool:
    return not (tree / data.path).exists()
