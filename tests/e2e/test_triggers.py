"""Triggers as a person has them: real git, real runs; the clock alone is put, where the trigger is first seen."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlops.cli import opening, wiring_triggers
from tests.e2e.test_watch import claims

SEEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def timed(live, monkeypatch):
    """The released project with a trigger for every Monday, seen by a watcher long ago."""
    text = (live.path / "mlops.yaml").read_text()
    live.write(
        "mlops.yaml", text.replace("artifact:", 'triggers: [{cron: "0 3 * * 1"}]\n    artifact:')
    )
    live.commit("Train every Monday")
    live.mlops("watch", "--once")
    for key, value in live.env.items():
        monkeypatch.setenv(key, value)
    live.git("push", "-q", "origin", "--delete", *marks(live))
    opened = replace(opening.open_project(live.path), now=lambda: SEEN)
    assert wiring_triggers.look(opened, ["main"]) == ()
    return live


def marks(project) -> list[str]:
    listed = project.git("ls-remote", "origin", "refs/mlops/runs/trigger.*")
    return [line.split("\t")[1] for line in listed.splitlines()]


def runs(project) -> list[str]:
    return sorted(run for run in claims(project) if not run.startswith("trigger."))


def test_a_moment_trains_the_same_commit_anew_and_once(timed):
    before = runs(timed)
    (standing,) = json.loads(timed.mlops("triggers", "-o", "json").stdout)
    assert (standing["state"], standing["trigger"]) == ("due", "cron 0 3 * * 1")

    done = timed.mlops("watch", "--once", "-o", "json")
    (run,) = set(runs(timed)) - set(before)
    claim = claims(timed)[run]
    assert (claim["outcome"], claim["why"]) == ("succeeded", claim["trigger"])
    assert claim["trigger"].startswith("cron 0 3 * * 1: due 20")
    assert f"{run} begins" in done.stderr
    (answer,) = [each for each in json.loads(done.stdout) if each["run"] == run]
    assert answer["release"]
    assert "src/train.py" in timed.mlops("runs", "logs", run, "--task", "train").stdout

    timed.mlops("watch", "--once")
    assert set(runs(timed)) == {*before, run}
    (standing,) = json.loads(timed.mlops("triggers", "-o", "json").stdout)
    assert (standing["state"], standing["run"]) == ("waiting", run)


def test_two_watchers_make_one_run(timed):
    before = runs(timed)
    argv = [sys.executable, "-m", "mlops", "watch", "--once"]
    both = [
        subprocess.Popen(argv, cwd=timed.path, env=timed.env, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=280)[1] for process in both]
    timed.mlops("watch", "--once")
    (run,) = set(runs(timed)) - set(before)
    assert claims(timed)[run]["outcome"] == "succeeded", told


def test_a_broken_trigger_holds_nothing_else(timed):
    (mark,) = marks(timed)
    blob = timed.git("hash-object", "-w", "mlops.yaml")
    timed.git("push", "-q", "--force", "origin", f"{blob}:{mark}")
    timed.write("src/train.py", (timed.path / "src/train.py").read_text() + "\n# again\n")
    source = timed.commit("Change the training")
    done = timed.mlops("watch", "--once", code=1)
    assert f"{mark} holds no claim" in done.stderr
    assert claims_of(timed, source)["outcome"] == "succeeded"


def claims_of(project, source: str) -> dict:
    text = project.git("ls-remote", "origin", f"refs/mlops/runs/spam-{source[:12]}-1")
    project.git("fetch", "-q", "origin", f"refs/mlops/runs/spam-{source[:12]}-1")
    return json.loads(project.git("cat-file", "blob", text.split()[0]))
