"""A git process that answers while it runs: read line by line, with a limit on silence."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import IO

from mlops.adapters.git.command import Git
from mlops.adapters.git.failures import failure
from mlops.adapters.process import kill_group
from mlops.errors import GitError

_CHUNK = 1 << 16
_PIPE = 1 << 20  # bytes
_SILENCE = 120.0  # seconds without a byte after which a process counts as stuck


class Stream:
    """One running git; what it writes on stdout is read piecewise, stderr is kept for errors.

    Not safe for threads: the owner locks. Ends with `close`, with its owner, or with Python.
    """

    def __init__(
        self, git: Git, *args: str, doing: str, env: Mapping[str, str] | None = None
    ) -> None:
        self._doing = doing
        self._buffer = bytearray()
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end
        try:
            self._process = git.start(*args, doing=doing, stderr=complaints, env=env)
        except BaseException:
            complaints.close()
            raise
        _widen(self._process)
        self._complaints = complaints
        self._end = weakref.finalize(self, _end, self._process, complaints, os.getpid())

    def send(self, request: bytes) -> None:
        """Write to its stdin. A request must fit the pipe (64 KiB) where answers are pending."""
        stdin = self._process.stdin
        try:
            view = memoryview(request)
            while stdin is not None and view:
                view = view[stdin.write(view) or 0 :]
        except (OSError, ValueError) as exc:
            raise self._failed() from exc

    def line(self, end: bytes = b"\n") -> bytes:
        """The next line without `end`. Raises GitError where there is no more."""
        start = 0
        while (at := self._buffer.find(end, start)) < 0:
            start = len(self._buffer)
            if not self._fill():
                raise self._failed()
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return found

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises GitError where it ends before."""
        while len(self._buffer) < size:
            if not self._fill():
                raise self._failed()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def pieces(self, size: int) -> Iterator[bytes]:
        """`size` bytes in pieces that fit memory."""
        left = size
        while left:
            if not self._buffer and not self._fill():
                raise self._failed()
            piece = bytes(self._buffer[:left])
            del self._buffer[: len(piece)]
            left -= len(piece)
            yield piece

    def records(self, end: bytes = b"\0") -> Iterator[bytes]:
        """All that comes, cut at `end`, until it exits. Raises GitError where it fails."""
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
        while True:
            *whole, rest = bytes(self._buffer).split(end)
            self._buffer[:] = rest
            yield from whole
            if not self._fill():
                break
        if self._buffer:
            yield bytes(self._buffer)
        if self._process.wait(timeout=_SILENCE) != 0:
            raise self._failed()

    def close(self) -> None:
        """End the process; closing twice is allowed."""
        self._end()

    def _fill(self) -> bool:
        stdout = self._process.stdout
        if stdout is None or stdout.closed:
            return False
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        deadline = time.monotonic() + _SILENCE
        while not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            self.close()
            raise GitError(
                f"git said nothing for {_SILENCE:g} s while {self._doing}", retryable=True
            )
        piece = stdout.read(_CHUNK)
        self._buffer += piece or b""
        return bool(piece)

    def _failed(self) -> GitError:
        text = ""
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        with contextlib.suppress(OSError, ValueError):
            self._complaints.seek(0)
            text = self._complaints.read(_CHUNK).decode(errors="replace")
        self.close()
        return failure(self._doing, text)


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Let git run ahead of us by more than the usual pipe, where the system allows it (pipe(7))."""
    if process.stdout is not None:
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE)


def _end(process: subprocess.Popen[bytes], complaints: IO[bytes], owner: int) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    complaints.close()
    if os.getpid() != owner:  # a forked child inherits the pipes, not the process
        return
    if process.poll() is None:
        kill_group(process.pid)
    process.wait()
