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
from collections.abc import Iterator, Mapping
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
    commands = {ALONE: ["git", "log", "--", "environments/prod"], **asked()}
    times = in_turn(commands, rounds, env, large)
    gto = seconds([*GTO, "show", "--repo", str(tags)], env, large)
    rows = []
    for name, argv in commands.items():
        took = statistics.median(times[name])
        ratio = median_ratio(times[name], times[ALONE])
        peaks = (
            ("", "")
            if name == ALONE
            else tuple(f"{peak(argv, where, env):.0f}" for where in (small, large))
        )
        rows.append((f"`{name}`", f"{took:.2f}", f"{ratio:.2f}", f"{took / gto:.2f}", *peaks))
    rows.append((f"`gto show`, {LARGE.releases:,} tags", f"{gto:.2f}", "", "1.00", "", ""))
    headings = (
        "what",
        "s",
        "to git log",
        "to gto show",
        f"peak, MiB, {SMALL.commits:,} commits",
        f"peak, MiB, {LARGE.commits:,} commits",
    )
    remark = (
        f"{LARGE.commits:,} commits, {LARGE.pins:,} of them pins, {LARGE.models} models, 5 environments, "
        f"{LARGE.releases:,} records; no commit graph; whole processes with --no-fetch, median of {rounds} "
        "rounds in turn. The peak is that of our process alone."
    )
    write("history", "Looking back in a long history", headings, rows, remark)


def peak(argv: list[str], where: Path, env: Mapping[str, str]) -> float:
    """The most memory that the command's own process held, in MiB."""
    words = argv[len(MLOPS) :]
    command = [sys.executable, "-c", PEAK, *words]
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, check=False)
    found = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{words} exited {done.returncode}\n{done.stderr}")
    return int(found[1]) / 1024


def rolling_back(mine: Path, theirs: Path, rounds: int, env: Mapping[str, str]) -> None:
    by_hand, quick, whole = "git alone", "without preflight", "with preflight"
    times: dict[str, list[float]] = {by_hand: [], quick: [], whole: []}
    models = _models()
    for turn in range(rounds + 1):
        took = {
            by_hand: seconds(["sh", "-c", BY_HAND, "sh", str(turn)], env, theirs),
            quick: seconds([*_rollback(next(models)), "--skip-preflight"], env, mine),
            whole: seconds(_rollback(next(models)), env, mine),
        }
        for name, spent in took.items() if turn else ():
            times[name].append(spent)
    median = {name: statistics.median(found) for name, found in times.items()}
    rows = [
        ("fetch, commit and push by git alone", f"{median[by_hand]:.2f}", "1.00"),
        ("`mlops rollback prod MODEL --skip-preflight`", f"{median[quick]:.2f}", ""),
        ("`mlops rollback prod MODEL`", f"{median[whole]:.2f}", ""),
        ("of that, preflight", f"{median[whole] - median[quick]:.2f}", ""),
        ("our own, beyond git alone", f"{median[whole] - median[by_hand]:.2f}", ""),
    ]
    for at, name in ((1, quick), (2, whole)):
        rows[at] = (*rows[at][:2], f"{median_ratio(times[name], times[by_hand]):.2f}")
    remark = (
        f"In the repository of {LARGE.commits:,} commits, pushed to a bare remote on the same disk; each "
        f"rollback is another model's. Whole processes, median of {rounds} rounds in turn; the images are in no "
        "registry, which preflight says, and --yes goes on."
    )
    write("rollback", "A rollback in a long history", ("what", "s", "ratio"), rows, remark)


def _models() -> Iterator[str]:
    return iter(LARGE.names)


def _rollback(model: str) -> list[str]:
    return [*MLOPS, "rollback", "prod", model, "--reason", "measured", "--yes"]


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
