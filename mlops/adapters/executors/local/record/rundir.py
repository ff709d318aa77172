"""The directory of a run: what was asked for, how it stands, its files, its lock.

run.yaml        the documents as they were submitted, the run first
secrets.yaml    the Secrets among them, until the run has succeeded
journal         how the run stands and stood; enough for a RunResult (see `journal`)
lock            held (flock) by the process that carries the run out, with its pid and a token
request         how the run is to end, if somebody asked; see `control`
poke            a FIFO that wakes whoever carries the run out
workspaces/     one directory for each claim
tasks/          what each attempt of a task had
logs/           TASK/STEP.log (see `pieces`)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops import documents
from mlops.adapters.executors.local.record import journal
from mlops.adapters.executors.local.runtime import proctree
from mlops.adapters.rootfs import remove
from mlops.domain.run import RunResult
from mlops.errors import ExecutorError

_KILLED = 10.0  # seconds that left-over processes may take to be gone


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of one run; `path` is absolute."""

    path: Path

    @property
    def document(self) -> Path:
        return self.path / "run.yaml"

    @property
    def secrets(self) -> Path:
        """The Secrets among the documents, for this user's eyes only."""
        return self.path / "secrets.yaml"

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def mark(self) -> str:
        """What marks the run's processes; a task's mark lies below it."""
        return proctree.mark_of(self.path)

    def workspace(self, name: str) -> Path:
        return self.path / "workspaces" / name

    def claim(self, name: str) -> Path:
        """Where a claim with a name is, which outlives runs: a directory there, or one of the user's
        that a link there, laid by us, leads to."""
        return (self.path.parent.parent / "claims" / name).resolve()

    def attempt(self, task: str, number: int) -> Path:
        return self.path / "tasks" / task / str(number)

    def log(self, task: str, step: str) -> Path:
        return self.path / "logs" / task / f"{step}.log"

    @contextlib.contextmanager
    def held(self, *, briefly: bool = False) -> Iterator[str]:
        """Hold the run's lock; gives a token, which names this holding of it.

        `briefly`: not to carry the run out; the lock goes on naming whoever did.

        Raises ExecutorError, naming the holder, where somebody has it.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)  # Secrets lie below it while steps run
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise ExecutorError(f"cannot write to {self.path}: {exc.strerror}") from exc
        try:
            if not _lock(descriptor):
                raise ExecutorError(
                    f"run {self.path.name} is being carried out by process {self.holder()}",
                    hint=f"Wait for it, or end it: mlops runs cancel {self.path.name}",
                )
            token = secrets.token_hex(8)
            if not briefly:
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} {token}\n".encode(), 0)
            yield token
        finally:
            os.close(descriptor)

    def holder(self) -> str:
        """The pid that the lock names."""
        return self._lock_words()[0]

    def token(self) -> str:
        """The token of whoever holds the lock, or held it last."""
        return self._lock_words()[1]

    def _lock_words(self) -> tuple[str, str]:
        words: list[str] = []
        with contextlib.suppress(OSError):
            words = (self.path / "lock").read_text().split()
        pid, token = (*words, "?", "?")[:2]
        return pid, token

    def alive(self) -> bool:
        """Whether some process holds the lock."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def begin(self, submitted: Sequence[Mapping[str, Any]]) -> None:
        """End what a killed executor left behind, and lay down the documents, the run first."""
        before = self.read()
        if before is not None and not before.phase.done:
            self.end_processes()
        secret = [each for each in submitted if each.get("kind") == "Secret"]
        others = [each for each in submitted if each.get("kind") != "Secret"]
        try:
            if secret:
                replace(self.secrets, _text(secret))
            else:
                self.secrets.unlink(missing_ok=True)
            replace(self.document, _text(others))
        except OSError as exc:
            raise ExecutorError(f"cannot prepare {self.path}: {exc.strerror}") from exc

    def asked(self) -> tuple[tuple[str, bytes], ...]:
        """The documents as they were laid down, with their names.

        Raises ExecutorError where they cannot be read.
        """
        try:
            found = [(path, path.read_bytes()) for path in (self.document, self.secrets)]
        except FileNotFoundError as exc:
            if exc.filename != str(self.secrets):
                raise ExecutorError(f"{self.path} is no run: it has no run.yaml") from exc
            found = [(self.document, self.document.read_bytes())]
        except OSError as exc:
            raise ExecutorError(f"cannot read {self.path}: {exc.strerror}") from exc
        return tuple((str(path), content) for path, content in found)

    def forget_secrets(self) -> None:
        """The run succeeded: nobody will need its Secrets again."""
        self.secrets.unlink(missing_ok=True)

    def end_processes(self) -> None:
        """Kill what is left of the run's processes. Raises ExecutorError where one does not end."""
        left = proctree.kill_all(proctree.marked(self.mark), _KILLED)
        if left:
            raise ExecutorError(
                f"run {self.path.name}: process {left[0]} of an earlier attempt does not end",
                hint="It waits for the kernel; try again when it is gone",
            )

    def clear(self, kept: Collection[str], *, workspaces: bool) -> None:
        """Remove what an earlier attempt left, but for the tasks in `kept`."""
        try:
            for name in ("tasks", "logs"):
                for entry in _entries(self.path / name):
                    if entry.name not in kept:
                        remove(entry)
            if workspaces:
                remove(self.path / "workspaces")
        except OSError as exc:
            raise ExecutorError(f"cannot prepare {self.path}: {exc.strerror}") from exc

    def remove(self) -> None:
        """Remove all of it, what tells how it stands last: then a kill leaves a run that can be removed."""
        try:
            last = {self.journal, self.document, self.path / "lock"}
            for entry in _entries(self.path):
                if entry.is_dir() and not entry.is_symlink():
                    remove(entry)
                elif entry not in last:
                    entry.unlink()
            self.journal.unlink(missing_ok=True)
            remove(self.path)
        except OSError as exc:
            raise ExecutorError(f"cannot remove {self.path}: {exc.strerror}") from exc

    def read(self) -> RunResult | None:
        """How the run stands, as it was written; None where nothing can be read."""
        return journal.read(self.journal)


def replace(path: Path, content: bytes) -> None:
    """Put a file in its place, whole: written beside it, synced and renamed."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    with open(fresh, "wb", opener=_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _text(submitted: Sequence[Mapping[str, Any]]) -> bytes:
    return "---\n".join(documents.dump(each) for each in submitted).encode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # a document may hold secrets


def _entries(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else []


def _lock(descriptor: int) -> bool:
    """Take the lock; tries again, for whoever asks `alive` holds it for an instant."""
    for _ in range(10):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.005)
    return False
