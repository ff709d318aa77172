"""What the cases say of admission is what Tekton's own code says."""

from __future__ import annotations

from tests.conformance import cases, oracle


def test_tekton_refuses_the_cases_that_say_so_and_admits_the_others() -> None:
    every = {case.name: case for case in cases.every()}
    verdicts = oracle.ask((name, case.text) for name, case in every.items())
    refused: dict[str, str] = {}
    for each in verdicts:
        if not each.accepted:
            refused.setdefault(each.file, each.error)

    wrongly_refused = [f"{n}: {refused[n]}" for n, c in every.items() if c.admitted and n in refused]
    admitted = [n for n, c in every.items() if not c.admitted and n not in refused]
    assert not wrongly_refused, "\n".join(["refused by Tekton:", *wrongly_refused])
    assert not admitted, "\n".join(["admitted by Tekton:", *admitted])
    assert {each.file for each in verdicts} == set(every)
