"""`python -m tests.cluster up|down|status`: one node with Tekton on this machine, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster import (
    building,
    certificates,
    kubectl,
    kubernetes,
    network,
    processes,
    registry,
    storage,
    tekton,
)
from tests.cluster.layout import HERE, KUBECONFIG, NODE_NAME, RUN, MissingError

_PROGRAMS = (
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
)


def up() -> None:
    """Start the cluster, or what of it does not run; a second time it is there at once."""
    began = time.monotonic()
    _check()
    programs = building.binaries()
    RUN.mkdir(parents=True, exist_ok=True)
    network.up()
    certificates.make()
    registry.up()
    registry.images(programs)
    kubernetes.control_plane(programs)
    kubernetes.node(programs)
    mark = RUN / "tekton-installed"
    if not mark.exists():
        kubectl.apply(storage.classes())
        tekton.install()
        mark.touch()
    processes.start(
        "storage",
        [sys.executable, "-m", "tests.cluster.storage"],
        {"PYTHONPATH": str(HERE.parents[1])},
    )
    tekton.start(programs)
    kubectl.run("wait", "--for=condition=Ready", "--timeout=90s", f"node/{NODE_NAME}")
    print(
        f"the cluster is up after {time.monotonic() - began:.0f} s: export KUBECONFIG={KUBECONFIG}"
    )


def down() -> None:
    """Stop everything, and remove what it left, but for the programs."""
    for name in ("kubelet", *reversed(processes.names())):
        if name == "containerd":
            _end_containers()
        processes.stop(name)
    _unmount(RUN)
    network.down()
    _forget_cgroups()
    shutil.rmtree(RUN, ignore_errors=True)
    if RUN.exists():
        shutil.rmtree(RUN)


def status() -> int:
    """Say which processes run; 1 where one does not."""
    there = processes.names()
    for name in there:
        print(f"{name:24} {processes.running(name) or 'gone'}")
    if not there:
        print("the cluster is down: make cluster-up")
    return 0 if there and all(map(processes.running, there)) else 1


def _check() -> None:
    if os.geteuid() != 0:
        raise MissingError("a node needs root: run this as root")
    for program, package in _PROGRAMS:
        if shutil.which(program) is None:
            raise MissingError(f"{program} is not here: apt-get install {package}")


def _end_containers() -> None:
    """Kill what runs in pods, and the shims that hold it: containerd leaves them behind."""
    for comm in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = comm.read_bytes().split(b"\0")
        except OSError:
            continue
        if argv[0].endswith(b"containerd-shim-runc-v2") and str(RUN).encode() in b" ".join(argv):
            for pid in (*_children(int(comm.parent.name)), int(comm.parent.name)):
                subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [*_children(child), child]
    return found


def _unmount(below: Path) -> None:
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{below}/")), reverse=True):
        subprocess.run(["umount", "-l", point], check=False)


def _forget_cgroups() -> None:
    for top in Path("/sys/fs/cgroup").glob("*/kubepods"):
        for directory in sorted(top.rglob("*"), reverse=True):
            if directory.is_dir():
                directory.rmdir()
        top.rmdir()


def main() -> int:
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if what == "up":
            up()
        elif what == "down":
            down()
        elif what == "status":
            return status()
        else:
            print("usage: python -m tests.cluster up|down|status", file=sys.stderr)
            return 2
    except (MissingError, RuntimeError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
