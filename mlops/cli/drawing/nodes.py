"""What is drawn of a run: a node for each pipeline task, with the state of all that it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from mlops.cli import runs_words
from mlops.domain.run import Phase, RunResult, TaskState

# The worst first: what a node shows that stands for several TaskRuns.
_GRAVITY = (
    Phase.FAILED,
    Phase.CANCELLED,
    Phase.RUNNING,
    Phase.PENDING,
    Phase.SUCCEEDED,
    Phase.SKIPPED,
)
MARKS = {
    Phase.SUCCEEDED: "✓",
    Phase.FAILED: "✗",
    Phase.CANCELLED: "!",
    Phase.RUNNING: "▶",
    Phase.PENDING: "·",
    Phase.SKIPPED: "-",
}


@dataclass(frozen=True, slots=True)
class Node:
    """A pipeline task; `note` says in a few words how it stands, `more` why."""

    name: str
    phase: Phase
    note: str
    more: str
    after: tuple[str, ...]
    final: bool


def nodes(run: RunResult) -> tuple[Node, ...]:
    """One for each pipeline task, in the order of the document."""
    groups: dict[str, list[TaskState]] = {}
    for task in run.tasks:
        groups.setdefault(task.of, []).append(task)
    return tuple(_node(name, tasks, groups) for name, tasks in groups.items())


def _node(name: str, tasks: list[TaskState], known: Mapping[str, list[TaskState]]) -> Node:
    phases = Counter(task.phase for task in tasks)
    phase = next(each for each in _GRAVITY if each in phases)
    ended = next(task for task in tasks if task.phase is phase)
    said = ended.message or ended.reason
    if ended.phase is Phase.SKIPPED:
        culprits = runs_words.failed(each for group in known.values() for each in group)
        said = runs_words.skipped(ended, culprits)
    more = said if said not in (str(phase), "Running", "") else ended.waits
    note = str(phase)
    if len(tasks) > 1:
        note = ", ".join(f"{phases[each]} {str(each).lower()}" for each in _GRAVITY if phases[each])
    elif took(ended):
        note += f" · {took(ended)}"
    after = tuple(dict.fromkeys(each for each in tasks[0].after if each in known))
    return Node(name, phase, note, more, after, tasks[0].final)


def took(state: TaskState) -> str:
    """How long a task took, for people; empty where it is not over."""
    if state.started is None or state.finished is None:
        return ""
    return lasting(state.finished - state.started)


def lasting(passed: timedelta) -> str:
    """A duration for people: `0.4 s`, `12.0 s`, `3 min 05 s`, `2 h 07 min`."""
    seconds = max(0.0, passed.total_seconds())
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
