"""Holds what the local executor made of a case against what a cluster made of it, field by field.

Both are Tekton's own documents: a PipelineRun with its TaskRuns, or a TaskRun. Left out is what two places have
each in their own way: times, wording of messages (but for the counts of a run's tasks), where images and pods are,
sidecars and artifacts, the order of results, the end of a name that is generated; the steps of a pod that a
cluster had not started when time ran out; and who was first to write how a step ended that its TaskRun's end cut short.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
_COUNTS = re.compile(r"Tasks Completed: .*Skipped: \d+(?:, Failed Validation: \d+)?")
_ABSENT = "nothing"
# Tekton writes one of these where it is first, else the step's own program one of those
_CUTS = frozenset({"TaskRunCancelled", "TaskRunTimeout"})
_BY_STEP = frozenset({"Cancelled", "TimeoutExceeded"})
_CUT = {"cut short": True}


def differences(
    local: Sequence[Json],
    cluster: Sequence[Json],
    *,
    generated: str = "",
    known: Collection[str] = (),
) -> list[str]:
    """What differs, a line each: where, what is here, what a cluster has. `generated` begins a name
    whose end is made up; `known` are the paths that must differ."""
    here, there = _all(local, generated), _all(cluster, generated)
    found = {at: (ours, theirs) for at, ours, theirs in _differ(here, there)}
    return [
        *(
            f"{at}: here {a!r}, on the cluster {b!r}"
            for at, (a, b) in found.items()
            if at not in known
        ),
        *(f"{at}: does not differ" for at in known if at not in found),
    ]


def _all(items: Sequence[Json], generated: str) -> dict[str, Any]:
    found = {}
    for item in items:
        name = item["metadata"]["name"]
        if generated and name.startswith(generated):
            name = f"{generated}?????{name[len(generated) + 5 :]}"
        found[f"{item['kind']} {name}"] = _shape(item)
    return found


def _shape(item: Json) -> dict[str, Any]:
    status = item.get("status") or {}
    if item["kind"] == "TaskRun":
        return _of_task(status)
    return {
        **_end(status),
        "childReferences": _named(status.get("childReferences")),
        "skippedTasks": _named(status.get("skippedTasks")),
        "results": _named(status.get("results")),
        "finallyStartTime": "finallyStartTime" in status,
        "counts": _counts(status),
    }


def _of_task(status: Json) -> dict[str, Any]:
    cut = str(_condition(status).get("reason"))
    return {
        **_end(status),
        "results": _named(status.get("results")),
        "steps": {step["name"]: _step(step, cut) for step in status.get("steps") or ()},
        "retriesStatus": [_of_task(each) for each in status.get("retriesStatus") or ()],
    }


def _end(status: Json) -> dict[str, Any]:
    condition = _condition(status)
    return {
        "status": condition.get("status"),
        "reason": condition.get("reason"),
        "startTime": "startTime" in status,
        "completionTime": "completionTime" in status,
    }


def _condition(status: Json) -> Json:
    found = status.get("conditions") or ()
    return next((each for each in found if each.get("type") == "Succeeded"), {})


def _counts(status: Json) -> str:
    found = _COUNTS.match(str(_condition(status).get("message")))
    return found.group() if found else ""


def _step(step: Json, cut: str) -> dict[str, Any] | None:
    """How a step of a TaskRun ended, whose own end may have cut it short; None where it was not started."""
    ended = step.get("terminated")
    if not ended or not step.get("container"):
        return None
    if cut in _CUTS and (ended.get("reason") == cut or step.get("terminationReason") in _BY_STEP):
        return _CUT
    return {
        "exitCode": ended.get("exitCode"),
        "reason": ended.get("reason"),
        "terminationReason": step.get("terminationReason"),
        "results": _named(step.get("results")),
    }


def _named(found: Sequence[Json] | None) -> dict[str, Any]:
    return {each["name"]: dict(each) for each in found or ()}


def _differ(ours: Any, theirs: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted({*ours, *theirs}):
            below = f"{at}/{key}" if at else key
            if at.endswith("/steps") and (
                theirs.get(key, _ABSENT) is None or (key not in theirs and ours.get(key) == _CUT)
            ):
                continue  # see above
            yield from _differ(ours.get(key, _ABSENT), theirs.get(key, _ABSENT), below)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differ(mine, other, f"{at}[{index}]")
    elif ours != theirs:
        yield at, ours, theirs
