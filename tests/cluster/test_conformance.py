"""Every case of the conformance suite ends on the real Tekton as its header says, and as it ends here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cluster.target import Answer, ClusterTarget
from tests.conformance import agreement, cases, checking, images, statuses
from tests.conformance.cases import Case
from tests.conformance.local import LocalTarget
from tests.conformance.targets import Refused

EVERY = cases.every()
BOTH = [case for case in EVERY if case.expect != "refused" and not case.cluster]


@pytest.fixture(scope="session")
def answers(plain: str, request: pytest.FixtureRequest) -> Mapping[str, Answer | str]:
    """What the cluster made of all cases that are to be tested, many at once."""
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = {call.params["case"].name for call in asked if call and "case" in call.params}
    chosen = [case for case in EVERY if case.name in wanted]
    return ClusterTarget(plain, f"c-{secrets.token_hex(3)}").all(chosen)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_a_case_ends_as_it_says(case: Case, answers: Mapping[str, Answer | str]) -> None:
    answer = answers[case.name]
    assert not isinstance(answer, str), answer
    ended = answer if isinstance(answer, Refused) else statuses.ended(answer)
    found = checking.differences(case, ended, "cluster")

    assert not found, "\n".join([case.about, *found])


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", BOTH, ids=lambda case: case.name)
def test_both_executors_agree(
    case: Case, answers: Mapping[str, Answer | str], tmp_path: Path
) -> None:
    there = answers[case.name]
    assert isinstance(there, list), there
    mapping = {"busybox": images.plain(), "python": images.plain()}
    here = LocalTarget(tmp_path / "runs", mapping).items(case.text)
    found = agreement.differences(here, there, generated=case.generated, known=case.differs)

    assert not found, "\n".join([case.about, *found])
