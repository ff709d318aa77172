"""Which of the decided runs begin now, and which give way to a newer tip of their ref."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlops.domain.lineup import Limits, Queued
from mlops.domain.source import Commit

_NONE = Limits()


@dataclass(frozen=True, slots=True)
class Superseded:
    """A run that gives way, to the run of commit `by`; `working`: it is to be ended, not only left out."""

    queued: Queued
    by: Commit
    working: bool


def superseded(
    waiting: Sequence[Queued], working: Sequence[Queued], limits: Mapping[str, Limits]
) -> tuple[Superseded, ...]:
    """Those of a model and ref that are not the newest of it, where the project says
    `concurrency: cancel-superseded`."""
    newest: dict[tuple[str, str, str], Queued] = {}
    for each in (*waiting, *working):
        key = (each.project, each.model, each.ref)
        if key not in newest or _order(each) > _order(newest[key]):
            newest[key] = each
    found = []
    for each, busy in [(one, False) for one in waiting] + [(one, True) for one in working]:
        last = newest[each.project, each.model, each.ref]
        older = last.run != each.run and last.source != each.source
        if older and limits.get(each.project, _NONE).superseding and each.ref:
            found.append(Superseded(each, last.source, busy))
    return tuple(found)


def begin(
    waiting: Iterable[Queued],
    working: Sequence[Queued],
    limits: Mapping[str, Limits],
    total: int,
) -> tuple[Queued, ...]:
    """Those whose turn it is, in the order of their decisions: within each project's limit, and within
    `total` over all (0: no such limit). A project at its limit does not keep others waiting."""
    busy = Counter(each.project for each in working)
    room = total - len(working) if total else None
    found: list[Queued] = []
    for each in sorted(waiting, key=_order):
        if room is not None and len(found) >= room:
            break
        if busy[each.project] < limits.get(each.project, _NONE).runs:
            busy[each.project] += 1
            found.append(each)
    return tuple(found)


def _order(queued: Queued) -> tuple[float, str]:
    return queued.since.timestamp(), queued.run
