"""What a run is doing, as it happens, on stderr: a line for each task, and the log behind it."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from contextlib import AbstractContextManager

from mlops.cli import render, runs_words
from mlops.domain.run import Phase, TaskState

_MARKS = {
    Phase.SUCCEEDED: ("32", "✓"),
    Phase.FAILED: ("31", "✗"),
    Phase.SKIPPED: ("2", "-"),
    Phase.CANCELLED: ("33", "!"),
}
_WIDTH = 10


class Waits:
    """What tasks wait for, each told once: a cluster says the same again and again, with other numbers."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def new(self, state: TaskState) -> bool:
        """Whether what a task waits for is not told yet."""
        key = (state.name, re.sub(r"\d+", "0", state.waits))
        new = bool(state.waits) and key not in self._told
        self._told.add(key)
        return new


class Progress:
    """A RunObserver that prints: `✓ build      2.1 s  sandbox`, and `  build | …` for the log."""

    def __init__(self, *, logs: bool = True) -> None:
        self._logs = logs
        self._lock = threading.Lock()
        self._seen: dict[str, Phase] = {}
        self._waits = Waits()
        self._failed: tuple[str, ...] = ()

    def shown(self, name: str) -> AbstractContextManager[None]:
        """There is nothing to draw of the run of that name: its lines come as they come."""
        return contextlib.nullcontext()

    def task(self, state: TaskState) -> None:
        with self._lock:
            if state.taskrun and self._waits.new(state):  # without one it has only not had its turn
                said = render.words(state.waits)
                render.note(f"· {state.name.ljust(_WIDTH)} {'':>7}  waits: {said}")
            if self._seen.get(state.name) is state.phase or not state.phase.done:
                return
            self._seen[state.name] = state.phase
            self._failed += runs_words.failed((state,))
            colour, mark = _MARKS.get(state.phase, ("", "·"))
            render.note(_line(state, self._failed), lead=render.paint(colour, mark, sys.stderr))

    def log(self, task: str, step: str, line: str) -> None:
        if not self._logs:
            return
        with self._lock:
            text = f"  {task.ljust(_WIDTH)} | {render.safe(line)}"
            render.note("", lead=render.paint("2", text, sys.stderr))


def _line(state: TaskState, failed: tuple[str, ...]) -> str:
    took = ""
    if state.started and state.finished:
        took = f"{(state.finished - state.started).total_seconds():.1f} s"
    said = "" if state.phase is Phase.SUCCEEDED else render.words(state.message or state.reason)
    if state.phase is Phase.SKIPPED:
        said = render.words(runs_words.skipped(state, failed))
    return f" {state.name.ljust(_WIDTH)} {took:>7}  {state.runtime} {said}".rstrip()
