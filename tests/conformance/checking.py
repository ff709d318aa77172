"""Holds what a target answered against what a case expects, and says every difference."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.conformance.cases import Case
from tests.conformance.targets import Ended, Refused


def differences(case: Case, answer: Refused | list[Ended], target: str) -> list[str]:
    """What is not as expected, a sentence each."""
    expected = case.expect
    if target == "cluster" and case.cluster:
        expected = case.cluster
    if expected == "refused":
        return list(_refused(case, answer, worded=target == "local"))
    if isinstance(answer, Refused):
        return [f"refused: {answer.message}"]
    if expected == "accepted":
        return []
    if len(answer) != 1:
        return [f"{len(answer)} runs, where a case has one"]
    return list(_ended(case, answer[0], expected))


def _refused(case: Case, answer: Refused | list[Ended], *, worded: bool) -> Iterator[str]:
    """`worded`: the refusal's text is ours, and says what the case says."""
    if not isinstance(answer, Refused):
        yield f"not refused, but {[f'{end.phase} {end.reason}: {end.message}' for end in answer]}"
        return
    if not worded:
        return
    if case.at and not re.search(rf"(?<![\w.]){re.escape(case.at)}(?!\w)", answer.message):
        yield f"the refusal does not name {case.at}: {answer.message}"
    if case.message and not re.search(case.message, answer.message):
        yield f"the refusal does not match {case.message!r}: {answer.message}"


def _ended(case: Case, answer: Ended, expected: str) -> Iterator[str]:
    told = f"{answer.phase} {answer.reason}: {answer.message}; tasks {dict(answer.tasks)}"
    if answer.phase != expected:
        yield f"the run is {told}"
        return
    if case.expect != expected:
        return  # what it says of the refusal is not for this target
    if case.reason and answer.reason != case.reason:
        yield f"the reason is {answer.reason}, not {case.reason}"
    if case.results is not None and dict(answer.results) != dict(case.results):
        yield f"the results are {dict(answer.results)}"
    yield from _tasks(case, answer)
    messages = [answer.message, *(end.message for ends in answer.tasks.values() for end in ends)]
    if case.message and not any(re.search(case.message, each) for each in messages):
        yield f"no message matches {case.message!r}: {told}"


def _tasks(case: Case, answer: Ended) -> Iterator[str]:
    for name, wanted in case.tasks.items():
        found = [end.phase for end in answer.tasks.get(name, ())]
        if found != (wanted if isinstance(wanted, list) else [wanted]):
            yield f"task {name} is {found}, not {wanted}: {answer.tasks.get(name)}"
    for name, reason in case.reasons.items():
        found = [end.reason for end in answer.tasks.get(name, ())]
        if set(found) != {reason}:
            yield f"task {name} gives the reason {found}, not {reason}"
