"""Processes that outlive who started them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol


class Child(Protocol):
    """A process of ours, in a session of its own: it goes on where we end."""

    @property
    def pid(self) -> int: ...
    @property
    def log(self) -> Path:
        """Where what it says on stderr is written."""

    def wait(self) -> int:
        """Its exit code, once it has ended; negative: the signal that ended it."""

    def lines(self) -> Iterator[str]:
        """What it says on stderr, as it says it, until it has ended; the end of a very long line is left out."""

    def last(self, count: int) -> Sequence[str]:
        """The last lines of what it said on stderr so far."""

    def answer(self) -> str:
        """What it wrote on stdout; to be asked once, after it ended."""


class Nursery(Protocol):
    """Starts such processes, with their output in files."""

    def start(self, name: str, argv: Sequence[str]) -> Child:
        """Start one. Raises OutsideError."""


class Leader(Protocol):
    """Of several watchers of one project, one leads."""

    def other(self) -> str:
        """Who leads, where that is another; empty where it is this one, from now on. Raises OutsideError."""

    def succeed(self) -> str:
        """The same, once a leader that came for one look has ended."""

    def resign(self) -> None:
        """Let another one lead."""
