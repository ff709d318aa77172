"""200 repositories in one watcher: processor, memory and git processes, at rest and under 10 pushes a second.

Run: python benchmarks/watched.py [REPOSITORIES] [SECONDS].
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measure import compiled, write
from watcher import (
    Watcher,
    claims,
    git,
    grow,
    ledger,
    memory,
    offspring,
    quantile,
    repository,
    usage,
)

INTERVAL = 30  # seconds
RATE = 10  # pushes a second
WAIT = 1200.0


@dataclass
class Used:
    """Over a while: shares of a core, MiB, and git processes at once."""

    own: float
    git: float
    runs: float
    memory: float
    processes: list[int]

    def row(self, what: str) -> tuple[str, ...]:
        counts = f"{quantile(self.processes, 0.5)} / {max(self.processes)}"
        shares = (f"{100 * share:.1f} %" for share in (self.own, self.git, self.runs))
        return (what, *shares, f"{self.memory:.0f}", counts)


def used(running: Watcher, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Used:
    pid = running.process.pid
    before, runs = usage(pid), sum(one.processor for one in ledger(running.ledger))
    thread = threading.Thread(target=meanwhile)
    thread.start()
    counts = []
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        counts.append(sum(name == "git" for name in offspring(pid)))
        time.sleep(0.1)
    took = time.monotonic() - started
    after, ran = usage(pid), sum(one.processor for one in ledger(running.ledger)) - runs
    thread.join()
    own, below = (late - early for late, early in zip(after, before, strict=True))
    return Used(own / took, max(below - ran, 0.0) / took, ran / took, memory(pid), counts)


def main() -> None:
    compiled()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with tempfile.TemporaryDirectory(prefix="mlops-watched-") as scratch:
        root = Path(scratch)
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(lambda number: repository(root, f"r{number}"), range(count)))
        entries = "".join(f"  - url: {bare}\n" for bare, _ in made)
        head = (
            f"apiVersion: mlops/v1\nkind: Watcher\ninterval: {INTERVAL}s\nruns: 2\nrepositories:\n"
        )
        (root / "watcher.yaml").write_text(head + entries)
        running = Watcher(root, "--config", str(root / "watcher.yaml"))
        try:
            _decided(made)
            rest = used(running, seconds)
            pushes = int(RATE * seconds)
            each = -(-pushes // count)
            lines = [grow(work, "main", each) for _, work in made]
            skipped = used(running, seconds, lambda: _push(made, lines, seconds))
        finally:
            running.end()
    write(
        "watched",
        f"{count} repositories in one watcher",
        ("", "watcher", "git and looks", "runs", "MiB", "git processes, median / most"),
        [rest.row("at rest"), skipped.row(f"{RATE} pushes/s")],
        f"Shares of one core over {seconds:.0f} s each; every repository is asked each {INTERVAL} s; `git` is all that "
        "the watcher starts, servers of `file` remotes included. Runs are a stand-in process (watcher.py), two at "
        "once, and the next tips wait for them.",
    )


def _decided(made: list[tuple[Path, Path]]) -> None:
    """Until the first tip of each repository is decided and carried out."""
    end = time.monotonic() + WAIT
    left = [bare for bare, _ in made]
    while left:
        left = [
            bare for bare in left if [one["state"] for one in claims(bare).values()] != ["outcome"]
        ]
        assert time.monotonic() < end, f"{len(left)} are not decided"
        time.sleep(0.5)


def _push(made: list[tuple[Path, Path]], lines: list[list[str]], seconds: float) -> None:
    started = time.monotonic()
    for number in range(int(RATE * seconds)):
        place = number % len(made)
        commit = lines[place][number // len(made)]
        git(made[place][1], "push", "-q", "origin", f"{commit}:refs/heads/main")
        time.sleep(max(0.0, started + (number + 1) / RATE - time.monotonic()))
        if time.monotonic() - started > 2 * seconds:
            return


if __name__ == "__main__":
    main()
