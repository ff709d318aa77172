"""`promote` and `rollback` to a local bare remote against the same fetch, commit and push by git alone.

Run: python benchmarks/publish.py [ROUNDS]. Goal: within 1.5 times.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from estate import Size, build, digest
from measure import compiled, median_ratio, seconds, write

MLOPS = [sys.executable, "-m", "mlops"]
SIZE = Size(commits=400, pins=20, releases=20, models=3)
MODEL = SIZE.names[0]
OVERLAY = "environments/dev/kustomization.yaml"  # dev: no policy asks where a release comes from
# as git writes to disk where it is told to be as careful as mlops
GIT = (
    """set -e
git fetch -q origin main
git reset -q --hard origin/main
sed -i "s/^    digest: .*/    digest: $1/;" """
    + OVERLAY
    + """
git -c core.fsync=all commit -q -m "$2" -- """
    + OVERLAY
    + """
git -c core.fsync=all push -q origin HEAD:main
"""
)


def clone(root: Path, name: str) -> Path:
    """A clone of its own copy of the estate, which has a record for each round."""
    remote = build(root / f"{name}.git", SIZE)
    subprocess.run(["git", "clone", "-q", remote, name], cwd=root, check=True)
    return root / name


def records(where: Path, rounds: int) -> None:
    """A release for each round."""
    for number in range(rounds + 1):
        made = digest(f"round {number}")
        path = where / f"environments/releases/{MODEL}/{made.removeprefix('sha256:')}.json"
        text = next(path.parent.glob("*.json")).read_text()
        old = text.split(f"{MODEL}@")[1].split('"')[0]
        path.write_text(text.replace(old, made))
    for command in (["add", "-A"], ["commit", "-qm", "records"], ["push", "-q"]):
        subprocess.run(["git", *command], cwd=where, check=True)


def main() -> None:
    compiled()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    env = os.environ | {
        **{
            f"GIT_{role}_{what}": "ada@example.com"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    os.environ.update(env)
    times: dict[str, list[float]] = {"promote": [], "rollback": [], "git": [], "start": []}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        ours, plain = clone(root, "ours"), clone(root, "plain")
        records(ours, rounds)
        for number in range(rounds + 1):
            made = digest(f"round {number}")
            promote = ["promote", f"{MODEL}@{made}", "--to", "dev", "--despite-hold"]
            back = ["rollback", "dev", MODEL, "--reason", "bad", "--yes"]
            took = {
                "promote": seconds([*MLOPS, *promote], env, ours),
                "git": seconds(["sh", "-c", GIT, "sh", made, f"Pin {number}"], env, plain),
                "rollback": seconds([*MLOPS, *back], env, ours),
                "start": seconds([*MLOPS, "rollback", "--help"], env, ours),
            }
            for name, each in took.items() if number else ():
                times[name].append(each)
    reference = times["git"]
    beyond = {
        name: [max(0.0, a - b) for a, b in zip(times[name], times["start"], strict=True)]
        for name in ("promote", "rollback")
    }
    rows = [("git alone: fetch, commit, push", *_cells(reference, reference))]
    for name in ("promote", "rollback"):
        rows.append((f"mlops {name}", *_cells(times[name], reference)))
        rows.append((f"mlops {name}, start-up taken off", *_cells(beyond[name], reference)))
    rows.append(("mlops rollback --help (start-up)", *_cells(times["start"], reference)))
    write(
        "publish",
        "Promote and rollback beside git alone",
        ("what", "median, ms", "ratio to git alone"),
        rows,
        f"{rounds} rounds in turn, a bare remote on the same disk, core.fsync=all for both; with preflight.",
    )


def _cells(times: list[float], reference: list[float]) -> tuple[str, str]:
    return f"{statistics.median(times) * 1000:.0f}", f"{median_ratio(times, reference):.2f}"


if __name__ == "__main__":
    main()
