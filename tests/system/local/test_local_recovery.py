"""The executor is killed in the middle: the next run works, and nothing of the old one lives."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.adapters.executors.local.record.journal import Journal
from mlops.adapters.executors.local.runtime import proctree
from mlops.domain.run import Phase

# Carries a document out in a process of its own, told by its stdin.
CARRY = """
import json, sys
from pathlib import Path
from mlops.adapters.executors.local import HostTool, LocalExecutor
from mlops.domain.digest import Digest, ImageRef

class Store:
    location = sys.argv[2]
    def manifest(self, digest): return self.blob_path(digest).read_bytes()
    def blob_path(self, digest): return Path(sys.argv[2], digest.hex)

class Print:
    def task(self, state): print("task", state.name, state.phase, flush=True)
    def log(self, task, step, line): print("log", line, flush=True)

tool = HostTool(ImageRef.parse(sys.argv[5]), ("mlops",), {}) if sys.argv[5] else None
executor = LocalExecutor(Path(sys.argv[1]), Store(), sys.argv[3], Path(sys.argv[4]), tool)
result = executor.run(json.load(sys.stdin), Print())
print("ended", result.phase, flush=True)
"""


@pytest.fixture
def carry(world):
    """Start an executor in another process; the process, told to be killed at the end."""
    started = []

    def start(document, runtime="sandbox", tool=""):
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                CARRY,
                str(world.path / "runs"),
                str(world.store.root),
                runtime,
                str(world.cache),
                tool,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        process.stdin.write(json.dumps(document))
        process.stdin.close()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"it ended without saying {text!r}")


def waiting_task(world, **fields):
    script = (
        "echo here > $(workspaces.w.path)/left; echo up\n"
        "if test -e $(workspaces.w.path)/kept; then exit 0; fi; setsid sleep 1000 & sleep 1000"
    )
    return world.task(
        "a", script, spec={"workspaces": [{"name": "w"}]}, workspaces=[{"name": "w"}], **fields
    )


def with_workspace(doc, task):
    return doc(
        task,
        pipeline={"workspaces": [{"name": "w"}]},
        workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
    )


@pytest.mark.parametrize("runtime", ["sandbox", "host-tool"])
def test_a_killed_executor_leaves_nothing_that_runs(world, doc, carry, runtime):
    tool = str(world.shell) if runtime == "host-tool" else ""
    process = carry(with_workspace(doc, waiting_task(world)), tool=tool)
    wait_for(process, "log up")
    assert world.processes()
    process.kill()
    process.wait()
    assert all(proctree.gone(pid, 20) for pid in world.processes())
    status = world.executor.status("run-1")
    assert (status.phase, status.reason) == (Phase.FAILED, "ExecutorDied")
    assert str(process.pid) in status.message
    assert not world.executor.alive("run-1")


def test_the_next_run_begins_anew(world, doc, carry):
    process = carry(with_workspace(doc, waiting_task(world)))
    wait_for(process, "log up")
    process.kill()
    process.wait()
    left = world.path / "runs/run-1/workspaces/w/left"
    assert left.exists()
    result = world.run(
        with_workspace(
            doc,
            world.task(
                "b",
                "ls -A $(workspaces.w.path)",
                spec={"workspaces": [{"name": "w"}]},
                workspaces=[{"name": "w"}],
            ),
        )
    )
    assert result.phase is Phase.SUCCEEDED
    assert world.observer.said("b") == []
    assert [task.name for task in world.executor.status("run-1").tasks] == ["b"]
    assert not (world.path / "runs/run-1/logs/a").exists()


def test_workspaces_can_be_kept(world, doc, carry):
    process = carry(with_workspace(doc, waiting_task(world)))
    wait_for(process, "log up")
    process.kill()
    process.wait()
    (world.path / "runs/run-1/workspaces/w/kept").touch()
    result = world.executor.retry("run-1", world.observer)
    assert result.phase is Phase.SUCCEEDED


def test_processes_that_outlived_their_executor_are_ended(world, doc):
    """Not one of ours does; should one, the mark in its environment finds it."""
    directory = world.path / "runs/run-1"
    world.run(doc(world.task("a", "true")))
    journal = Journal(directory / "journal")
    journal.begin(replace(world.executor.status("run-1"), phase=Phase.RUNNING, finished=None))
    journal.close()
    orphan = subprocess.Popen(
        ["sleep", "1000"], env={"MLOPS_WARD": f"{world.mark}/a/1/main", "PATH": os.environ["PATH"]}
    )
    other = subprocess.Popen(
        ["sleep", "1000"], env={"MLOPS_WARD": f"{world.mark}0", "PATH": os.environ["PATH"]}
    )
    try:
        assert world.run(doc(world.task("a", "true"))).phase is Phase.SUCCEEDED
        assert orphan.wait(timeout=20) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (orphan, other):
            process.kill()
            process.wait()


def test_ctrl_c_cancels(world, doc, carry):
    process = carry(doc(world.task("a", "echo up; sleep 1000")))
    wait_for(process, "log up")
    process.send_signal(signal.SIGINT)
    wait_for(process, "ended Cancelled")
    assert world.executor.status("run-1").phase is Phase.CANCELLED
    assert world.processes() == []


def test_a_run_elsewhere_is_seen(world, doc, carry):
    process = carry(doc(world.task("a", "echo up; sleep 1000")))
    wait_for(process, "log up")
    assert world.executor.alive("run-1")
    assert world.executor.status("run-1").phase is Phase.RUNNING
    lock = (world.path / "runs/run-1/lock").read_text()
    assert lock.split()[0] == str(process.pid)


def test_half_a_layer_of_a_killed_unpacking_is_removed(world, doc, make_tar):
    image = world.store.image([make_tar({"bin/x": b"content"})])
    executor = world.executor
    layer = executor._runtimes.image(image.digest).layers[0]
    layers = world.path / "own-cache" / "layers"
    half = layers / f".{layer.diff_id.hex[:12]}-half"
    (half / "bin").mkdir(parents=True)
    (half / "bin").chmod(0)
    world.cache = world.path / "own-cache"
    directories = world.executor._runtimes._filesystems.directories(
        executor._runtimes.image(image.digest)
    )
    assert [path.name for path in layers.iterdir() if path.is_dir()] == [layer.diff_id.hex]
    assert (Path(directories[0]) / "bin/x").read_bytes() == b"content"
