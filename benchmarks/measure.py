"""What the benchmarks share: pairs of commands timed in turn, medians, ratios, and the table."""

from __future__ import annotations

import compileall
import importlib.util
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """One line on the machine: processor, cores, memory, kernel, Python."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def compiled() -> None:
    """Bytecode for all of mlops: an installed program has it, a checkout that was edited may not."""
    package = importlib.util.find_spec("mlops")
    for place in (package and package.submodule_search_locations) or ():
        compileall.compile_dir(place, quiet=1)


def seconds(
    argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> float:
    """How long one run of a command takes, from start to exit. Raises where it fails."""
    started = time.perf_counter()
    subprocess.run(list(argv), check=True, capture_output=True, env=env, cwd=cwd)
    return time.perf_counter() - started


def in_turn(
    commands: Mapping[str, Sequence[str]],
    rounds: int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> dict[str, list[float]]:
    """Time commands in turn (A B A B …), after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, argv in commands.items():
            took = seconds(argv, env, cwd)
            if turn:
                times[name].append(took)
    return times


def median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the ratios, pair by pair: what drifts in the machine's speed falls out."""
    return statistics.median(a / b for a, b in zip(times, reference, strict=True))


def write(
    name: str, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], remark: str
) -> None:
    """Print the table, and write it to `results/<name>.md` as the docs show it."""
    lines = [
        f"### {title}",
        "",
        "| " + " | ".join(headings) + " |",
        "| " + " | ".join("---" for _ in headings) + " |",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. {remark}",
        "",
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(lines))
    print("\n".join(lines))
