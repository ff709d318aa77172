"""The log of a step on disk: its very bytes in pieces, each with an index of times beside it.

`NAME.log` is the first piece and stays; `NAME.log.1`, `.2` … follow, of which the last few are kept:
a log shows how it began and how it ended, and takes so much of the disk at most, whatever a step
writes. `NAME.times` (`.times.1` …) is the index: 16 bytes an entry, the place in all that was ever
written and the microseconds since 1970 at which what begins there came; a line has the time of its
first byte. What stands between two pieces that was not kept is told by the reader.
"""

from __future__ import annotations

import bisect
import errno
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mlops.domain.run import LogLine

PIECE = 16 << 20  # bytes
KEPT = 3  # pieces that are kept besides the first
LONGEST = 16 << 10  # bytes of a line that are read at once
_ENTRY = struct.Struct("<QQ")
_FINEST = 1000  # microseconds between entries of the index, at least
_CHUNK = 1 << 18
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_BREAKS = re.compile(rb"\r\n|\n|\r")


def amount(size: int) -> str:
    """So many bytes, for people."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"


def _piece(path: Path, number: int) -> Path:
    return path if not number else path.with_name(f"{path.name}.{number}")


def _index(path: Path, number: int) -> Path:
    return _piece(path.with_suffix(".times"), number)


def _numbers(path: Path) -> list[int]:
    """The pieces that are there, in order."""
    found = [0] if path.exists() else []
    for each in path.parent.glob(f"{path.name}.*"):
        suffix = each.name[len(path.name) + 1 :]
        if suffix.isdecimal():
            found.append(int(suffix))
    return sorted(found)


def _entries(path: Path, number: int) -> list[tuple[int, int]]:
    try:
        content = _index(path, number).read_bytes()
    except OSError:
        return []
    return list(_ENTRY.iter_unpack(content[: len(content) // _ENTRY.size * _ENTRY.size]))


class Pieces:
    """Writes a log; goes on where one is there. `now` gives the time, `size` is that of a piece.

    What finds no room on a full disk is counted in `lost`, and raises nothing.
    """

    def __init__(
        self, path: Path, now: Callable[[], datetime], size: int = PIECE, kept: int = KEPT
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._now, self._size, self._kept = path, now, size, kept
        self._number = max(_numbers(path), default=0)
        self._log = self._times = -1
        self._total = self._here = 0
        self._stamped = 0
        self.lost = 0
        self._open()
        entries = _entries(path, self._number)
        self._total = self._here + (entries[0][0] if entries else 0)

    def write(self, content: bytes) -> None:
        try:
            view = memoryview(content)
            self._stamp()
            while view:
                if self._here >= self._size:
                    self._rotate()
                written = os.write(self._log, view[: self._size - self._here])
                self._here += written
                self._total += written
                view = view[written:]
        except OSError as exc:
            if exc.errno not in _FULL:
                raise
            self.lost += len(view)

    def close(self) -> None:
        for descriptor in (self._log, self._times):
            os.close(descriptor)

    def _stamp(self) -> None:
        """Note when what comes now came; seldom enough that the index stays small."""
        moment = int(self._now().timestamp() * 1e6)
        if not self._here or moment - self._stamped >= _FINEST:
            os.write(self._times, _ENTRY.pack(self._total, moment))
            self._stamped = moment
            self._here += _ENTRY.size  # it takes its part of the piece

    def _rotate(self) -> None:
        self.close()
        self._number += 1
        for number in _numbers(self._path):
            if 0 < number <= self._number - self._kept:
                _piece(self._path, number).unlink(missing_ok=True)
                _index(self._path, number).unlink(missing_ok=True)
        self._open()
        self._stamp()

    def _open(self) -> None:
        self._times = os.open(_index(self._path, self._number), _FLAGS, 0o644)
        self._log = os.open(_piece(self._path, self._number), _FLAGS, 0o644)
        self._here = os.fstat(self._log).st_size


@dataclass(slots=True)
class Reader:
    """Reads a log as it grows. `task` and `step` name its lines."""

    path: Path
    task: str
    step: str
    _number: int = 0
    _at: int = 0  # in the piece
    _total: int = 0  # in all that was ever written
    _rest: bytes = b""
    _entries: list[tuple[int, int]] = field(default_factory=list)
    _moment: datetime | None = None  # of what begins before `_until`
    _until: int = 0

    def read(self, *, ended: bool) -> Iterator[LogLine]:
        """The lines that came since; with `ended`, what has no end yet too."""
        while True:
            later = [each for each in _numbers(self.path) if each > self._number]
            yield from self._piece()
            if not later:
                break
            yield from self._next(later[0])
        if ended and self._rest:
            yield self._line(self._rest.rstrip(b"\r"), len(self._rest))

    def _piece(self) -> Iterator[LogLine]:
        try:
            file = _piece(self.path, self._number).open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._at)
            while chunk := file.read(_CHUNK):
                self._entries = _entries(self.path, self._number) or self._entries
                self._at += len(chunk)
                yield from self._split(chunk)

    def _next(self, number: int) -> Iterator[LogLine]:
        self._number, self._at, self._until = number, 0, 0
        self._entries = _entries(self.path, number)
        begins = self._entries[0][0] if self._entries else 0
        missing = begins - self._total - len(self._rest)
        if missing <= 0:
            return
        if self._rest:
            yield self._line(self._rest, len(self._rest))
        yield self._said(f"mlops: {amount(missing)} of the output were not kept")
        self._total = begins

    def _split(self, chunk: bytes) -> Iterator[LogLine]:
        content, begin = self._rest + chunk, 0
        for found in _BREAKS.finditer(content):
            end, after = found.span()
            if after == len(content) and content.endswith(b"\r"):
                break  # half of \r\n, perhaps
            yield from self._long(content[begin:end]) if end - begin > LONGEST else ()
            rest = self._rest if end - begin > LONGEST else content[begin:end]
            yield self._line(rest, len(rest) + after - end)
            begin = after
        yield from self._long(content[begin:])

    def _long(self, content: bytes) -> Iterator[LogLine]:
        """Leave at most LONGEST bytes in `_rest`, and give what comes before."""
        begin = 0
        while len(content) - begin > LONGEST:
            yield self._line(content[begin : begin + LONGEST], LONGEST, partial=True)
            begin += LONGEST
        self._rest = content[begin:]

    def _line(self, content: bytes, length: int, *, partial: bool = False) -> LogLine:
        found = LogLine(
            self._time(), self.task, self.step, content.decode(errors="replace"), partial
        )
        self._total += length
        self._rest = b""
        return found

    def _said(self, text: str) -> LogLine:
        return LogLine(self._time(), self.task, self.step, text)

    def _time(self) -> datetime | None:
        if self._total >= self._until:
            at = bisect.bisect_right(self._entries, (self._total, 1 << 63))
            self._until = self._entries[at][0] if at < len(self._entries) else self._total + 1
            found = self._entries[at - 1][1] if at else None
            self._moment = None if found is None else datetime.fromtimestamp(found / 1e6, UTC)
        return self._moment
