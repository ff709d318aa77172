"""What the cases say of admission is what Tekton's own code says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance import cases
from tests.conformance.cases import Case
from tests.conformance.oracle import Oracle


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
