"""Nothing that is said to be honoured stays unshown."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.conformance import cases, examples, shape

ROOT = Path(__file__).parents[2]
HONOURED = shape.HONOURED


def test_every_honoured_field_has_a_case_that_shows_it() -> None:
    shown = {name for case in cases.every() for name in case.fields}

    assert not sorted(HONOURED - shown)


def test_every_honoured_field_has_a_case_of_wrong_use() -> None:
    shown = {name for case in cases.every() for name in case.refuses}

    assert not sorted(HONOURED - shown)


def test_headers_name_fields_that_the_tables_and_the_documents_have() -> None:
    faults = []
    for case in cases.every():
        present = frozenset[str]().union(*(shape.used(each) for each in case.documents))
        faults += [f"{case.name}: no field {n}" for n in {*case.fields, *case.refuses} - HONOURED]
        faults += [f"{case.name}: has no {name}" for name in set(case.fields) - present]

    assert not faults


def test_the_page_counts_as_the_suite_does() -> None:
    page = " ".join((ROOT / "docs" / "reference" / "conformance.md").read_text().split())
    every, table = cases.every(), examples.table()
    ends = Counter("refused" if row.refused else row.ends for row in table.values())
    elsewhere = Counter(case.cluster for case in every)
    refused = sum(case.expect == "refused" for case in every)

    assert f"holds {len(every)} cases" in page
    assert f"{len(every) - refused} cases run, {refused} are refused" in page
    alike = [case for case in every if not case.cluster]
    both = sum(case.expect != "refused" for case in alike)
    assert f"- {len(alike) - both} cases that are refused here are refused by" in page
    assert f"- {both} run on both executors" in page
    assert f"- {len(every) - len(alike)} differ by nature" in page
    for name in ("Failed", "accepted", "Succeeded"):
        assert f"| `{name}` | {elsewhere[name]} |" in page
    assert f"Of {len(table)} examples - {ends['Succeeded']} succeed;" in page
    assert f"- {ends['refused']} are refused by the path" in page
    assert f"- {ends['Failed']} end as Failed" in page
