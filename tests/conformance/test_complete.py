"""Nothing that is said to be honoured stays unshown."""

from __future__ import annotations

import pytest

from tests.conformance import cases, shape
from tests.conformance.cases import Case

HONOURED = shape.HONOURED


def test_every_honoured_field_has_a_case_that_shows_it() -> None:
    shown = {name for case in cases.every() for name in case.fields}

    assert not sorted(HONOURED - shown)


def test_every_honoured_field_has_a_case_of_wrong_use() -> None:
    shown = {name for case in cases.every() for name in case.refuses}

    assert not sorted(HONOURED - shown)


@pytest.mark.parametrize("case", cases.every(), ids=lambda case: case.name)
def test_a_header_names_fields_that_the_table_and_the_documents_have(case: Case) -> None:
    present = set().union(*(shape.used(each) for each in case.documents))

    assert not {*case.fields, *case.refuses} - HONOURED
    assert not set(case.fields) - present
