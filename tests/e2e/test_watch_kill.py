"""`mlops watch` where processes are killed, and where newer commits end older runs: real git, real runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

TRAIN = "src/train.py"
WAIT = 240.0  # seconds until a test gives up


def change(project, seconds: float) -> str:
    """Push a commit whose training takes so long; its run's name."""
    old = project.path / TRAIN
    lines = [line for line in old.read_text().splitlines() if "time.sleep" not in line]
    lines.append(f"import time; time.sleep({seconds})")
    project.write(TRAIN, "\n".join(lines) + "\n")
    return f"spam-{project.commit(f'Train for {seconds} s')[:12]}-1"


def claims(project) -> dict[str, dict]:
    """Run → the document of its claim, as the remote has it."""
    names = project.run(
        "git", "for-each-ref", "--format=%(refname)", "refs/mlops/runs/", cwd=project.remote
    ).stdout.split()
    return {
        name.rpartition("/")[2]: json.loads(
            project.run("git", "cat-file", "blob", name, cwd=project.remote).stdout
        )
        for name in names
    }


def until(project, run: str, *states: str) -> dict:
    """Wait until a run's claim has one of these states or outcomes."""
    end = time.monotonic() + WAIT
    while True:
        document = claims(project).get(run, {})
        if {document.get("outcome"), document.get("state")} & set(states):
            return document
        assert time.monotonic() < end, f"{run} is {document}"
        time.sleep(0.1)


@contextmanager
def watcher(project):
    log = project.path.parent / "watcher.log"
    with log.open("a") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlops", "watch", "--interval", "1"],
            cwd=project.path,
            env=project.env,
            stderr=err,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(project) -> str:
    return (project.path.parent / "watcher.log").read_text()


def test_a_run_goes_on_where_its_watcher_is_killed_and_is_made_again_where_it_is_killed_too(live):
    run = change(live, 6)
    with watcher(live) as first:
        until(live, run, "submitted")
        first.send_signal(signal.SIGKILL)
        first.wait()
        with watcher(live):
            until(live, run, "succeeded")
    assert said(live).count(f"{run} begins") == 1

    other = change(live, 600)
    with watcher(live) as first:
        pid = until(live, other, "submitted")["holder"]["pid"]
        first.send_signal(signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    third = change(live, 0)
    with watcher(live):
        again = until(live, other, "claimed", "submitted")["holder"]["pid"]
        while again == pid:
            again = until(live, other, "claimed", "submitted")["holder"]["pid"]
        live.mlops("runs", "cancel", other)
        until(live, third, "succeeded")
    mine = {name for name in claims(live) if name.startswith((run[:-2], third[:-2]))}
    assert mine == {run, third}


def test_a_newer_commit_ends_the_run_of_an_older_one_also_of_a_watcher_that_died(live):
    path = live.path / "mlops.yaml"
    path.write_text(path.read_text() + "watch: {concurrency: cancel-superseded}\n")
    older = change(live, 600)
    with watcher(live) as first:
        until(live, older, "submitted")
        first.send_signal(signal.SIGKILL)
        first.wait()
    newer = change(live, 0)
    with watcher(live):
        until(live, newer, "succeeded")
    found = claims(live)[older]
    assert (found["state"], found["outcome"]) == ("outcome", "superseded")
    assert found["reason"] == f"superseded by {newer[len('spam-') :][:7]}"
    assert (
        live.mlops("run", newer.split("-")[1], "--patient").stdout.strip()
        == f"spam@{live.pinned('dev')}"
    )
    assert live.mlops("run", older.split("-")[1], "--patient").stdout.strip() == ""
    assert f"{older[:-1]}2" not in claims(live)
