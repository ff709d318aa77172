"""A run as a tree of tasks and steps: how each stands, how long it took, why it was skipped."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from mlops.cli import render, runs_words, terminal
from mlops.cli.drawing.nodes import MARKS, lasting
from mlops.domain.run import Condition, Phase, RunResult, StepState, TaskState

COLOURS = {
    Phase.SUCCEEDED: "32",
    Phase.FAILED: "31",
    Phase.CANCELLED: "33",
    Phase.RUNNING: "36",
    Phase.PENDING: "2",
    Phase.SKIPPED: "2",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the tree; `said` may be folded, the rest may not."""

    branch: str
    phase: Phase
    name: str
    took: str
    said: str = ""


def rows(
    tasks: Sequence[TaskState],
    now: datetime | None,
    *,
    steps: bool,
    more: bool = False,
    last: Mapping[str, str] = MappingProxyType({}),
    culprits: Collection[str] | None = None,
) -> Iterator[Row]:
    """The tasks as branches, those of a matrix below their pipeline task, each with its steps.

    `now` tells how long what runs has been running; None leaves it out. `more`: a line of the
    caller's follows. `last` is what a task that runs said last; `culprits` the tasks that failed, where they
    may not be among these.
    """
    failed = runs_words.failed(tasks) if culprits is None else culprits
    groups: dict[str, list[TaskState]] = {}
    for task in tasks:
        groups.setdefault(task.of, []).append(task)
    for number, (name, group) in enumerate(groups.items()):
        ends = number == len(groups) - 1 and not more
        lead, below = ("└─ ", "   ") if ends else ("├─ ", "│  ")
        if len(group) == 1 and group[0].name == name:
            yield _task(group[0], lead, now, last, failed)
            yield from _steps(group[0], below) if steps else ()
            continue
        yield Row(lead, _worst(group), name, "", f"{len(group)} combinations")
        for at, task in enumerate(group):
            ends = at == len(group) - 1
            yield _task(task, below + ("└─ " if ends else "├─ "), now, last, failed)
            yield from _steps(task, below + ("   " if ends else "│  ")) if steps else ()


def _task(
    task: TaskState,
    branch: str,
    now: datetime | None,
    last: Mapping[str, str],
    failed: Collection[str],
) -> Row:
    said = [*_said(task, failed)]
    if task.phase is Phase.RUNNING and task.name in last:
        said.append(last[task.name])
    return Row(branch, task.phase, task.name, took(task, now), "; ".join(said))


def _said(task: TaskState, failed: Collection[str]) -> Iterator[str]:
    if task.combination:
        yield ", ".join(f"{name}={value}" for name, value in task.combination.items())
    if task.attempts > 1:
        yield f"attempt {task.attempts}"
    if task.waits:
        yield f"waits: {task.waits}"
    elif task.phase is Phase.SKIPPED and task.reason:
        whens = " and ".join(map(_when, task.when))
        yield runs_words.skipped(task, failed) + (f" ({whens})" if whens else "")
    elif task.phase in (Phase.FAILED, Phase.CANCELLED):
        yield (task.message or task.reason) + (" (ignored)" if task.ignored else "")


def _when(when: Condition) -> str:
    word = "not in" if when.negated else "in"
    return f'"{when.input}" {word} [{", ".join(when.values)}]'


def _steps(task: TaskState, below: str) -> Iterator[Row]:
    for number, step in enumerate(task.steps):
        lead = "└─ " if number == len(task.steps) - 1 else "├─ "
        yield Row(below + lead, step.phase, step.name, took(step, None), _ended(step))


def _ended(step: StepState) -> str:
    if step.phase is Phase.SKIPPED:  # the executor gives a code to those that their `when` skipped
        return "not run" if step.exit_code is None else "its when was not met"
    code = "" if step.exit_code in (None, 0) else f"exit code {step.exit_code}"
    reason = "" if step.reason in ("", "Completed", "Error") else step.reason
    return ", ".join(each for each in (code, reason) if each)


def took(state: TaskState | StepState, now: datetime | None) -> str:
    """How long it took, or has been running by `now`."""
    if state.started is None:
        return ""
    until = state.finished or (now if state.phase is Phase.RUNNING else None)
    return "" if until is None else lasting(until - state.started)


def _worst(tasks: Sequence[TaskState]) -> Phase:
    phases = {task.phase for task in tasks}
    order = (Phase.FAILED, Phase.CANCELLED, Phase.RUNNING, Phase.PENDING, Phase.SUCCEEDED)
    return next((phase for phase in order if phase in phases), Phase.SKIPPED)


def lines(found: Sequence[Row], room: int, *, paint: bool) -> Iterator[str]:
    """Rows laid out in so many columns; what a row says is cut where it does not fit."""
    name = max((_width(row.branch) + 2 + _width(row.name) for row in found), default=0)
    name = min(name, max(16, room // 2))
    time = max((len(row.took) for row in found), default=0)
    for row in found:
        yield _line(row, name, time, room, paint=paint)


def _line(row: Row, name: int, time: int, room: int, *, paint: bool) -> str:
    state = str(row.phase)
    left = cut(f"{row.branch}{MARKS[row.phase]} {render.safe(row.name)}", name)
    text = left + " " * (name - _width(left))
    tail = f"  {state:<9}"
    if name + len(tail) + 2 + time <= room:
        tail += f"  {row.took:>{time}}"
    said = render.words(row.said)
    left_over = room - _width(text) - len(tail) - 2
    if said and left_over > 8:
        tail += f"  {cut(said, left_over)}"
    if not paint:
        return (text + tail).rstrip()
    return f"{text}\x1b[{COLOURS[row.phase]}m{tail.rstrip()}\x1b[0m"


def _width(text: str) -> int:
    return terminal.width(text)


def cut(text: str, room: int) -> str:
    """A text of at most so many columns."""
    if _width(text) <= room:
        return text
    while text and _width(text) > room - 1:
        text = text[:-1]
    return text + "…"


def head(run: RunResult) -> str:
    """The run's name, state and reason."""
    reason = f" ({run.reason})" if run.reason not in (str(run.phase), "") else ""
    return f"{run.name}: {run.phase}{reason}"
