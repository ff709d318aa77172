"""Tekton's own examples end here as they end on a cluster, or are refused by path for a reason that is written down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance import examples
from tests.conformance.local import LocalTarget
from tests.conformance.targets import Ended, Refused

TABLE = examples.table()


def _carried_out(name: str, root: Path) -> Refused | list[Ended]:
    text = (examples.directory() / name).read_text()
    return LocalTarget(root, examples.mapping()).submit(text)


@pytest.mark.parametrize("name", TABLE)
def test_an_example_ends_as_the_table_says(name: str, tmp_path: Path) -> None:
    expected = TABLE[name]

    answer = _carried_out(name, tmp_path)

    if expected.refused:
        assert isinstance(answer, Refused), answer
        assert re.search(rf"(?<![\w.]){re.escape(expected.refused)}(?!\w)", answer.message)
        return
    assert not isinstance(answer, Refused), answer.message
    assert {end.phase for end in answer} <= {expected.ends}, answer
    assert not expected.reason or {end.reason for end in answer} == {expected.reason}, answer


def test_the_table_names_every_example() -> None:
    assert sorted(TABLE) == examples.names()


def test_what_does_not_succeed_has_its_reason() -> None:
    assert [name for name, row in TABLE.items() if row != examples.Expected() and not row.why] == []
