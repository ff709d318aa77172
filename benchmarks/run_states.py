"""What it costs to keep states and logs: changes of a run of 2,000 tasks, and a log of 1 GiB.

The journal takes each change as a line; beside it, what it replaced: the whole status written anew.

python benchmarks/run_states.py
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from measure import compiled, write

from mlops.adapters.executors.local.record.journal import Journal
from mlops.adapters.executors.local.record.logs import StepLog
from mlops.adapters.executors.local.record.pieces import Reader
from mlops.adapters.executors.local.record.states import run_to_json, task_to_json
from mlops.domain.run import Phase, RunResult, StepState, TaskState

TASKS = 2000
_CHUNK = 1 << 16


def main() -> None:
    """Measure, and write the table."""
    compiled()
    rows = [("journal, changes a second", f"{_journal():,.0f}")]
    rows.append(("whole status anew, changes a second", f"{_whole():,.0f}"))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        for name, line in (("lines of 100 bytes", b"x" * 99 + b"\n"), ("one line", b"x" * 64)):
            took, kept = _log(path / name / "s.log", line)
            rows.append((f"1 GiB of log, {name}", f"{took:.1f} s, {kept >> 20} MiB kept"))
        took, count = _read(path / "lines of 100 bytes" / "s.log")
        rows.append(("lines read back a second", f"{count / took:,.0f}"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    rows.append(("most memory of it all", f"{peak} MiB"))
    write(
        "local_states",
        "States and logs of runs",
        ("what", "figure"),
        rows,
        f"A run of {TASKS:,} tasks; a log is cut to its first 16 MiB and its last 48 MiB at most.",
    )


def _run() -> RunResult:
    now = datetime.now(UTC)
    steps = (StepState("main", Phase.RUNNING, started=now),)
    tasks = tuple(
        TaskState(f"task-{number}", Phase.RUNNING, started=now, steps=steps)
        for number in range(TASKS)
    )
    return RunResult("run", Phase.RUNNING, "Running", "", now, None, tasks)


def _rate(change: Callable[[int], None], count: int) -> float:
    begun = time.perf_counter()
    for number in range(count):
        change(number)
    return count / (time.perf_counter() - begun)


def _journal() -> float:
    run = _run()
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(Path(directory) / "journal")
        journal.begin(run)
        rate = _rate(lambda number: journal.task(run.tasks[number % TASKS]), 20_000)
        journal.close()
    return rate


def _whole() -> float:
    run = _run()
    with tempfile.TemporaryDirectory() as directory:
        fresh, path = Path(directory) / "fresh", Path(directory) / "status.json"

        def change(_: int) -> None:
            value = {**run_to_json(run), "tasks": [task_to_json(task) for task in run.tasks]}
            fresh.write_text(json.dumps(value))
            fresh.replace(path)

        return _rate(change, 30)


def _log(path: Path, line: bytes) -> tuple[float, int]:
    log = StepLog(path, lambda _: None)
    chunk = line * (_CHUNK // len(line))
    begun = time.perf_counter()
    for _ in range((1 << 30) // len(chunk)):
        log.write(chunk)
    log.close()
    took = time.perf_counter() - begun
    return took, sum(each.stat().st_size for each in path.parent.iterdir())


def _read(path: Path) -> tuple[float, int]:
    begun = time.perf_counter()
    count = sum(1 for _ in Reader(path, "task", "step").read(ended=True))
    return time.perf_counter() - begun, count


if __name__ == "__main__":
    main()
