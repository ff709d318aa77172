"""What a run costs beside the user's own commands, task by task, cold and warm.

Run: python benchmarks/run_overhead.py [RUNS]. The demo's project is trained: first with an empty cache and registry
(cold; uv's own cache is as it is), then with new data each time (warm).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from measure import write

PROJECT = Path(__file__).resolve().parents[1] / "mlops" / "demo" / "project"
MLOPS = [sys.executable, "-m", "mlops"]
DVC = [sys.executable, "-m", "dvc"]


class Project:
    """The demo's project in a directory of its own, with a bare remote and a DVC remote."""

    def __init__(self, base: Path) -> None:
        self.path = base / "work"
        self.env = {
            **os.environ,
            "MLOPS_CACHE": str(base / "cache"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "DVC_NO_ANALYTICS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        shutil.copytree(PROJECT, self.path, ignore=shutil.ignore_patterns("__pycache__"))
        self.do("git", "init", "-q", "--bare", "-b", "main", "../remote.git")
        self.do("git", "init", "-q", "-b", "main")
        self.do("git", "remote", "add", "origin", "../remote.git")
        self.do("git", "config", "user.name", "Bench")
        self.do("git", "config", "user.email", "bench@example.com")
        self.do(*DVC, "init", "-q")
        self.do(*DVC, "remote", "add", "-q", "--default", "store", "../dvc-store")
        self.do(*DVC, "add", "-q", "data/labels.csv")
        self.do(*DVC, "push", "-q")
        self.do(*MLOPS, "init", "--yes")
        self.commit("Begin")
        self.locked = self.timed(*MLOPS, "lock")
        self.commit("Lock")

    def do(self, *argv: str) -> str:
        done = subprocess.run(
            argv, cwd=self.path, env=self.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{argv} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def timed(self, *argv: str) -> float:
        started = time.perf_counter()
        self.do(*argv)
        return time.perf_counter() - started

    def commit(self, message: str) -> None:
        self.do("git", "add", "-A")
        self.do("git", "commit", "-q", "-m", message)
        if self.do("git", "ls-remote", "origin", "main"):
            self.do("git", "pull", "-q", "--rebase", "origin", "main")
        self.do("git", "push", "-q", "-u", "origin", "main")

    def run(self) -> dict[str, float]:
        """Seconds by task, of the whole command, and of the user's own commands."""
        whole = self.timed(*MLOPS, "run", "--quiet")
        name = json.loads(self.do(*MLOPS, "runs", "--output", "json"))[0]["name"]
        shown = json.loads(self.do(*MLOPS, "runs", "show", name, "--output", "json"))[0]
        times = {task["name"]: _took(task) for task in shown["tasks"]}
        logs = self.do(*MLOPS, "runs", "logs", name)
        told = next(line for line in logs.splitlines() if "commands took" in line)
        times["user"] = sum(float(text) for text in re.findall(r" (\d+\.\d+) s", told))
        times["whole"] = whole
        return times

    def more_data(self, number: int) -> None:
        rows = (self.path / "more-labels.csv").read_text().splitlines(keepends=True)
        with (self.path / "data/labels.csv").open("a") as out:
            out.writelines(rows[number * 5 : number * 5 + 5])
        self.do(*MLOPS, "data", "add", "data/labels.csv")
        self.do(*MLOPS, "data", "push")
        self.commit(f"Label more, {number}")


def _took(task: dict[str, str]) -> float:
    if not task["started"] or not task["finished"]:
        return 0.0
    started, finished = (datetime.fromisoformat(task[key]) for key in ("started", "finished"))
    return (finished - started).total_seconds()


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as scratch:
        project = Project(Path(scratch) / "p")
        cold = project.run()
        warm = []
        for number in range(runs):
            project.more_data(number)
            warm.append(project.run())
    names = [name for name in cold if name not in ("user", "whole")]
    rows = [(name, f"{cold[name]:.2f}", f"{_median(warm, name):.2f}") for name in names]
    rows.append(("whole command", f"{cold['whole']:.2f}", f"{_median(warm, 'whole'):.2f}"))
    rows.append(("the user's commands", f"{cold['user']:.2f}", f"{_median(warm, 'user'):.2f}"))
    overhead = [times["whole"] - times["user"] for times in warm]
    rows.append(
        (
            "**overhead**",
            f"{cold['whole'] - cold['user']:.2f}",
            f"{statistics.median(overhead):.2f}",
        )
    )
    ratio = statistics.median(times["whole"] / times["user"] for times in warm)
    rows.append(("whole / user's commands", f"{cold['whole'] / cold['user']:.2f}", f"{ratio:.2f}"))
    remark = (
        f"The demo's project; cold is the first run after `mlops lock` ({project.locked:.1f} s) with nothing "
        f"unpacked and no environment built; warm is the median of {runs} runs with new data. "
        "data and build run at once."
    )
    write("run_overhead", "A run beside its training", ("task", "cold, s", "warm, s"), rows, remark)


def _median(times: list[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in times)


if __name__ == "__main__":
    main()
