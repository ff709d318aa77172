"""Names of TaskRuns are those that Tekton gives them (seen on a cluster with 1.15)."""

from __future__ import annotations

import hashlib

import pytest

from mlops.tekton import names

HASH = hashlib.md5(b"r" * 60, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("run", "task", "place", "name"),
    [
        ("run", "build", (0, 1), "run-build"),
        ("run", "build", (2, 3), "run-build-2"),
        ("n" * 63, "t" * 63, (0, 1), f"{'n' * 31}1d545e0585321e2e237aca64483b9c1b"),
        ("r" * 60, "build", (0, 1), f"{'r' * 25}{HASH}-build"),
        ("r" * 60, "build", (1, 2), f"{'r' * 23}{HASH}-build-1"),
    ],
)
def test_a_taskrun_has_the_name_that_tekton_gives(
    run: str, task: str, place: tuple[int, int], name: str
) -> None:
    found = names.child(run, task, *place)

    assert found == name
    assert len(found) <= names.LONGEST


def test_a_long_task_of_a_matrix_keeps_its_number() -> None:
    found = [names.child("run", "t" * 63, index, 12) for index in range(12)]

    assert len(set(found)) == 12
    for index, name in enumerate(found):
        assert name.endswith(f"-{index}")
        assert len(name) <= names.LONGEST
