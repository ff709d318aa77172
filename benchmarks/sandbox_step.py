"""What a sandboxed step costs beyond its process.

Run: python benchmarks/sandbox_step.py [STEPS]. One task of STEPS steps, each `true`, is carried out
in the sandbox and as plain processes, and set beside `/bin/true` started as many times by Python itself.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import write

from mlops.adapters.executors.local import LocalExecutor
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host
from mlops.domain.run import TaskState


class Silent:
    def task(self, state: TaskState) -> None: ...
    def log(self, task: str, step: str, line: str) -> None: ...


def document(name: str, image: str, steps: int) -> dict[str, Any]:
    """A PipelineRun of one task with as many steps."""
    made = [{"name": f"s{number}", "image": image, "command": ["true"]} for number in range(steps)]
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": name},
        "spec": {"pipelineSpec": {"tasks": [{"name": "t", "taskSpec": {"steps": made}}]}},
    }


def carried_out(executor: LocalExecutor, name: str, image: str, steps: int) -> float:
    started = time.perf_counter()
    result = executor.run(document(name, image, steps), Silent())
    if str(result.phase) != "Succeeded":
        raise SystemExit(f"{name}: {result.message}")
    return time.perf_counter() - started


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    times: dict[str, list[float]] = {"plain": [], "process": [], "sandbox": []}
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        store = OciLayout(base / "registry")
        digest, _ = host.pack(store, Uv(base))
        image = f"base-host@{digest}"
        executors = {
            name: LocalExecutor(base / "runs", store, name, base / "cache")
            for name in ("process", "sandbox")
        }
        for turn in range(6):
            for name, executor in executors.items():
                one = carried_out(executor, f"{name}-{turn}-one", image, 1)
                many = carried_out(executor, f"{name}-{turn}-many", image, steps + 1)
                if turn:
                    times[name].append((many - one) / steps)
            started = time.perf_counter()
            for _ in range(steps):
                subprocess.run(["/bin/true"], check=True)
            if turn:
                times["plain"].append((time.perf_counter() - started) / steps)
    plain = statistics.median(times["plain"])
    labels = {
        "plain": "`/bin/true` from Python",
        "process": "step, runtime process",
        "sandbox": "step, sandbox",
    }
    rows = [
        (
            labels[name],
            f"{statistics.median(took) * 1000:.1f}",
            f"{(statistics.median(took) - plain) * 1000:.1f}",
            f"{statistics.median(took) / plain:.1f}",
        )
        for name, took in times.items()
    ]
    remark = f"{steps} steps in one task, the cost of a task with one step taken off; median of 5 rounds in turn."
    headings = ("what", "ms a step", "beyond the process, ms", "ratio")
    write("sandbox_step", "A step in the sandbox", headings, rows, remark)


if __name__ == "__main__":
    main()
