"""Real watchers over real repositories; what they say is read as they say it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

WAIT = 120.0  # seconds until a test gives up

PROJECT = """
apiVersion: mlops/v1
kind: Project
name: {name}
models: {{{name}: {{artifact: m.pkl, train: {{command: ["true"]}}}}}}
"""


def git(where: Path, *argv: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=Rosa", "-c", "user.email=rosa@example.com", *argv],
        cwd=where,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def repository(place: Path, name: str, message: str = "Begin") -> tuple[Path, Path]:
    """A bare repository with one commit of a project that has no locks: its runs begin, and fail at once.

    The work tree that it was pushed from, and the bare repository.
    """
    bare, work = place / f"{name}.git", place / f"{name}-work"
    git(place, "init", "-q", "--bare", "-b", "main", str(bare))
    git(place, "clone", "-q", str(bare), str(work))
    git(work, "checkout", "-q", "-B", "main")
    (work / "mlops.yaml").write_text(PROJECT.format(name=name))
    commit(work, message)
    return work, bare


def commit(work: Path, message: str) -> str:
    with (work / "train.py").open("a") as file:
        file.write(f"# {message}\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", message)
    git(work, "push", "-q", "origin", "HEAD:main")
    return git(work, "rev-parse", "HEAD")


class Watcher:
    """`mlops watch ARGS` as a process, ended with the test."""

    def __init__(self, *argv: str, **env: str) -> None:
        self._said: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlops", "watch", *argv],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            for line in self.process.stderr:
                with self._changed:
                    self._said.append(line)
                    self._changed.notify_all()

    @property
    def said(self) -> str:
        return "".join(self._said)

    def wait(self, pattern: str) -> re.Match[str]:
        """Until it says so."""
        end = time.monotonic() + WAIT
        with self._changed:
            while (found := re.search(pattern, self.said)) is None:
                assert self._changed.wait(end - time.monotonic()), (
                    f"{pattern} is not in\n{self.said}"
                )
        return found

    def end(self, number: int) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(WAIT)
