"""Runs of `mlops run` seen, ended and gone on with from other terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import jsonschema

from mlops.cli import answers
from tests.e2e.test_answers import closed

TRAIN = "src/train.py"


WAITING = """
import os, time
if not os.path.exists("waited"):
    open("waited", "w").close()
    print("training waits", flush=True)
    time.sleep(1000)
"""


def begun(project):
    """A process that carries a release run out, whose training does not end the first time."""
    source = project.path / TRAIN
    source.write_text(source.read_text() + WAITING)
    project.commit("Change the training")
    process = subprocess.Popen(
        [sys.executable, "-m", "mlops", "run"], cwd=project.path, env=project.env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if "training waits" in line:
            break
    (row,) = [
        row
        for row in json.loads(project.mlops("runs", "-o", "json").stdout)
        if row["phase"] == "Running"
    ]
    return process, row["name"]


def ended(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_a_killed_release_run_is_gone_on_with(live):
    process, name = begun(live)
    tree = live.mlops("runs", "show", name).stdout
    assert "▶ train" in tree
    assert "✓ build" in tree
    os.kill(process.pid, signal.SIGKILL)
    ended(process)
    assert "ExecutorDied" in live.mlops("runs", "show", name).stdout
    for args in (("runs",), ("runs", "show", name)):
        value = json.loads(live.mlops(*args, "-o", "json").stdout)
        assert len(value) == 1
        schema = closed(answers.schema(" ".join(args[:2])))
        jsonschema.Draft202012Validator(schema).validate(value)
    before = live.pinned("dev")
    done = live.mlops("runs", "retry", name)
    assert done.stdout.startswith(f"{name}: ")
    assert "build: " not in done.stderr, "what succeeded is not run again"
    after = live.pinned("dev")
    assert after != before
    assert after in live.mlops("run").stdout, "mlops run knows what came of it"


def test_a_release_run_is_cancelled_from_another_terminal(live):
    process, name = begun(live)
    assert live.mlops("runs", "cancel", name).stdout == f"{name}: Cancelled\n"
    code, out, _ = ended(process)
    assert (code, out) == (130, "")
    assert "! train" in live.mlops("runs", "show", name).stdout
    assert "training waits" in live.mlops("runs", "logs", name, "--task", "train").stdout
