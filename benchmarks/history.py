"""What looking back costs in a long GitOps history, beside git itself and beside GTO.

Run: python benchmarks/history.py [ROUNDS]. Everything is made in a temporary directory: a GitOps repository of
100,000 commits, 5,000 of them pins of 300 models in 5 environments, one of a tenth of that, and one with
5,000 tags as GTO makes them.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from estate import START, STEP, Size, build
from measure import in_turn, median_ratio, seconds, write

MLOPS = [sys.executable, "-m", "mlops"]
GTO = [str(Path(sys.executable).with_name("gto"))]
LARGE = Size()
SMALL = Size(commits=10_000, pins=500, releases=500)
MODEL = "model-007"
ALONE = "git log -- environments/prod"
# the peak of this process alone, in KiB, after the command: proc(5), VmHWM
PEAK = """
import atexit, runpy, sys
def tell():
    with open("/proc/self/status") as status:
        sys.stderr.write(next(line for line in status if line.startswith("VmHWM")))
atexit.register(tell)
runpy.run_module("mlops", run_name="__main__", alter_sys=True)
"""
# what a person's script does: fetch, write the pin and a hold, commit, push
BY_HAND = """
set -e
git fetch -q origin main
git checkout -q --detach origin/main
git show HEAD~2000:environments/prod/kustomization.yaml > environments/prod/kustomization.yaml
echo "# $1" >> environments/prod/kustomization.yaml
git commit -q -m "by hand $1" environments/prod/kustomization.yaml
git push -q origin HEAD:main
"""


def environment(scratch: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLOPS_")}
    return {**kept, "MLOPS_ACTOR": "Bench", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": str(scratch)}


def clone(remote: Path, name: str, env: Mapping[str, str], *, files: bool = False) -> Path:
    """A clone beside the remote; without `files` nothing is checked out."""
    where = remote.parent / name
    checkout = [] if files else ["--no-checkout"]
    subprocess.run(["git", "clone", "-q", *checkout, remote, where], check=True, env=env)
    for key, value in (("user.name", "Bench"), ("user.email", "bench@example.com")):
        subprocess.run(["git", "config", key, value], cwd=where, check=True, env=env)
    return where


def tagged(where: Path, tags: int, models: int, env: Mapping[str, str]) -> Path:
    """A repository with so many annotated tags: half of them versions, half of them assigned."""
    subprocess.run(["git", "init", "-q", "-b", "main", where], check=True, env=env)
    script = []
    for number in range(tags // 2):
        model, version = f"model-{number % models:03d}", number // models + 1
        who = f"A <a@b> {START + number * STEP} +0000"
        script.append(f"commit refs/heads/main\ncommitter {who}\ndata 1\nx\n")
        script.append(f"M 100644 inline f\ndata {len(str(number))}\n{number}\n\n")
        script += [
            f"tag {model}{name}{version}\nfrom refs/heads/main\ntagger {who}\ndata 1\nx\n"
            for name in ("@v0.0.", "#prod#")
        ]
    feed = "".join(script).encode()
    subprocess.run(["git", "fast-import", "--quiet"], cwd=where, input=feed, check=True, env=env)
    return where


def asked() -> dict[str, list[str]]:
    """What is typed, in the large repository; all without a fetch, as git log does none."""
    middle = datetime.fromtimestamp(START + STEP * LARGE.commits // 2, UTC)
    when = f"{middle:%Y-%m-%dT%H:%M:%SZ}"
    typed = [
        "history prod",
        f"history prod {MODEL}",
        f"history prod --at {when}",
        f"show {MODEL}@prod@{{{when}}}",
        f"show {MODEL}@prod~1",
        "status",
    ]
    return {f"mlops {words}": [*MLOPS, *words.split(), "--no-fetch"] for words in typed}


def looking_back(large: Path, small: Path, tags: Path, rounds: int, env: Mapping[str, str]) -> None:
    typed = asked()
    commands = {ALONE: ["git", "log", "--", "environments/prod"]}
    for name, argv in typed.items():
        commands |= {f"{name}, first": forgetful(argv), name: argv}
    times = in_turn(commands, rounds, env, large)
    gto = seconds([*GTO, "show", "--repo", str(tags)], env, large)
    alone = statistics.median(times[ALONE])
    rows = [(f"`{ALONE}`", f"{alone:.2f}", "1.00", "", "", f"{alone / gto:.2f}", "", "")]
    for name, argv in typed.items():
        cells = [f"`{name}`"]
        for each in (f"{name}, first", name):
            cells.append(f"{statistics.median(times[each]):.2f}")
            cells.append(f"{median_ratio(times[each], times[ALONE]):.2f}")
        cells.append(f"{statistics.median(times[f'{name}, first']) / gto:.2f}")
        cells += [f"{peak(argv, where, env):.0f}" for where in (small, large)]
        rows.append(tuple(cells))
    rows.append((f"`gto show`, {LARGE.releases:,} tags", f"{gto:.2f}", *[""] * 3, "1.00", "", ""))
    headings = (
        "what",
        "first time, s",
        "to git log",
        "again, s",
        "to git log",
        "first time, to gto show",
        f"peak, MiB, {SMALL.commits:,} commits",
        f"peak, MiB, {LARGE.commits:,} commits",
    )
    remark = (
        f"{LARGE.commits:,} commits, {LARGE.pins:,} of them pins, {LARGE.models} models, 5 environments, "
        f"{LARGE.releases:,} records; no commit graph; whole processes with --no-fetch, median of {rounds} "
        "rounds in turn. First time: in a clone that has kept no walk; a history that was read to its end is "
        "walked from there on. The peak is that of our process alone, the first time."
    )
    write("history", "Looking back in a long history", headings, rows, remark)


def forgetful(argv: list[str]) -> list[str]:
    """The command in a clone that kept nothing of an earlier walk."""
    return ["sh", "-c", 'rm -f .git/mlops/line-*; exec "$@"', "sh", *argv]


def peak(argv: list[str], where: Path, env: Mapping[str, str]) -> float:
    """The most memory that the command's own process held, in MiB."""
    words = argv[len(MLOPS) :]
    command = forgetful([sys.executable, "-c", PEAK, *words])
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, check=False)
    found = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{words} exited {done.returncode}\n{done.stderr}")
    return int(found[1]) / 1024


