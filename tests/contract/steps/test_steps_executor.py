"""The whole generated document, carried out by the local executor in each of its runtimes."""

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


@pytest.mark.parametrize("runtime", ["process", "sandbox"])
def test_from_commit_to_pin(play, cache, runtime):
    heard = Listener()
    planned = play.run()
    result = carry_out(play, planned, runtime, cache, heard)
    story = "\n".join(heard.lines)
    assert result.phase is Phase.SUCCEEDED, story
    record = play.record(result.results["release"])
    assert result.results["pinned"] == "true"
    assert str(record.release.digest) in play.tip("environments/dev/kustomization.yaml")
    assert "train: trained" in story
    run = record.document["run"]
    assert run["executor"] == "local"
    assert run["runtime"] == runtime
    assert run["network"] == ("none" if runtime == "sandbox" else "unenforced")
    assert play.git("status", "--porcelain") == ""


def test_a_failing_gate_fails_the_task_and_pins_nothing(play, cache):
    text = (play.work / "mlops.yaml").read_text().replace("min: 0.5", "min: 0.9")
    heard = Listener()
    planned = play.run(source=play.commit({"mlops.yaml": text}))
    result = carry_out(play, planned, "process", cache, heard)
    assert result.phase is Phase.FAILED
    states = {task.name: task for task in result.tasks}
    assert states["validate"].steps[0].exit_code == 1
    assert "validate: error: gate accuracy ≥ 0.9: 0.75" in heard.lines
    assert "propose" not in states or states["propose"].phase is not Phase.SUCCEEDED
    assert "spam" not in play.tip("environments/dev/kustomization.yaml")


def test_training_cannot_see_the_state_nor_the_network(play, cache):
    script = (
        "import json, os, pathlib, socket\n"
        "seen = [d for d, _, _ in os.walk('/') if d.endswith(('/dvc-cache', '/state'))]\n"
        "sock = socket.socket()\n"
        "try:\n    sock.connect(('127.0.0.1', %d)); net = True\n"
        "except OSError:\n    net = False\n"
        "pathlib.Path('models').mkdir(exist_ok=True)\n"
        "pathlib.Path('models/spam.txt').write_text(json.dumps([seen, net]))\n"
        "pathlib.Path('metrics.json').write_text('{\"accuracy\": 0.8}')\n"
    )
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as server:
        files = {"src/train.py": script % server.getsockname()[1]}
        heard = Listener()
        planned = play.run(source=play.commit(files))
        result = carry_out(play, planned, "sandbox", cache, heard)
    assert result.phase is Phase.SUCCEEDED, heard.lines
    (found,) = Path(play.root / "executed").rglob("taken/models/spam.txt")
    assert found.read_text() == "[[], false]"
