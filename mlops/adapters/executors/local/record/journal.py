"""How a run stands, on disk: a journal that a kill at any moment leaves readable.

A line is `CRC JSON`: eight hexadecimal digits of CRC-32 and a record, `{"run": …}` or `{"task": …}`,
which replaces what stood there of that run or task. A change is one line at the end, so a run of
thousands of tasks costs what its changes cost. What a kill cut short has a wrong sum and counts as
not written. The file is made anew, beside itself and renamed, at a run's beginning and end, and when
it has grown to several times its content.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops.adapters.executors.local.record import states
from mlops.domain.run import RunResult, TaskState
from mlops.errors import ExecutorError

_GROWTH = 4  # times its content that a journal may take
_SMALL = 1 << 20  # bytes below which nothing is made anew
_LARGEST = 256 << 20  # bytes of a journal that are read
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Journal:
    """Writes the states of one run; belongs to the thread that decides.

    Where the disk is full, changes are owed and written as soon as there is room; only `end` raises
    for that. Raises ExecutorError where the file cannot be written for another reason.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run = b""
        self._tasks: dict[str, bytes] = {}
        self._descriptor = -1
        self._size = 0
        self._content = 0
        self._owed = False

    def begin(self, result: RunResult) -> None:
        """Make the file anew, with all of the run."""
        self._take(result)
        with self._told():
            self._renew()

    def run(self, result: RunResult) -> None:
        """Write how the run stands, without its tasks."""
        self._run = _line({"run": states.run_to_json(result)})
        self._change(self._run)

    def task(self, state: TaskState) -> None:
        """Write how a task stands."""
        line = self._tasks[state.name] = _line({"task": states.task_to_json(state)})
        self._change(line)

    def end(self, result: RunResult) -> None:
        """Make the file anew, with all of the run, for the last time."""
        self.begin(result)
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self, result: RunResult) -> None:
        self._run = _line({"run": states.run_to_json(result)})
        self._tasks = {
            task.name: _line({"task": states.task_to_json(task)}) for task in result.tasks
        }

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise ExecutorError(f"cannot write {self._path}: {exc.strerror}") from exc

    def _change(self, line: bytes) -> None:
        with self._told():
            try:
                self._append(line)
            except OSError as exc:
                if exc.errno not in _FULL:
                    raise
                self._owed = True

    def _append(self, line: bytes) -> None:
        if self._owed or self._size > max(_SMALL, _GROWTH * self._content):
            self._renew()
        elif os.write(self._descriptor, line) == len(line):
            self._size += len(line)
        else:
            os.ftruncate(self._descriptor, self._size)
            raise _full()

    def _renew(self) -> None:
        """Write the whole beside the file, sync it, and put it in the file's place."""
        content = b"".join((self._run, *self._tasks.values()))
        fresh = self._path.with_name(f".{self._path.name}.new")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, 0o644)
        try:
            if os.write(descriptor, content) < len(content):
                raise _full()
            os.fsync(descriptor)
            fresh.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor, self._owed = descriptor, False
        self._size = self._content = len(content)


class Tail:
    """Reads a journal, and on the next call what came since; `path` need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] = (0, 0)  # device and inode
        self._offset = 0
        self._run: dict[str, Any] | None = None
        self._tasks: dict[str, TaskState] = {}

    def read(self) -> RunResult | None:
        """How the run stands; None where there is no journal that can be read."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size > _LARGEST:
                    return None
                if self._file != (status.st_dev, status.st_ino) or status.st_size < self._offset:
                    self._file = (status.st_dev, status.st_ino)
                    self._offset, self._run, self._tasks = 0, None, {}
                file.seek(self._offset)
                self._heed(file.read())
            return None if self._run is None else states.run_from_json(self._run, self._found())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _found(self) -> Iterator[TaskState]:
        yield from self._tasks.values()

    def _heed(self, content: bytes) -> None:
        for line in content.splitlines(keepends=True):
            record = _record(line)
            if record is None:
                return  # cut short: what comes after it is not known either
            if "task" in record:
                task = states.task_from_json(record["task"])
                self._tasks[task.name] = task
            else:
                self._run = record["run"]
            self._offset += len(line)


def read(path: Path) -> RunResult | None:
    """How a run stands, by its journal; None where there is none that can be read."""
    return Tail(path).read()


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _record(line: bytes) -> dict[str, Any] | None:
    """A line's record; None where it is not whole."""
    sum_, _, text = line.rstrip(b"\n").partition(b" ")
    try:
        whole = line.endswith(b"\n") and int(sum_, 16) == zlib.crc32(text)
        found = json.loads(text) if whole else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