def rolling_back(mine: Path, theirs: Path, rounds: int, env: Mapping[str, str]) -> None:
    by_hand, first, again, whole = "git alone", "first", "again", "with preflight"
    times: dict[str, list[float]] = {name: [] for name in (by_hand, first, again, whole)}
    models = iter(LARGE.names)
    for turn in range(rounds + 1):
        quick = [_rollback(next(models), "--skip-preflight") for _ in range(2)]
        took = {
            by_hand: seconds(["sh", "-c", BY_HAND, "sh", str(turn)], env, theirs),
            first: seconds(forgetful(quick[0]), env, mine),
            again: seconds(quick[1], env, mine),
            whole: seconds(_rollback(next(models)), env, mine),
        }
        for name, spent in took.items() if turn else ():
            times[name].append(spent)
    median = {name: statistics.median(found) for name, found in times.items()}
    told = {
        by_hand: "fetch, commit and push by git alone",
        first: "`mlops rollback prod MODEL --skip-preflight`, first time",
        again: "the same, again",
        whole: "`mlops rollback prod MODEL`, again",
    }
    rows = [
        (
            text,
            f"{median[name]:.2f}",
            f"{median_ratio(times[name], times[by_hand]):.2f}",
            f"{max(0.0, median[name] - median[by_hand]):.2f}",
        )
        for name, text in told.items()
    ]
    rows.append(("of that, preflight", f"{max(0.0, median[whole] - median[again]):.2f}", "", ""))
    remark = (
        f"In the repository of {LARGE.commits:,} commits, pushed to a bare remote on the same disk; each "
        f"rollback is another model's. Whole processes, median of {rounds} rounds in turn; first time as above. "
        "The images are in no registry, which preflight says, and --yes goes on."
    )
    headings = ("what", "s", "ratio", "beyond git alone, s")
    write("rollback", "A rollback in a long history", headings, rows, remark)


def _rollback(model: str, *more: str) -> list[str]:
    return [*MLOPS, "rollback", "prod", model, "--reason", "measured", "--yes", *more]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        env = environment(scratch)
        for name in ("large", "small"):
            (scratch / name).mkdir()
        remote = build(scratch / "large" / "remote.git", LARGE)
        large = clone(remote, "clone", env)
        small = clone(build(scratch / "small" / "remote.git", SMALL), "clone", env)
        tags = tagged(scratch / "tags", LARGE.releases, LARGE.models, env)
        looking_back(large, small, tags, rounds, env)
        rolling_back(large, clone(remote, "theirs", env, files=True), rounds, env)


if __name__ == "__main__":
    main()
