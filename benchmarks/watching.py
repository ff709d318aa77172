"""1,000 pushes to five branches, with a kill -9 of the watcher every five seconds.

Run: python benchmarks/watching.py [PUSHES]. Checked here: the final tip of every branch is decided, every decision
is carried out once, no run is made twice; with `each: commit` every first-parent commit exactly once.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import watcher
from measure import compiled, write
from watcher import Watcher, claims, git, grow, ledger, repository

BRANCHES = 5
KILL = 5.0  # seconds
WAIT = 1200.0


@dataclass
class Result:
    pushes: int
    pushing: float  # seconds
    kills: int
    decided: int
    runs: int
    after: float  # seconds from the last push until all was carried out


def measured(each: str, pushes: int) -> Result:
    with tempfile.TemporaryDirectory(prefix="mlops-watching-") as scratch:
        root = Path(scratch)
        bare, work = repository(root, "shop", each, runs=2)
        clone = root / "clone"
        git(root, "clone", "-q", str(bare), str(clone))
        lines = {
            f"b{number}": grow(work, f"b{number}", pushes // BRANCHES) for number in range(BRANCHES)
        }
        order = [name for name, found in lines.items() for _ in found]
        random.Random(7).shuffle(order)  # noqa: S311 - the same order each time
        running = Watcher(root, "--repo", str(clone), "--interval", "1")
        _settled(bare, {git(work, "rev-parse", "main")})  # a first start takes tips alone
        kills = [0]
        over = threading.Event()

        def kill() -> None:
            while not over.wait(KILL):
                running.kill()
                kills[0] += 1

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            started = time.monotonic()
            left = {name: iter(found) for name, found in lines.items()}
            for name in order:
                git(work, "push", "-q", "origin", f"{next(left[name])}:refs/heads/{name}")
            pushed = time.monotonic()
            wanted = (
                {commit for found in lines.values() for commit in found}
                if each == "commit"
                else set()
            )
            wanted |= {found[-1] for found in lines.values()}
            settled = _settled(bare, wanted)
            after = time.monotonic() - pushed
        finally:
            over.set()
            killer.join()
            running.end()
        return _checked(
            each, lines, settled, running, Result(pushes, pushed - started, kills[0], 0, 0, after)
        )


def _settled(bare: Path, wanted: set[str]) -> dict[str, dict]:
    """The claims, once all that is wanted is decided, and all that is decided is carried out."""
    end = time.monotonic() + WAIT
    while True:
        found = claims(bare)
        done = all(each["state"] == "outcome" for each in found.values())
        if done and wanted <= {each["source"] for each in found.values()}:
            return found
        assert time.monotonic() < end, Counter(each["state"] for each in found.values())
        time.sleep(1)


def _checked(
    each: str, lines: dict[str, list[str]], found: dict[str, dict], running: Watcher, result: Result
) -> Result:
    begun = ledger(running.ledger)
    twice = [commit for commit, count in Counter(one.commit for one in begun).items() if count > 1]
    assert not twice, f"run twice: {twice}"
    decided = Counter(document["source"] for document in found.values())
    assert max(decided.values()) == 1, "decided twice"
    ran = {document["source"] for document in found.values() if document["outcome"] == "succeeded"}
    assert ran == {one.commit for one in begun}, "decided, and not carried out"
    pushed = {commit for line in lines.values() for commit in line}
    if each == "commit":
        assert pushed <= decided.keys(), "a commit was left out"
    result.decided, result.runs = len(decided), len(begun)
    return result


def main() -> None:
    compiled()
    pushes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rows = []
    for each in ("push", "commit"):
        found = measured(each, pushes)
        rows.append(
            (
                f"`each: {each}`",
                f"{found.pushes} in {found.pushing:.0f} s",
                str(found.kills),
                str(found.decided),
                str(found.runs),
                f"{found.after:.0f}",
            )
        )
    write(
        "watching",
        "Pushes while the watcher is killed every five seconds",
        (
            "policy",
            "pushes",
            "kills",
            "commits decided",
            "runs",
            "s from the last push to the last outcome",
        ),
        rows,
        f"{BRANCHES} branches of one repository, polled every second, two runs at once. Checked in the run: the "
        "final tip of every branch is decided, each decision is carried out exactly once, and with `each: commit` "
        "every commit is. "
        f"Runs are a stand-in process that wins and settles the claim ({Path(watcher.__file__).name}).",
    )


if __name__ == "__main__":
    main()
