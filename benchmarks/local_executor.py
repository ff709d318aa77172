"""What the local executor adds to the programs that it runs: a step, many tasks at once, a large graph, a large log.

Run: python benchmarks/local_executor.py [step|parallel|graph|log …]. Without names all of them. Each is set beside
the same programs started without the executor, in turn.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import median_ratio, write

from mlops.adapters.executors.local import LocalExecutor
from mlops.adapters.executors.local.runtime.engine import ENGINES, Engine
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host
from mlops.domain.run import TaskState

ROUNDS, STEPS, FEW, PARALLEL, GRAPH, LOG = 5, 40, 8, 200, 2000, 1 << 30
BWRAP = [
    *("bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"),
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--"),
]


class Silent:
    def task(self, state: TaskState) -> None: ...
    def log(self, task: str, step: str, line: str) -> None: ...


class Machine:
    """Executors on this machine, one for each runtime, and an image that both can run."""

    def __init__(self, base: Path) -> None:
        store = OciLayout(base / "registry")
        self.image = f"base-host@{host.pack(store, Uv(base))[0]}"
        self.runs = base / "runs"
        self.number = 0
        self._executors = {
            name: LocalExecutor(self.runs, store, name, base / "cache")
            for name in ("process", "sandbox", *ENGINES)
        }
        self.engines = [name for name in ENGINES if not Engine(name, store).reasons()]

    def run(self, runtime: str, tasks: Sequence[dict[str, Any]]) -> float:
        """Seconds for a run of these tasks. Raises where it fails."""
        self.number += 1
        document = {
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "metadata": {"name": f"bench-{self.number}"},
            "spec": {"pipelineSpec": {"tasks": list(tasks)}},
        }
        started = time.perf_counter()
        result = self._executors[runtime].run(document, Silent())
        took = time.perf_counter() - started
        if str(result.phase) != "Succeeded":
            raise SystemExit(f"{result.name}: {result.message}")
        return took

    def task(self, name: str, commands: Sequence[Sequence[str]], after: Sequence[str] = ()) -> Any:
        steps = [
            {"name": f"s{number}", "image": self.image, "command": list(command)}
            for number, command in enumerate(commands)
        ]
        return {"name": name, "runAfter": list(after), "taskSpec": {"steps": steps}}


def plainly(argv: Sequence[str], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        subprocess.run(argv, check=True)
    return time.perf_counter() - started


def measured(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, in turn, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            took = way()
            if number:
                found[name].append(took)
    return found


def step(machine: Machine) -> None:
    """What a step costs: of one task with many, the cost of a task with one taken off."""

    def steps(runtime: str, count: int = STEPS) -> float:
        many = machine.run(runtime, [machine.task("t", [["true"]] * (count + 1))])
        one = machine.run(runtime, [machine.task("t", [["true"]])])
        return (many - one) / count

    def engine(name: str) -> Callable[[], float]:
        return lambda: steps(name, FEW)

    ways = {
        "`true`": lambda: plainly(["true"], STEPS) / STEPS,
        "`true` in bubblewrap alone": lambda: plainly([*BWRAP, "true"], STEPS) / STEPS,
        "a step, runtime process": lambda: steps("process"),
        "a step, sandbox": lambda: steps("sandbox"),
        **{f"a step, {name}": engine(name) for name in machine.engines},
    }
    times = measured(ways, ROUNDS)
    plain = times["`true`"]
    rows = [
        (
            name,
            f"{statistics.median(took) * 1000:.1f}",
            f"{statistics.median(a - b for a, b in zip(took, plain, strict=True)) * 1000:.1f}",
            f"{median_ratio(took, times['`true` in bubblewrap alone']):.2f}",
        )
        for name, took in times.items()
    ]
    many = f"{STEPS} steps in one task ({FEW} with an engine)"
    remark = f"{many}, the cost of a task with one taken off; {ROUNDS} rounds in turn."
    headings = ("what", "ms", "beyond the process, ms", "ratio to bubblewrap alone")
    write("local_step", "A step of the local executor", headings, rows, remark)


def parallel(machine: Machine) -> None:
    """Many tasks that could all run at once."""
    tasks = [machine.task(f"t{number}", [["true"]]) for number in range(PARALLEL)]

    def alone() -> float:
        started = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: plainly([*BWRAP, "true"], 1), range(PARALLEL)))
        return time.perf_counter() - started

    _whole(
        "local_parallel",
        f"{PARALLEL} tasks at once",
        {
            "`true` in bubblewrap alone, eight at a time": alone,
            "tasks, runtime process": lambda: machine.run("process", tasks),
            "tasks, sandbox": lambda: machine.run("sandbox", tasks),
        },
        PARALLEL,
        3,
    )


def graph(machine: Machine) -> None:
    """Layers of a hundred tasks, each after two of the layer before."""
    wide = 100
    tasks = []
    for number in range(GRAPH):
        layer, place = divmod(number, wide)
        before = [(layer - 1) * wide + place, (layer - 1) * wide + (place + 1) % wide]
        after = [f"t{each}" for each in before] if layer else []
        tasks.append(machine.task(f"t{number}", [["true"]], after))
    _whole(
        "local_graph",
        f"A graph of {GRAPH} tasks",
        {
            "`true` in bubblewrap alone, one by one": lambda: plainly([*BWRAP, "true"], GRAPH),
            "tasks, sandbox": lambda: machine.run("sandbox", tasks),
        },
        GRAPH,
        1,
    )


def log(machine: Machine) -> None:
    """A step that writes a gigabyte; 64 MiB of it are kept."""
    code = f"import os\nfor _ in range({LOG} >> 16): os.write(1, (b'x' * 63 + b'\\n') * 1024)"
    task = machine.task("t", [["python3", "-c", code]])

    def alone() -> float:
        started = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as program:
            while program.stdout and program.stdout.read(1 << 16):
                pass
        return time.perf_counter() - started

    _whole(
        "local_log",
        "A gigabyte of log",
        {
            "read by Python and thrown away": alone,
            "a step, runtime process": lambda: machine.run("process", [task]),
            "a step, sandbox": lambda: machine.run("sandbox", [task]),
        },
        1,
        3,
    )


def _whole(
    name: str, title: str, ways: dict[str, Callable[[], float]], count: int, rounds: int
) -> None:
    times = measured(ways, rounds)
    reference = next(iter(times.values()))
    rows = [
        (
            each,
            f"{statistics.median(took):.2f}",
            f"{statistics.median(took) / count * 1000:.1f}",
            f"{median_ratio(took, reference):.2f}",
        )
        for each, took in times.items()
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    remark = f"{rounds} rounds in turn, whole runs; the executor's own peak was {peak} MiB."
    write(name, title, ("what", "s", "ms each", "ratio"), rows, remark)


def main() -> None:
    chosen = sys.argv[1:] or ["step", "parallel", "graph", "log"]
    with tempfile.TemporaryDirectory() as scratch:
        machine = Machine(Path(scratch))
        for name in chosen:
            {"step": step, "parallel": parallel, "graph": graph, "log": log}[name](machine)


if __name__ == "__main__":
    main()
