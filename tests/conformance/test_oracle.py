"""What the cases say of admission is what Tekton's own code says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import cases, images
from tests.conformance.cases import Case
from tests.conformance.command import CommandTarget
from tests.conformance.oracle import Oracle
from tests.conformance.targets import Refused


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running


@pytest.mark.parametrize("case", cases.every(), ids=lambda case: case.name)
def test_tekton_admits_what_a_case_says(case: Case, oracle: Oracle) -> None:
    refusal = oracle.refusal(case.text)

    assert case.admitted == (not refusal), refusal or "admitted by Tekton"


def test_the_oracle_knows_what_it_cannot_read(oracle: Oracle) -> None:
    assert "no matches for kind" in oracle.refusal("apiVersion: v1\nkind: Nothing\n")
    assert oracle.refusal("a: [")
    assert oracle.judge("") == []


@pytest.mark.parametrize("name", ["matrix/combinations", "results/of-a-taskrun", "when/operators"])
def test_tekton_reads_the_status_that_we_print(name: str, oracle: Oracle, tmp_path: Path) -> None:
    """Its types take every field, and the runs that we print could be submitted again."""
    (text,) = (case.text for case in cases.every() if case.name == name)
    answer = CommandTarget(tmp_path, {"busybox": images.plain()}).answer(text)

    assert not isinstance(answer, Refused)
    for item in answer:
        assert item["status"]["conditions"]
        assert oracle.refusal(json.dumps(item)) == ""
