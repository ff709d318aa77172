"""Trees of processes, read from /proc: who is below whom, how much memory each holds."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
from pathlib import Path

from mlops.adapters.executors.local.runtime.warden import descendants

__all__ = [
    "MARK",
    "descendants",
    "environment",
    "gone",
    "kill_all",
    "mark_of",
    "marked",
    "memory",
    "name",
    "send",
]

MARK = "MLOPS_WARD"
"""The environment variable by which a run's processes are found after its executor died."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


def name(pid: int) -> str:
    """The program's name, for messages."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def environment(pid: int) -> dict[str, str]:
    """What the process was started with; empty where it is gone."""
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(each).partition("=") for each in content.split(b"\0") if each)
    return {name: value for name, _, value in pairs}


def memory(pid: int, *, exact: bool = False) -> int:
    """Resident bytes; `exact` counts pages that processes share once among them (slower)."""
    try:
        if exact:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError):
        return memory(pid) if exact and Path(f"/proc/{pid}/statm").exists() else 0


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; quiet where it is gone."""
    if pid <= 0:
        raise ValueError("that would signal a group")
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def mark_of(path: Path) -> str:
    """What marks the processes of a directory: a hash, since a sandbox can read its first's."""
    return hashlib.sha256(bytes(path)).hexdigest()[:32]


def marked(mark: str) -> list[int]:
    """Processes whose environment says `MLOPS_WARD=<mark>`, or a mark below it."""
    start = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes().split(b"\0")
            if any(each == start or each.startswith(start + b"/") for each in variables):
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def kill_all(pids: list[int], seconds: float) -> list[int]:
    """Kill processes and all below them; gives those that are still there after `seconds`."""
    everyone = list(dict.fromkeys(each for pid in pids for each in (pid, *descendants(pid))))
    for pid in everyone:
        send(pid, signal.SIGKILL)
    return [pid for pid in everyone if not gone(pid, seconds)]


def gone(pid: int, seconds: float) -> bool:
    """Wait until a process (no child of ours) has ended; False where it has not in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (OSError, AttributeError):  # an old kernel
        return not Path(f"/proc/{pid}").exists()
    try:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))
    finally:
        os.close(descriptor)
