"""Logs of steps: on disk as they come, and line by line to whoever follows.

Both are capped, while the pipe is drained to its end: a step that prints without end fills neither
the disk nor memory, and does not block.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

CAP = 64 << 20  # bytes of a step's log that are kept
FOLLOWED = 4 << 20  # bytes that are followed live
LONGEST = 4096  # characters of a line that is followed

# Terminal sequences first (ECMA-48), then every other control character but the tabulator.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_BREAKS = re.compile(r"\r\n|\n|\r(?!\Z)")  # at the very end, \r may be half of \r\n


class StepLog:
    """The log of one step. `hear` gets its lines, clean; `cap` is in bytes."""

    def __init__(self, path: Path, hear: Callable[[str], None], cap: int = CAP) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._tell = hear
        self._last = ""
        self._left = cap
        self._cap = cap
        self._followed = min(FOLLOWED, cap)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._line = ""
        self._fresh_line = True

    def write(self, chunk: bytes) -> None:
        """Take what the step wrote."""
        if self._left <= 0:
            return
        kept = chunk[: self._left]
        self._file.write(kept)
        self._fresh_line = kept.endswith(b"\n")
        self._left -= len(kept)
        self._follow(kept)
        if self._left <= 0:
            self._say(f"output cut here, after {_amount(self._cap)}")

    def note(self, text: str) -> None:
        """A line of our own, after what the step wrote."""
        self._flush()
        self._say(text)

    def close(self) -> None:
        """The step has ended: hand on a last line that has no end."""
        self._flush()
        self._file.close()

    @property
    def last(self) -> str:
        """The last line that was followed and is not empty."""
        return self._last

    def _say(self, text: str) -> None:
        line = f"mlops: {text}"
        self._file.write(b"" if self._fresh_line else b"\n")
        self._file.write(line.encode() + b"\n")
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
        if self._followed <= 0 < self._left:
            self._line = ""
            self._hear(f"mlops: the rest is in {self._path}")

    def _flush(self) -> None:
        rest = self._line + self._decoder.decode(b"", final=True)
        self._line = ""
        if rest:
            self._hear(clean(rest))


def clean(line: str) -> str:
    """A line without control characters, at most LONGEST characters of it."""
    text = _CONTROLS.sub("", _ESCAPES.sub("", line[: LONGEST + 1]))
    return text if len(line) <= LONGEST else text[:LONGEST] + "…"


def lines(path: Path) -> Iterator[str]:
    """The lines of a log on disk, clean, read in bounded pieces."""
    with path.open("rb") as file:
        while chunk := file.readline(4 * LONGEST):
            yield clean(chunk.decode(errors="replace").rstrip("\r\n"))


def _amount(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"
