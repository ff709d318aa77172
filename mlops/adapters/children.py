"""Meets `ports.Nursery`: processes in sessions of their own, whose output goes to files."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import process
from mlops.errors import OutsideError

_KEPT = 500  # logs of processes
_LONGEST = 1 << 20  # bytes of an answer
_PART = 1 << 16  # bytes of a log that are read at once
_LINE = 1000  # bytes of a line
_PAUSE = 0.2  # seconds until a log is looked at again


@dataclass(frozen=True, slots=True)
class FiledChild:
    """Meets `ports.Child`."""

    log: Path
    _answer: Path
    _process: subprocess.Popen[bytes]
    _from: int = 0  # where what it says begins in the log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def lines(self) -> Iterator[str]:
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(self._from)
            kept = b""
            while True:
                over = self.code is not None  # asked before: what it said last is read then
                part = file.read(_PART)
                *whole, kept = (kept + part).split(b"\n")
                yield from map(_text, whole)
                kept = kept[: _LINE + 1]
                if over and not part:
                    break
                if not part:
                    time.sleep(_PAUSE)
            if kept:
                yield _text(kept)

    def last(self, count: int) -> tuple[str, ...]:
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._from, size - _PART))
                found = file.read(_PART).splitlines()
        except OSError:
            return ()
        return tuple(map(_text, found[-count:]))

    def answer(self) -> str:
        try:
            with self._answer.open("rb") as file:
                return file.read(_LONGEST).decode(errors="replace")
        except OSError:
            return ""
        finally:
            self._answer.unlink(missing_ok=True)


def _text(line: bytes) -> str:
    return line[:_LINE].decode(errors="replace") + ("…" if len(line) > _LINE else "")


@dataclass(frozen=True, slots=True)
class Nursery:
    """Keeps the logs in `directory`, the newest few hundred of them."""

    directory: Path

    def start(self, name: str, argv: Sequence[str]) -> FiledChild:
        """Start `argv`; stderr is appended to NAME.log. Raises OutsideError."""
        log, answer = self.directory / f"{name}.log", self.directory / f"{name}.{os.getpid()}.out"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._prune()
            with log.open("ab") as err, answer.open("wb") as out:
                before = err.seek(0, os.SEEK_END)
                started = process.start(
                    argv,
                    doing=f"starting {name}",
                    stdin=subprocess.DEVNULL,
                    stdout=out.fileno(),
                    stderr=err,
                )
        except OSError as exc:
            raise OutsideError(
                f"cannot start {name}: {exc.strerror} ({exc.filename or self.directory})",
                retryable=True,
            ) from exc
        return FiledChild(log, answer, started, before)

    def _prune(self) -> None:
        """Remove the oldest logs; what does not go stays."""
        with contextlib.suppress(OSError):
            files = sorted(self.directory.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in files[:-_KEPT]:
                path.unlink()
