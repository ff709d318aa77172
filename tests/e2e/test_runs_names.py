"""Two submits of one name at once, and outputs that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RUN = """\
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: fixed}
spec: {status: TaskRunPending, taskSpec: {steps: [{image: busybox, script: "true"}]}}
"""


def command(home, *words, **more):
    env = {**os.environ, "XDG_STATE_HOME": str(home / "state"), "MLOPS_CACHE": str(home / "cache")}
    argv = [sys.executable, "-m", "mlops", "runs", *words]
    return subprocess.Popen(argv, cwd=home, env={**env, **more.pop("env", {})}, text=True, **more)


def test_of_two_submits_of_one_name_one_is_refused(tmp_path):
    (tmp_path / "run.yaml").write_text(RUN)
    both = [
        command(
            tmp_path, "submit", "-f", "run.yaml", stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [each.communicate(timeout=60)[1] for each in both]
    assert sorted(each.returncode for each in both) == [0, 2]
    assert sum("there is a run fixed already" in each for each in said) == 1


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [("> /dev/full", 3, "No space left"), (">&-", 0, "")],
)
def test_an_output_that_cannot_be_written_is_no_bug(tmp_path, redirection, code, said):
    (tmp_path / "run.yaml").write_text(RUN)
    assert command(tmp_path, "submit", "-f", "run.yaml", stdout=subprocess.DEVNULL).wait(60) == 0
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    line = f"{sys.executable} -m mlops runs show fixed {redirection}"
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert said in done.stderr
    assert "bug" not in done.stderr


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "run.yaml").write_text(RUN)
    (tmp_path / "file").write_text("in the way")
    env = {"XDG_STATE_HOME": str(tmp_path / "file")}
    done = command(tmp_path, "submit", "-f", "run.yaml", stderr=subprocess.PIPE, env=env)
    error = done.communicate(timeout=60)[1]
    assert done.returncode == 3
    assert str(tmp_path / "file") in error
    assert "bug" not in error
