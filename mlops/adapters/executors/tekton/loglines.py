"""The bytes of a container's log → lines, each told once, wherever the wire breaks.

The kubelet writes each line as `TIME TEXT`, the time with nanoseconds in the node's zone; a line of any
length has one time. After a break it is asked for what was written since the last second that was seen.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from mlops.domain.run import LogLine

LONGEST = 1 << 16  # bytes of a line that is told in one piece
_TIME = 64  # bytes that a time has at most
# The kubelet looks every ten seconds (three at least) whether a log is too large, and gives its newest file only.
_LATE, _GAP = timedelta(seconds=10), timedelta(seconds=3)
_NO_FILE = re.compile(r"exec /\S+: no such file or directory\Z")
_MUCH = 1 << 16  # bytes; of a log with less than that nothing was dropped: it would have megabytes


def of_no_file(text: str) -> bool:
    """Whether a line is what runc writes where a container's image lacks its command."""
    return _NO_FILE.match(text) is not None


class Reading:
    """One container's log while it is read; `started` is when its step began."""

    def __init__(self, task: str, step: str, started: datetime | None = None) -> None:
        self._task, self._step, self._started = task, step, started
        self._rest = b""
        # of the line that is told last, or being told: its time, and which of the lines of that time it is
        self._time, self._when, self._count = b"", datetime.min.replace(tzinfo=UTC), 0
        self._within, self._told = False, 0  # whether it goes on, and how many bytes of it are told
        self._again: int | None = None  # after a break: lines of that time that come again
        self._skipped, self._drop = False, 0  # the line at hand, or bytes of it, come again
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._first: datetime | None = None
        self._size = 0
        self._received: datetime | None = None

    @property
    def since(self) -> str:
        """The second from which to read on, RFC 3339; empty at the beginning."""
        return self._when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if self._time else ""

    @property
    def large(self) -> bool:
        """Whether it may be of more than one file."""
        return self._size >= _MUCH

    def broken(self) -> None:
        """The wire broke: what comes next begins with lines that were told."""
        if self._again is None and self._time:
            self._again = self._count - 1 if self._told else self._count
        self._rest, self._within, self._skipped, self._drop = b"", False, False, 0

    def take(self, piece: bytes, now: datetime) -> list[LogLine]:
        """The lines that are whole with this piece, received at `now`; of a very long one the beginning."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        found: list[LogLine] = []
        for line in whole:
            self._part(line, found, end=True)
        if len(self._rest) > LONGEST:
            self._part(self._rest, found, end=False)
            self._rest = b""
        before, self._size = self._size, self._size + len(piece)
        if before < _MUCH <= self._size and self._begins_late():
            found.insert(0, self._late())
        self._received = now
        return found

    def end(self) -> list[LogLine]:
        """The last line, where no newline ends it."""
        found: list[LogLine] = []
        if self._rest or self._within:
            self._part(self._rest, found, end=True)
        self._rest = b""
        return found

    def remark(self, text: str) -> LogLine:
        """A line of our own among those of the step."""
        return LogLine(None, self._task, self._step, f"({text})")

    def _part(self, text: bytes, found: list[LogLine], *, end: bool) -> None:
        """A line, or a further part of one that is too long to wait for its end."""
        if not self._within:
            text, self._skipped = self._begin(text, found)
        self._within = not end
        again = min(len(text), self._drop)
        self._drop = 0 if end else self._drop - again
        if not self._skipped:
            found.extend(self._pieces(text[again:], end=end))

    def _begin(self, line: bytes, found: list[LogLine]) -> tuple[bytes, bool]:
        """A line without its time, and whether it was told before the wire broke."""
        time, space, text = line[:_TIME].partition(b" ")
        when = _instant(time) if space else None
        if when is None:  # the kubelet's own word, such as that there is no log
            return line, False
        text += line[_TIME:]
        if self._again is not None:
            if time == self._time and not self._again and self._told:
                self._again, self._drop = None, self._told
                return text, False
            if when < self._when or (time == self._time and self._again):
                self._again -= time == self._time
                return text, True
            self._again = None
        if self._time and when - self._when >= _GAP and self._behind(when):
            found.append(self._gap(when))
        self._count = self._count + 1 if time == self._time else 1
        self._time, self._when, self._told = time, when, 0
        self._first = self._first or when
        return text, False

    def _pieces(self, text: bytes, *, end: bool) -> Iterator[LogLine]:
        """A line, or its next pieces: characters are whole, wherever pieces part."""
        while len(text) > LONGEST or (text and not end):
            piece, text = text[:LONGEST], text[LONGEST:]
            self._told += len(piece)
            yield self._line(self._decoder.decode(piece), partial=True)
        if end:
            yield self._line(self._decoder.decode(text, final=True))
            self._told = 0

    def _line(self, text: str, *, partial: bool = False) -> LogLine:
        return LogLine(self._when if self._time else None, self._task, self._step, text, partial)

    def _behind(self, when: datetime) -> bool:
        """Whether the line before was received only after this one was written."""
        return self._received is not None and self._received >= when

    def _gap(self, when: datetime) -> LogLine:
        return self.remark(
            f"nothing is there from {self._when:%H:%M:%S} to {when:%H:%M:%S}: the step writes faster than its log"
            " can be read, and the kubelet drops what is older than its newest file"
        )

    def _begins_late(self) -> bool:
        if self._started is None or self._first is None:
            return False
        return self._first - self._started >= _LATE

    def _late(self) -> LogLine:
        return self.remark(
            f"this log begins at {self._first:%H:%M:%S}, the step at {self._started:%H:%M:%S}: of a large log"
            " the kubelet gives its newest file only"
        )


def _instant(time: bytes) -> datetime | None:
    try:
        found = datetime.fromisoformat(time.decode())
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
