"""Logs of steps: on disk as they come, and line by line to whoever follows.

Both are capped (see `pieces`), while the pipe is drained to its end: a step that prints without end
fills neither the disk nor memory, and does not block.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mlops.adapters.executors.local.record.pieces import Pieces, amount

FOLLOWED = 16 << 20  # bytes that are followed live
LONGEST = 4096  # characters of a line that is followed

# Terminal sequences first (ECMA-48), then every other control character but the tabulator.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_BREAKS = re.compile(r"\r\n|\n|\r(?!\Z)")  # at the very end, \r may be half of \r\n


def _now() -> datetime:
    return datetime.now(UTC)


class StepLog:
    """The log of one step. `hear` gets its lines, clean; `now` gives the time."""

    def __init__(
        self, path: Path, hear: Callable[[str], None], now: Callable[[], datetime] = _now
    ) -> None:
        self._path = path
        self._pieces = Pieces(path, now)
        self._tell = hear
        self._last = ""
        self._followed = FOLLOWED
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._line = ""
        self._fresh_line = True

    def write(self, chunk: bytes) -> None:
        """Take what the step wrote."""
        self._pieces.write(chunk)
        self._fresh_line = chunk.endswith(b"\n")
        self._follow(chunk)

    def note(self, text: str) -> None:
        """A line of our own, after what the step wrote."""
        self._flush()
        self._say(text)

    def close(self) -> None:
        """The step has ended: hand on a last line that has no end."""
        self._flush()
        if self._pieces.lost:
            lost = amount(self._pieces.lost)
            self._hear(f"mlops: the disk is full, {lost} of the output are lost")
        self._pieces.close()

    @property
    def last(self) -> str:
        """The last line that was followed and is not empty."""
        return self._last

    def _say(self, text: str) -> None:
        line = f"mlops: {text}"
        self._pieces.write((b"" if self._fresh_line else b"\n") + line.encode() + b"\n")
        self._fresh_line = True
        self._hear(line)

    def _hear(self, line: str) -> None:
        self._last = line or self._last
        self._tell(line)

    def _follow(self, chunk: bytes) -> None:
        if self._followed <= 0:
            return
        part = chunk[: self._followed]
        self._followed -= len(part)
        *lines, rest = _BREAKS.split(self._line + self._decoder.decode(part))
        for line in lines:
            self._hear(clean(line))
        # of a line without end only what will be shown is kept
        self._line = rest[: LONGEST + 1]
        if self._followed <= 0:
            self._line = ""
            more = f"after {amount(FOLLOWED)} no more is shown here"
            self._hear(f"mlops: {more}; the log is {self._path}")

    def _flush(self) -> None:
        rest = self._line + self._decoder.decode(b"", final=True)
        self._line = ""
        if rest:
            self._hear(clean(rest))


def clean(line: str) -> str:
    """A line without control characters, at most LONGEST characters of it."""
    text = plain(line[: LONGEST + 1])
    return text if len(line) <= LONGEST else text[:LONGEST] + "…"


def plain(text: str) -> str:
    """A text without terminal sequences and control characters."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))
