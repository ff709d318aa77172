"""What this machine must have for a cluster; what is not there is named, all of it in one line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# program → the Debian package that brings it
PROGRAMS = {
    "busybox": "busybox-static",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "runc": "runc",
    "unshare": "util-linux",
}
CNI = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
PLUGINS = ("bridge", "host-local", "loopback", "portmap")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_SOCKET = "data/kubelet/pod-resources/0123456789"  # the longest name of a socket below a cluster's directory
_LONGEST = 107  # bytes: sun_path of unix(7), without its end


class MissingError(Exception):
    """This machine lacks what a cluster needs."""


def check() -> None:
    """Raises MissingError where a node cannot be started here."""
    if not Path("/proc/self/ns/net").exists():
        raise MissingError("a cluster needs Linux")
    if os.geteuid() != 0:
        raise MissingError("a cluster needs root: it makes namespaces, mounts and cgroups")
    absent = sorted({package for name, package in PROGRAMS.items() if not program(name)})
    if cni() is None:
        absent.append("containernetworking-plugins")
    shell = program("busybox")
    if shell is not None and not _static(Path(shell)):  # it stands alone in an image
        absent.append(PROGRAMS["busybox"])
    if absent:
        raise MissingError(f"missing: run apt-get install {' '.join(absent)}")


def fits(root: Path) -> None:
    """Raises MissingError where a cluster's directory is so deep that its sockets can have no name."""
    length = len(os.fsencode(root / _SOCKET)) - _LONGEST
    if length > 0:
        raise MissingError(
            f"a cluster's directory with a shorter path: {root} is {length} bytes too long"
        )


def program(name: str) -> str | None:
    """The absolute path of a program of this machine."""
    return shutil.which(name, path=PATH)


def cni() -> Path | None:
    """Where the plugins that connect a pod to the network lie."""
    return next((d for d in CNI if all((d / name).exists() for name in PLUGINS)), None)


def _static(path: Path) -> bool:
    """Whether an ELF file asks for no loader: PT_INTERP names one, near the beginning."""
    with path.open("rb") as file:
        return b"/ld-" not in file.read(4096)
