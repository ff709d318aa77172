"""Keeps watch over one process on the host, so that none of its descendants outlives it.

Run as `python -I -S warden.py`. Reads one JSON line `{argv, env, cwd}` from stdin, starts that
program, and exits as it does (128 + the number of the signal that ended it). Descendants that fork
away stay ours (PR_SET_CHILD_SUBREAPER); they are killed when the program ends, when stdin closes
(whoever started us is gone, or wants an end) or on SIGTERM.

Stands alone: it starts with no site-packages, in few milliseconds.
"""

# starts often and early: no pathlib
# ruff: noqa: PTH123, PTH208
from __future__ import annotations

import json
import os
import select
import signal
import sys

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h
NOT_FOUND, NOT_EXECUTABLE, KILLED = 127, 126, 137


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that are not reaped yet; empty without /proc."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(int(number) for number in file.read().split())
        except FileNotFoundError:
            if not os.path.exists("/proc/thread-self/children"):  # noqa: PTH110
                return _children_by_parent(pid)  # a kernel without CONFIG_PROC_CHILDREN
        except OSError:
            continue
    return found


def _children_by_parent(pid: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == pid:
                found.append(int(name))
    return found


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents before children."""
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children(queue.pop(0))
        found.extend(below)
        queue.extend(below)
    return found


def _become_subreaper() -> None:
    try:
        import ctypes  # noqa: PLC0415  only where prctl is

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # not Linux: the process group must do


def _start(argv: list[str], env: dict[str, str], cwd: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        os.chdir(cwd)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.closerange(3, 256)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(argv[0], argv, env)  # noqa: S606  no shell is meant
    except FileNotFoundError:
        _complain(
            f"cannot start {argv[0]}: neither it nor its interpreter is here, or {cwd} is not"
        )
        os._exit(NOT_FOUND)
    except BaseException as exc:  # noqa: BLE001  the child must not go on as a second warden
        _complain(f"cannot start {argv[0]}: {exc}")
        os._exit(NOT_EXECUTABLE)


def _complain(text: str) -> None:
    os.write(2, f"mlops: {text}\n".encode(errors="replace"))


def _end_all(program: int) -> None:
    """Kill all below us, until there is nothing to wait for."""
    while True:
        for pid in descendants(os.getpid()) or [program]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _watch(program: int, woken: int) -> int:
    """Wait for the program's end, for the end of stdin, or for SIGTERM; gives the exit code."""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            signals = os.read(woken, 512)
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    return KILLED
                if pid == program:
                    code = os.waitstatus_to_exitcode(status)
                    return code if code >= 0 else 128 - code
                if pid == 0:
                    break
            if signal.SIGTERM in signals:
                return 128 + signal.SIGTERM
        if 0 in ready and not os.read(0, 512):
            return KILLED


def main() -> int:
    """Carry out the order on stdin."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return KILLED
        line += chunk
    order = json.loads(line)
    _become_subreaper()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    program = _start(order["argv"], order["env"], order["cwd"])
    try:
        return _watch(program, woken)
    finally:
        _end_all(program)


if __name__ == "__main__":
    sys.exit(main())
