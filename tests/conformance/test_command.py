"""The command says of cases what the executor does, in Tekton's own form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import cases, checking, images
from tests.conformance.command import CommandTarget

CHOSEN = (
    "graph/cycle",
    "matrix/combinations",
    "matrix/one-fails",
    "onerror/task-continues",
    "params/kinds",
    "refs/pipeline-and-tasks",
    "results/of-a-taskrun",
    "results/used-and-not-written",
    "retries-timeouts/task-too-long",
    "status/cancelled-run-finally",
    "status/pending",
    "workspaces/of-configuration",
)
CASES = {case.name: case for case in cases.every()}


@pytest.mark.parametrize("name", CHOSEN)
def test_the_command_ends_as_the_case_says(name: str, tmp_path: Path) -> None:
    case, target = CASES[name], CommandTarget(tmp_path, {"busybox": images.plain()})

    found = checking.differences(case, target.submit(case.text), target.name)

    assert not found, "\n".join([case.about, *found])
