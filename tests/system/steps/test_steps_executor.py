"""The whole generated document, carried out by the local executor in each of its runtimes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlops.adapters.executors.local import HostTool, LocalExecutor
from mlops.adapters.layout import OciLayout
from mlops.domain.run import Phase


class Listener:
    """Hears a run."""

    def __init__(self):
        self.lines = []

    def task(self, state):
        pass

    def log(self, task, step, line):
        self.lines.append(f"{task}: {line}")


@pytest.fixture
def cache(tmp_path_factory):
    """Unpacked layers are shared, as on a real machine."""
    return tmp_path_factory.getbasetemp() / "machine-cache"


def carry_out(play, spec, runtime, cache, listener):
    tool = HostTool(spec.spec.tool, (sys.executable, "-m", "mlops"), {})
    executor = LocalExecutor(
        play.root / "executed", OciLayout(play.registry), runtime=runtime, cache=cache, tool=tool
    )
    return executor.run(spec.document, listener)


NOSY = """\
import json, os, pathlib, socket
seen = [d for d, _, _ in os.walk("/") if d.endswith(("/dvc-cache", "/state"))]
sock = socket.socket()
try:
    sock.connect(("127.0.0.1", PORT))
    net = True
except OSError:
    net = False
pathlib.Path("models").mkdir(exist_ok=True)
pathlib.Path("models/spam.txt").write_text(json.dumps([seen, net]))
pathlib.Path("metrics.json").write_text(json.dumps({"accuracy": 0.8}))
print("trained")
"""


@pytest.mark.parametrize("runtime", ["process", "sandbox"])
def test_from_commit_to_pin(play, cache, runtime):
    heard = Listener()
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = NOSY.replace("PORT", str(server.getsockname()[1]))
        if runtime == "process":
            script = script.replace('os.walk("/")', "[]")  # the host's: large, and no secret there
        planned = play.run(source=play.commit({"src/train.py": script}))
        result = carry_out(play, planned, runtime, cache, heard)
    story = "\n".join(heard.lines)
    assert result.phase is Phase.SUCCEEDED, story
    assert "train: trained" in story
    assert result.results["pinned"] == "true"
    record = play.record(result.results["release"])
    assert str(record.release.digest) in play.tip("environments/dev/kustomization.yaml")
    run = record.document["run"]
    assert (run["executor"], run["runtime"]) == ("local", runtime)
    assert run["network"] == ("none" if runtime == "sandbox" else "unenforced")
    assert play.git("status", "--porcelain") == ""
    (found,) = Path(play.root / "executed").rglob("taken/models/spam.txt")
    # in the sandbox training reaches neither the state nor the network
    assert json.loads(found.read_text()) == [[], runtime == "process"]


def test_a_run_that_trains_nothing_releases_the_recorded_model(run, cache):
    run.step("propose")
    before = run.play.record(run.results["package"]["release"])
    source = run.play.commit({"src/more.py": "print('served')\n"})
    again = run.play.run(
        source=source, train=False, baseline=str(before.release.digest), since=str(before.source)
    )
    heard = Listener()
    result = carry_out(run.play, again, "process", cache, heard)
    assert result.phase is Phase.SUCCEEDED, heard.lines
    states = {task.name: task.phase for task in result.tasks}
    assert states["train"] is Phase.SKIPPED
    record = run.play.record(result.results["release"])
    assert record.artifact == before.artifact
    assert record.release != before.release
    assert result.results["pinned"] == "true"


def test_a_step_that_fails_prints_one_line_and_exits_1(run):
    text = (run.play.work / "mlops.yaml").read_text().replace("min: 0.5", "min: 0.9")
    failing = run.again(source=run.play.commit({"mlops.yaml": text}))
    step = failing.tasks["validate"]["taskSpec"]["steps"][0]
    done = subprocess.run(
        [sys.executable, "-m", *step["command"]],
        env={**os.environ, **failing.environment("validate")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "error: gate accuracy ≥ 0.9: 0.75\n"
    assert "accuracy falls by 0.2 at most: 0.75" in done.stdout
