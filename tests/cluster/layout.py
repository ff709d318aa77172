"""Where a cluster keeps what it needs and writes while it runs, and how to tell whether it does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import pins

DEFAULT = pins.CACHE / "run"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one cluster, below one directory."""

    root: Path

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def configuration(self) -> Path:
        return self.root / "etc"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def pids(self) -> Path:
        """A file for each program, with its number inside the node."""
        return self.root / "pids"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def images(self) -> Path:
        """JSON: the name of an image → its reference by digest."""
        return self.root / "images.json"

    @property
    def ready(self) -> Path:
        return self.root / "ready"

    @property
    def mark(self) -> Path:
        """Says that the directory is a cluster's, and may be removed."""
        return self.root / "mlops-cluster"

    @property
    def alive(self) -> Path:
        """Two numbers: the first process of the node, and when that began."""
        return self.root / "pid"

    @property
    def cgroup(self) -> str:
        """The name of the cgroup of the pods: this cluster's alone."""
        named = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:8]
        return f"mlops-cluster-{named}"


def began(pid: int) -> str | None:
    """When a process began, in ticks since the machine did; None where there is none.

    proc(5): field 22 of stat. With it, a number that another process has now is told apart.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def remember(layout: Layout, pid: int) -> None:
    """Write down which process the node is."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    made = layout.root / ".pid"
    made.write_text(f"{pid} {began(pid)} {boot}\n")
    made.replace(layout.alive)


def running(layout: Layout) -> int | None:
    """The process of the node, where it runs; None after its end or the machine's."""
    try:
        number, start, boot = layout.alive.read_text().split()
        pid = int(number)
    except (OSError, ValueError):
        return None
    if boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip():
        return None
    return pid if began(pid) == start else None
