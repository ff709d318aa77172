"""Processes that outlive who starts them, known by process id and the time it began."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.layout import LOGS, NAMESPACE, RUN

_PIDS = RUN / "pids"
_PATIENCE = 10.0  # seconds from SIGTERM to SIGKILL


def start(name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Start a process of the cluster in its network, unless it runs; what it says goes to a log."""
    if running(name):
        return
    for directory in (_PIDS, LOGS):
        directory.mkdir(parents=True, exist_ok=True)
    inside = ["nsenter", f"--net=/run/netns/{NAMESPACE}", *argv]
    with (LOGS / f"{name}.log").open("ab") as log:
        found = subprocess.Popen(
            inside,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=RUN,
        )
    (_PIDS / name).write_text(f"{found.pid} {_began(found.pid)}")


def running(name: str) -> int:
    """The process id of one that runs; 0 where it does not."""
    try:
        pid, began = (_PIDS / name).read_text().split()
    except (OSError, ValueError):
        return 0
    return int(pid) if _began(int(pid)) == began else 0


def names() -> tuple[str, ...]:
    """Those that were started, in the order in which they were."""
    if not _PIDS.is_dir():
        return ()
    return tuple(each.name for each in sorted(_PIDS.iterdir(), key=lambda p: p.stat().st_mtime_ns))


def stop(name: str, *, at_once: bool = False) -> None:
    """End a process and wait until it is gone."""
    pid = running(name)
    if pid:
        _signal(pid, signal.SIGKILL if at_once else signal.SIGTERM)
        until = time.monotonic() + _PATIENCE
        while running(name) or _threads(pid) > 1:
            if time.monotonic() > until:
                _signal(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)
    (_PIDS / name).unlink(missing_ok=True)


def last_words(name: str, lines: int = 15) -> str:
    """The end of a process's log."""
    try:
        return "\n".join((LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _threads(pid: int) -> int:
    """How many threads a process has: those of one that was killed hold its sockets a little longer."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def _began(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
