"""Every case ends on the target as its header says."""

from __future__ import annotations

import pytest

from tests.conformance import cases, checking
from tests.conformance.cases import Case
from tests.conformance.targets import Target


@pytest.mark.parametrize("case", cases.every(), ids=lambda case: case.name)
def test_a_case_ends_as_it_says(case: Case, target: Target) -> None:
    found = checking.differences(case, target.submit(case.text), target.name)

    assert not found, "\n".join([case.about, *found])
