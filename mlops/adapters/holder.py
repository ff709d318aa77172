"""Who holds a lock or a claim, and whether they still live: process, start time, boot and host.

A process id alone is no name: ids are used again. The start time (in clock ticks since boot, from
`/proc/<pid>/stat`, see proc(5)) and the boot id make it one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """The start time of a live process; empty where there is none, or where /proc is missing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _pids() -> str:
    """The process id namespace: containers of one name on one machine may each have their own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def me() -> dict[str, Any]:
    """This process, as a JSON value to leave in a lock or claim."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pids": _pids(),
        "pid": pid,
        "started": _started(pid),
    }


def dead(holder: Mapping[str, Any]) -> bool:
    """Whether the holder is known to be gone; False where it lives, or is on another machine or in
    another container, of which nothing is known."""
    if holder.get("host") != socket.gethostname():
        return False
    if holder.get("boot") != _boot():
        return True
    if holder.get("pids", _pids()) != _pids():
        return False
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return True
    if not Path("/proc").is_dir():
        return not _signalable(pid)
    return _started(pid) != str(holder.get("started"))


def _signalable(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
