"""`push`: the outputs that training declared, to the DVC remote, with the source's own settings."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.adapters.dvc import export
from mlops.adapters.dvc.workspace import Workspace
from mlops.steps import credentials
from mlops.steps.sources import Source, open_source
from mlops.steps.state import emptied, write_file
from mlops.steps.telling import say


def run(env: Mapping[str, str]) -> None:
    """Push what `validate` took. Without a DVC remote the model is in its image alone."""
    source = open_source(env)
    outputs = [each["path"] for each in source.state.read("outputs.json") if each["cached"]]
    if not outputs:
        say("nothing to push: DVC versions no output of this model")
    elif not source.dvc.has_remote(source.commit):
        say("no DVC remote: the outputs are in the release image alone")
    else:
        _push(source, outputs)


def _push(source: Source, outputs: list[str]) -> None:
    """From a tree of the source's DVC files and the recorded lock: nothing that training wrote
    stands in it, and DVC's cache has the bytes."""
    tree = emptied(source.state.root / "pushing")
    export.write(source.repository, export.selected(source.repository, source.commit), tree)
    for path, content in source.recorded_locks().items():
        write_file(tree / path, content)
    found = credentials.settings(source.dvc_config, source.home)
    workspace = Workspace(tree, source.state.cache, found.config, source.home, found.remotes)
    try:
        say(workspace.push(outputs) or "everything is there already")
    finally:
        emptied(tree)
