"""Every case of the conformance suite ends on the real Tekton as its header says."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import pytest

from tests.cluster.target import Answer, ClusterTarget
from tests.conformance import cases, checking
from tests.conformance.cases import Case

EVERY = cases.every()


@pytest.fixture(scope="session")
def answers(plain: str) -> Mapping[str, Answer | str]:
    """What the cluster made of all cases, many at once."""
    return ClusterTarget(plain, f"c-{secrets.token_hex(3)}").all(EVERY)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_a_case_ends_as_it_says(case: Case, answers: Mapping[str, Answer | str]) -> None:
    answer = answers[case.name]
    assert not isinstance(answer, str), answer
    found = checking.differences(case, answer, "cluster")

    assert not found, "\n".join([case.about, *found])
