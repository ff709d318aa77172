"""Starting and stopping a cluster from outside, and running commands in its network."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import fence, pins, requirements
from tests.cluster.build import build, say
from tests.cluster.layout import Layout, remember, running
from tests.cluster.processes import StartError
from tests.cluster.requirements import MissingError

REPOSITORY = Path(__file__).parents[2]
# who starts a node does not wait for it; but one that is forgotten while it runs is warned of
_STARTED: dict[Path, subprocess.Popen[bytes]] = {}


def up(layout: Layout) -> int:
    """Bring the cluster up where it is not; gives the node's process.

    Raises MissingError, StartError, and CalledProcessError where something does not compile.
    """
    if not layout.mark.exists() and layout.root.is_dir() and any(layout.root.iterdir()):
        raise MissingError(f"{layout.root} holds something else: name another directory with --dir")
    requirements.check()
    requirements.fits(layout.root)
    build()
    if (pid := running(layout)) is not None and layout.ready.exists():
        return pid
    down(layout)  # half a start, or what a machine that was restarted left
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.mark.write_text("python -m tests.cluster down removes this directory\n")
    for place in (layout.log, layout.configuration, layout.data, layout.pids):
        place.mkdir(parents=True)
    return _start(layout)


def _start(layout: Layout) -> int:
    output = layout.log / "node"
    with output.open("wb") as log:
        outer = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child"),
                *("--mount-proc", "--propagation", "private"),
                *(sys.executable, "-m", "tests.cluster.node", str(layout.root)),
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            start_new_session=True,
        )
    _STARTED[layout.root] = outer
    pid = _first(outer)
    remember(layout, pid)
    if outer.stdin is not None:  # before this it would end with us
        outer.stdin.write(b"go\n")
        outer.stdin.close()
    with output.open() as text:
        while True:
            ended = outer.poll() is not None
            for line in text:
                say(line.rstrip())
            if ended:
                down(layout, keep=True)
                raise StartError(f"the node ended with {outer.returncode}: see {layout.log}")
            if layout.ready.exists():
                return pid
            time.sleep(0.1)


def _first(outer: subprocess.Popen[bytes]) -> int:
    """The child of unshare: the first process of the node."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while outer.poll() is None:
        if numbers := children.read_text().split():
            return int(numbers[0])
        time.sleep(0.01)
    raise StartError(f"unshare ended with {outer.returncode}")


def down(layout: Layout, *, keep: bool = False) -> None:
    """Stop the cluster where it runs, and remove what it leaves; with `keep`, its logs stay.

    Raises StartError where the node does not end.
    """
    pid = running(layout)
    if pid is not None:
        _end(pid)
    if (outer := _STARTED.pop(layout.root, None)) is not None:
        outer.wait(timeout=30)
    _remove_cgroups(layout.cgroup)
    if not layout.mark.exists():
        return
    if not keep:
        shutil.rmtree(layout.root, ignore_errors=True)
    else:
        layout.alive.unlink(missing_ok=True)
        shutil.rmtree(layout.data, ignore_errors=True)


def _end(pid: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 30)):
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], seconds)[0]:
                return
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
    raise StartError(f"the node's process {pid} does not end")


def _remove_cgroups(name: str) -> None:
    end = time.monotonic() + 20
    for hierarchy in fence.hierarchies():
        top = hierarchy / name
        while top.exists():
            # the kernel takes a moment to let go of what has ended
            for directory, _, _ in os.walk(top, topdown=False):
                try:
                    Path(directory).rmdir()
                except OSError:
                    if time.monotonic() > end:
                        raise StartError(f"{directory} is still in use") from None
            time.sleep(0.02)


def inside(layout: Layout, command: Sequence[str]) -> int:
    """Run a command in the network of the cluster, with its kubeconfig; gives its exit code.

    Raises StartError where no cluster runs.
    """
    pid = running(layout)
    if pid is None or not layout.ready.exists():
        raise StartError("no cluster runs: make cluster-up")
    build()  # a pin may have moved since it started
    environment = {
        **os.environ,
        "KUBECONFIG": str(layout.kubeconfig),
        "MLOPS_TEST_CLUSTER": str(layout.root),
        "PATH": f"{pins.built().path}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["nsenter", "--target", str(pid), "--net", *command], env=environment, check=False
    )
    return done.returncode


def kill(layout: Layout, name: str) -> None:
    """kill -9 for a program of the node, which starts it again. Raises StartError where it is not there."""
    if (node := os.environ.get("MLOPS_TEST_KIND")) is not None:
        subprocess.run(["docker", "exec", node, "pkill", "-9", "-x", name[:15]], check=True)
        return
    pid = running(layout)
    if pid is None:
        raise StartError("no cluster runs")
    number = (layout.pids / name).read_text().strip()
    subprocess.run(
        ["nsenter", "--target", str(pid), "--pid", "--mount", "kill", "-9", number], check=True
    )
