"""Meets `ports.Nursery`: processes in sessions of their own, whose output goes to files."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import process
from mlops.errors import OutsideError

_KEPT = 500  # logs of processes
_LONGEST = 1 << 20  # bytes of an answer


@dataclass(frozen=True, slots=True)
class FiledChild:
    """Meets `ports.Child`."""

    log: Path
    _answer: Path
    _process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> int:
        return self._process.wait()

    def answer(self) -> str:
        try:
            with self._answer.open("rb") as file:
                return file.read(_LONGEST).decode(errors="replace")
        except OSError:
            return ""
        finally:
            self._answer.unlink(missing_ok=True)


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
        return FiledChild(log, answer, started)

    def _prune(self) -> None:
        """Remove the oldest logs; what does not go stays."""
        with contextlib.suppress(OSError):
            files = sorted(self.directory.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in files[:-_KEPT]:
                path.unlink()
