"""The directory of a run: what was asked for, how it stands, its files, its lock.

run.yaml        the document as it was submitted
status.json     how the run stands; enough for a RunResult
lock            held (flock) by the process that carries the run out, with its pid
workspaces/     one directory for each claim
tasks/          what each attempt of a task had
logs/           TASK/STEP.log
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops import documents
from mlops.adapters.executors.local import proctree
from mlops.adapters.rootfs import remove
from mlops.domain.run import Phase, RunResult, StepState, TaskState
from mlops.errors import ExecutorError

_KILLED = 10.0  # seconds that left-over processes may take to be gone
_LARGEST_STATUS = 64 << 20


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of one run; `path` is absolute."""

    path: Path

    @property
    def document(self) -> Path:
        return self.path / "run.yaml"

    @property
    def mark(self) -> str:
        """What marks the run's processes; a task's mark lies below it."""
        return proctree.mark_of(self.path)

    def workspace(self, name: str) -> Path:
        return self.path / "workspaces" / name

    def attempt(self, task: str, number: int) -> Path:
        return self.path / "tasks" / task / str(number)

    def log(self, task: str, step: str) -> Path:
        return self.path / "logs" / task / f"{step}.log"

    def logs(self, task: str = "") -> Iterator[tuple[str, Path]]:
        """`TASK/STEP` and log file, those that were written first coming first."""
        found = self.path.glob(f"logs/{task or '*'}/*.log")
        for file in sorted(found, key=lambda each: (each.stat().st_ctime_ns, each.name)):
            yield f"{file.parent.name}/{file.stem}", file

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run's lock. Raises ExecutorError, naming the holder, where somebody has it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise ExecutorError(f"cannot write to {self.path}: {exc.strerror}") from exc
        try:
            if not _lock(descriptor):
                raise ExecutorError(
                    f"run {self.path.name} is being carried out by process {self.holder()}",
                    hint="Wait for it, or end that process",
                )
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def holder(self) -> str:
        """The pid that the lock names."""
        with contextlib.suppress(OSError):
            return (self.path / "lock").read_text().strip() or "?"
        return "?"

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

    def begin(self, document: Mapping[str, Any], *, fresh: bool) -> None:
        """End what a killed executor left behind, and lay down the document."""
        text = documents.dump(document)
        before = self.read()
        if before is not None and not before.phase.done:
            left = proctree.kill_all(proctree.marked(self.mark), _KILLED)
            if left:
                raise ExecutorError(
                    f"run {self.path.name}: process {left[0]} of an earlier attempt does not end",
                    hint="It waits for the kernel; try again when it is gone",
                )
        try:
            for name in ("tasks", "logs", *(("workspaces",) if fresh else ())):
                remove(self.path / name)
            (self.path / "status.json").unlink(missing_ok=True)
            self.document.write_text(text)
        except OSError as exc:
            raise ExecutorError(f"cannot prepare {self.path}: {exc.strerror}") from exc

    def write(self, result: RunResult) -> None:
        """Replace the status, at once and whole."""
        fresh = self.path / f".status-{os.getpid()}"
        try:
            with fresh.open("w") as file:
                json.dump(_to_json(result), file, indent=1)
                if result.phase.done:
                    file.flush()
                    os.fsync(file.fileno())
            fresh.replace(self.path / "status.json")
        except OSError as exc:
            raise ExecutorError(f"cannot write the status of {self.path}: {exc.strerror}") from exc

    def read(self) -> RunResult | None:
        """The status as it was written; None where there is none that can be read."""
        path = self.path / "status.json"
        try:
            if path.stat().st_size > _LARGEST_STATUS:
                return None
            return _from_json(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _lock(descriptor: int) -> bool:
    """Take the lock; tries again, for whoever asks `alive` holds it for an instant."""
    for _ in range(10):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.005)
    return False


def _to_json(result: RunResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "phase": str(result.phase),
        "reason": result.reason,
        "message": result.message,
        **_times(result.started, result.finished),
        "labels": dict(result.labels),
        "results": dict(result.results),
        "tasks": [_task_to_json(task) for task in result.tasks],
        "notes": list(result.notes),
    }


def _times(started: datetime | None, finished: datetime | None) -> dict[str, str | None]:
    return {
        "started": started.isoformat() if started else None,
        "finished": finished.isoformat() if finished else None,
    }


def _task_to_json(task: TaskState) -> dict[str, Any]:
    return {
        "name": task.name,
        "phase": str(task.phase),
        "reason": task.reason,
        "message": task.message,
        **_times(task.started, task.finished),
        "attempts": task.attempts,
        "runtime": task.runtime,
        "network": task.network,
        "results": dict(task.results),
        "steps": [
            {
                "name": step.name,
                "phase": str(step.phase),
                "exitCode": step.exit_code,
                **_times(step.started, step.finished),
                "reason": step.reason,
            }
            for step in task.steps
        ],
    }


def _moment(raw: Mapping[str, Any], key: str) -> datetime | None:
    return datetime.fromisoformat(raw[key]) if raw.get(key) else None


def _from_json(raw: Mapping[str, Any]) -> RunResult:
    return RunResult(
        name=raw["name"],
        phase=Phase(raw["phase"]),
        reason=raw["reason"],
        message=raw["message"],
        started=_moment(raw, "started"),
        finished=_moment(raw, "finished"),
        tasks=tuple(_task_from_json(task) for task in raw["tasks"]),
        results=dict(raw["results"]),
        labels=dict(raw["labels"]),
        notes=tuple(raw["notes"]),
    )


def _task_from_json(raw: Mapping[str, Any]) -> TaskState:
    return TaskState(
        name=raw["name"],
        phase=Phase(raw["phase"]),
        reason=raw["reason"],
        message=raw["message"],
        started=_moment(raw, "started"),
        finished=_moment(raw, "finished"),
        attempts=raw["attempts"],
        runtime=raw["runtime"],
        network=raw["network"],
        results=dict(raw["results"]),
        steps=tuple(
            StepState(
                each["name"],
                Phase(each["phase"]),
                each["exitCode"],
                _moment(each, "started"),
                _moment(each, "finished"),
                each["reason"],
            )
            for each in raw["steps"]
        ),
    )
