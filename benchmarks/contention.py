"""50 promotions, holds and rollbacks at once from 10 processes, against a loop of git alone.

Run: python benchmarks/contention.py [PROCESSES] [EACH]. All land or are refused, none is lost, and
history stays linear: checked here, and printed with the time for each commit that landed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from estate import Size, build, digest
from measure import compiled, write
from publish import GIT

MLOPS = [sys.executable, "-m", "mlops"]
SIZE = Size(commits=400, pins=60, releases=20, models=5)


def orders(process: int, each: int) -> list[list[str]]:
    """What one process asks for, one after the other; models meet those of other processes."""
    found = []
    for number in range(each):
        model = SIZE.names[(process + number) % len(SIZE.names)]
        kinds = [
            ["promote", f"{model}@{digest(f'{model} 0')}", "--to", "dev"],
            ["hold", "prod", model, "--reason", f"freeze {process}.{number}"],
            [
                "rollback",
                "dev",
                model,
                "--reason",
                "bad",
                "--incident",
                f"{process}.{number}",
                "--yes",
            ],
        ]
        found.append([*kinds[(process + number) % 3], "--output", "json"])
    return found


def ours(clones: list[Path], processes: int, each: int) -> dict[str, int | float]:
    """Run all orders; counts of commits, of answers without a change, and of refusals."""
    before = _tip(clones[0])

    def work(process: int) -> list[tuple[int, list[str]]]:
        where = clones[process % len(clones)]
        answers = []
        for order in orders(process, each):
            done = subprocess.run(
                [*MLOPS, *order], cwd=where, capture_output=True, text=True, check=False
            )
            rows = json.loads(done.stdout) if done.returncode == 0 else []
            commits = [row["commit"] for row in rows if row["commit"]]
            if done.returncode not in (0, 1):
                print(order, done.stderr, file=sys.stderr)
            answers.append((done.returncode, commits))
        return answers

    started = time.perf_counter()
    with ThreadPoolExecutor(processes) as pool:
        answers = [each for found in pool.map(work, range(processes)) for each in found]
    took = time.perf_counter() - started
    made = _git(clones[0], "rev-list", f"{before}..{_tip(clones[0])}").split()
    told = {commit for _, commits in answers for commit in commits}
    assert told == set(made), "a commit was lost, or nobody was told of it"
    return {
        "seconds": took,
        "landed": len(made),
        "unchanged": sum(code == 0 and not commits for code, commits in answers),
        "refused": sum(code == 1 for code, _ in answers),
        "failed": sum(code not in (0, 1) for code, _ in answers),
        "merges": int(_git(clones[0], "rev-list", "--count", "--merges", "origin/main")),
    }


def plain(clones: list[Path], processes: int, each: int) -> float:
    """Seconds for as many commits by git alone, each tried until it lands."""

    def work(process: int) -> None:
        for number in range(each):
            made = digest(f"{process} {number}")
            command = ["sh", "-c", GIT, "sh", made, f"Pin {process}.{number}"]
            while subprocess.run(
                command, cwd=clones[process], capture_output=True, check=False
            ).returncode:
                pass

    started = time.perf_counter()
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(work, range(processes)))
    return time.perf_counter() - started


def _git(where: Path, *args: str) -> str:
    return subprocess.run(
        ["git", *args], cwd=where, check=True, capture_output=True, text=True
    ).stdout.strip()


def _tip(where: Path) -> str:
    _git(where, "fetch", "-q", "origin")
    return _git(where, "rev-parse", "origin/main")


def _clones(root: Path, name: str, count: int) -> list[Path]:
    remote = build(root / f"{name}.git", SIZE)
    for number in range(count):
        _git(root, "clone", "-q", str(remote), f"{name}{number}")
    return [root / f"{name}{number}" for number in range(count)]


def main() -> None:
    compiled()
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    each = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    who = {
        f"GIT_{role}_{what}": "ada@example.com"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    os.environ.update(who | {"GIT_CONFIG_GLOBAL": "/dev/null"})
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        apart = ours(_clones(root, "apart", processes), processes, each)
        shared = ours(_clones(root, "shared", 1), processes, each)
        git = plain(_clones(root, "git", processes), processes, each)
    total = processes * each
    reference = git / total
    rows = [
        ("git alone, tried until it lands", str(total), "0", "0", f"{reference * 1000:.0f}", "1.00")
    ]
    for name, found in (("mlops, a clone for each", apart), ("mlops, all in one clone", shared)):
        assert not found["merges"], "history is not linear"
        assert not found["failed"], "an order neither landed nor was refused"
        per = found["seconds"] / max(1, found["landed"])
        order = found["seconds"] / total
        rows.append(
            (
                name,
                str(found["landed"]),
                str(found["unchanged"]),
                str(found["refused"]),
                f"{per * 1000:.0f} ({order * 1000:.0f} an order)",
                f"{per / reference:.2f}",
            )
        )
    write(
        "contention",
        "Many writers at once",
        ("who", "landed", "nothing to do", "refused", "ms a landed commit", "ratio"),
        rows,
        f"{total} orders from {processes} processes to one bare remote; none lost, no merge: checked in the run.",
    )


if __name__ == "__main__":
    main()
