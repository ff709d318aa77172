"""`fetch`: the files of the source, with what the release that the run starts from recorded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from mlops.domain.digest import Digest
from mlops.domain.source import Commit
from mlops.domain.view import Tree
from mlops.policy import sides
from mlops.steps import tags
from mlops.steps.sources import Source, open_source
from mlops.steps.state import emptied, write_file
from mlops.steps.telling import say
from mlops.steps.times import stamp


def run(env: Mapping[str, str]) -> None:
    """Export the source into the workspace `source`, and lay the baseline's lock over it."""
    source = open_source(env, fetch=True)
    tree = emptied(source.inputs.directory("source"))
    source.repository.export(source.commit, tree)
    say(f"{source.commit.short}: {len(source.repository.files(source.commit))} files")
    laid = _overlay(source, source.inputs.digest("baseline"), source.inputs.commit("since"))
    for path, content in laid.items():
        write_file(tree / path, content)
    if laid:
        say(f"as the release before recorded: {', '.join(sorted(laid))}")
    source.state.write("started.json", {"started": stamp(datetime.now(UTC))})


def _overlay(source: Source, baseline: Digest | None, since: Commit | None) -> Mapping[str, bytes]:
    """What the baseline's tag holds and the user did not change since its source."""
    if baseline is None or since is None or source.model.train.command:
        return {}
    name = tags.tag_name(source.model.name, baseline)
    tag = tags.find(source.repository, name)
    if tag is None:
        say(f"there is no tag {name}: the source's own dvc.lock counts")
        return {}
    recorded = tags.differences(source.repository, since, tag)
    return sides.overlay(_tree(source, source.commit), _tree(source, since), recorded).over


def _tree(source: Source, commit: Commit) -> Tree:
    return Tree.of(source.repository.files(commit), source.repository.blob)
