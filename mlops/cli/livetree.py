"""A live tree of a run on a terminal, and plain lines everywhere else.

The tree stands below what is printed: it is drawn anew in place a few times a second by rich's Live,
which writes a frame at once and never clears the screen. Where there are more tasks than lines, those
that run and those that failed are shown, and the others are counted.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops.cli import render, runs_words, terminal, tree
from mlops.cli.drawing.nodes import lasting, took
from mlops.cli.progress import Waits
from mlops.domain.run import Phase, TaskState

if TYPE_CHECKING:
    from rich.text import Text

_FRAMES = 8  # a second
_LEFT = 100  # tasks of a run that are shown when it is over
_KEPT_LINES = 3  # of the screen's, for what else is there
_FIRST = (Phase.RUNNING, Phase.FAILED, Phase.CANCELLED, Phase.PENDING, Phase.SUCCEEDED)


def live() -> bool:
    """Whether stderr is a terminal that can be drawn on."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class PlainLines:
    """A RunObserver for where there is no terminal: `12:00:01 build: Succeeded in 2.1 s`."""

    def __init__(self, *, logs: bool = False) -> None:
        self._logs = logs
        self._seen: dict[str, Phase] = {}
        self._waits = Waits()
        self._failed: tuple[str, ...] = ()

    def task(self, state: TaskState) -> None:
        if state.waits:
            if not self._waits.new(state):
                return
        elif self._seen.get(state.name) is state.phase:
            return
        else:
            self._seen[state.name] = state.phase
            self._failed += runs_words.failed((state,))
        moment = state.finished or state.started
        if moment is None or not state.phase.done:
            moment = datetime.now(UTC)
        render.note(f"{moment.astimezone():%H:%M:%S} {state.name}: {_told(state, self._failed)}")

    def log(self, task: str, step: str, line: str) -> None:
        if not task:
            render.note(f"note: {said(line)}")
        elif self._logs:
            render.note(f"{_where(task, step)} | {said(line)}")


def said(line: str) -> str:
    """What a step said, fit for a terminal."""
    return terminal.visible(line, "\t")


def _where(task: str, step: str) -> str:
    """Who said a line: a step of the same name needs no name of its own."""
    return task if task == step else f"{task}/{step}"


def _told(state: TaskState, failed: tuple[str, ...]) -> str:
    if state.waits:
        return f"waits: {render.words(state.waits)}"
    lasted = f" in {took(state)}" if took(state) else ""
    said = state.message if state.phase in (Phase.FAILED, Phase.CANCELLED) else ""
    if state.phase is Phase.SKIPPED:
        said = runs_words.skipped(state, failed)
    return f"{state.phase}{lasted}{f': {render.words(said)}' if said else ''}"


class LiveTree:
    """A RunObserver that draws. `logs` prints the steps' lines above the tree."""

    def __init__(self, *, logs: bool) -> None:
        self._name = ""
        self._logs = logs
        self._lock = threading.Lock()
        self._waits = Waits()
        self._tasks: dict[str, TaskState] = {}
        self._last: dict[str, str] = {}
        self._begun = datetime.now(UTC)
        self._live: Any = None

    def task(self, state: TaskState) -> None:
        if state.taskrun and self._waits.new(state):  # its row has no room for all of it
            self._print(f"{state.name} waits: {render.words(state.waits)}")
        with self._lock:
            if state.task and state.name not in self._tasks:
                self._fan_out(state)
            self._tasks[state.name] = state

    def _fan_out(self, state: TaskState) -> None:
        """A combination of a matrix comes where its task stood."""
        known = list(self._tasks.items())
        kept = [at for at, (_, each) in enumerate(known) if each.of == state.task]
        place = kept[-1] + 1 if kept else len(known)
        known.insert(place, (state.name, state))
        self._tasks = {name: each for name, each in known if name != state.task}

    def known(self, states: Iterable[TaskState]) -> None:
        """Tasks of which nothing was heard yet."""
        with self._lock:
            heard = self._tasks
            self._tasks = {state.name: heard.get(state.name, state) for state in states}
            self._tasks |= heard

    def log(self, task: str, step: str, line: str) -> None:
        text = said(line)
        if task:
            with self._lock:
                self._last[task] = text
        if self._logs or not task:
            self._print(f"{_where(task, step)} | {text}" if task else f"note: {text}")

    def _print(self, text: str) -> None:
        from rich.text import Text  # noqa: PLC0415 - a library for terminals alone

        if (live := self._live) is not None:
            live.console.print(Text(text, style="dim"), soft_wrap=True)

    @contextmanager
    def shown(self, name: str) -> Iterator[None]:
        """Draw the run of that name while the block runs; at its end the whole tree stands there. What else is written
        to stderr comes above it."""
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        self._name, self._begun = name, datetime.now(UTC)
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        if os.environ.get("COLUMNS", "").isdecimal():
            console.width = int(os.environ["COLUMNS"])
        drawing = Live(
            get_renderable=lambda: self._frame(console.width, console.height),
            console=console,
            refresh_per_second=_FRAMES,
            transient=True,
            redirect_stdout=False,
        )
        with drawing:
            self._live = drawing
            try:
                yield
            finally:
                self._live = None
        self._leave(console.width)

    def _leave(self, columns: int) -> None:
        tasks, hidden = _chosen(list(self._tasks.values()), _LEFT)
        rows = list(tree.rows(tasks, None, steps=False, more=hidden > 0))
        for line in tree.lines(rows, columns, paint=terminal.colours(sys.stderr)):
            sys.stderr.write(line + "\n")
        if hidden:
            render.note(f"└─ and {hidden} more")
        self._tasks, self._last = {}, {}

    def _frame(self, columns: int, height: int) -> Text:
        from rich.text import Text  # noqa: PLC0415

        with self._lock:
            tasks, last = list(self._tasks.values()), dict(self._last)
        if not tasks:
            return Text("")
        text = "\n".join(frame(self._name, tasks, last, self._begun, columns, height))
        return Text.from_ansi(text, no_wrap=True, overflow="crop")


def frame(
    name: str,
    tasks: list[TaskState],
    last: dict[str, str],
    begun: datetime,
    columns: int,
    height: int,
    now: datetime | None = None,
) -> list[str]:
    """The lines of one picture, at most `columns` wide and `height` high."""
    now = now or datetime.now(UTC)
    counts = Counter(task.phase for task in tasks)
    told = ", ".join(f"{counts[phase]} {str(phase).lower()}" for phase in Phase if counts[phase])
    head = f"{name}  {lasting(now - begun)}  {told}"
    room = max(1, height - _KEPT_LINES)
    chosen, hidden = _chosen(tasks, room)
    found = list(tree.rows(chosen, now, steps=False, more=hidden > 0, last=last))
    paint = terminal.colours(sys.stderr)
    lines = [tree.cut(head, columns), *tree.lines(found[:room], columns, paint=paint)]
    if hidden:
        lines.append(f"└─ and {hidden} more")
    return lines


def _chosen(tasks: list[TaskState], room: int) -> tuple[list[TaskState], int]:
    """The tasks that are shown, in their order, and how many are not."""
    if len(tasks) <= room:
        return tasks, 0
    order = {phase: number for number, phase in enumerate(_FIRST)}
    ranked = sorted(range(len(tasks)), key=lambda at: (order.get(tasks[at].phase, 9), at))
    kept = sorted(ranked[: max(1, room - 1)])
    return [tasks[at] for at in kept], len(tasks) - len(kept)
