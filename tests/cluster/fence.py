"""What a node sees of the machine, made from inside of its own namespaces: nothing here outlives them.

The network has loopback and one bridge and no way out. Where a program would write outside of the cluster's
directory or turn a setting of the whole kernel, it finds something of the node's own instead.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster import addresses
from tests.cluster.layout import Layout
from tests.cluster.requirements import program

# What kubelet wants of the kernel and would set. It reads these, is content, and the machine stays as it is.
KERNEL = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def run(*command: str | Path) -> None:
    """Run a program to its end. Raises CalledProcessError."""
    subprocess.run([str(part) for part in command], check=True)


def ip(*words: str) -> None:
    run(program("ip") or "ip", *words)


def network() -> None:
    """Loopback and a bridge; what is addressed to anywhere else has no route."""
    ip("link", "set", "lo", "up")
    ip("link", "add", addresses.BRIDGE, "type", "bridge")
    ip("address", "add", f"{addresses.HOST}/16", "dev", addresses.BRIDGE)
    ip("link", "set", addresses.BRIDGE, "up")
    # kube-proxy rewrites these addresses, but only of packets that have a route at all
    ip("route", "add", addresses.SERVICES, "dev", addresses.BRIDGE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():  # else a pod does not reach a Service whose pod is its neighbour
        bridged.write_text("1")


def mounts(layout: Layout) -> None:
    """Hide what the programs write outside of the cluster's directory."""
    mount = program("mount") or "mount"
    run(mount, "--make-rshared", "/")
    for place in ("/run", "/var/log"):
        run(mount, "-t", "tmpfs", "-o", "mode=755", "cluster", place)
    # kubelet's sockets for devices and what CNI plugins note have fixed places below it
    upper, work = layout.data / "var-lib", layout.data / "var-lib-work"
    upper.mkdir(parents=True)
    work.mkdir()
    options = f"lowerdir=/var/lib,upperdir={upper},workdir={work}"
    run(mount, "-t", "overlay", "-o", options, "cluster", "/var/lib")
    _instead(layout, Path("/etc/resolv.conf"), "nameserver 127.0.0.1\n")
    for name, value in KERNEL.items():
        _instead(layout, Path("/proc/sys") / name, f"{value}\n")


def _instead(layout: Layout, place: Path, content: str) -> None:
    """Let a file of ours be read where `place` is."""
    real = place.resolve()
    if not real.exists():
        return
    ours = layout.configuration / str(place).strip("/").replace("/", "-")
    ours.write_text(content)
    run(program("mount") or "mount", "--bind", ours, real)


def cgroups(name: str) -> None:
    """The cgroup that pods are put below: one in each hierarchy, or the one of version 2."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty in a new one
            if (group / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())


def hierarchies() -> list[Path]:
    """Every mounted hierarchy of cgroups."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [Path(line.split()[1]) for line in lines if line.split()[2] in {"cgroup", "cgroup2"}]
