"""Starts containers, and keeps watch over those that are plain processes.

Run as `python -I -S warden.py`, or `… warden.py sandbox`, with a Unix socket of packets as stdin; it
ends when the other end is gone. Each packet is the descriptors of one container: the order (a file
with JSON), its output, where its end is told, its lifeline, and those that it inherits. A fork of
this small program costs a tenth of starting another, which is why there is one for all containers.

`sandbox`: it makes a user namespace for itself, and a mount namespace with the overlay for each
container, which then becomes bubblewrap. Otherwise each container gets a watch of its own, and none
of its descendants outlives it: they are killed when the program ends, when the lifeline closes
(whoever started us is gone, or wants an end) or on SIGTERM.

Told, as lines of JSON: `{"pid": N}`, the container's topmost process; `{"ended": N}`, its exit code,
negative where a signal ended it.

Stands alone: it starts with no site-packages, in few milliseconds.
"""

# starts often and early: no pathlib
# ruff: noqa: PTH123, PTH208
from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

NOT_FOUND, NOT_EXECUTABLE, KILLED = 127, 126, 137
_DOUBTFUL = (125, 126, 127, 137)  # an engine's own exit codes, or the container's
_PATIENCE = 8.0  # seconds for an engine to end a container
_DESCRIPTORS = 64  # at most, with one packet
_SUBREAPER, _PARENT_DEATH = 36, 1  # PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG: linux/prctl.h
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000  # CLONE_NEWNS, CLONE_NEWUSER: linux/sched.h
_RECURSIVE_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE: linux/mount.h
_BIND, _RECURSIVE = 0x1000, 0x4000  # MS_BIND, MS_REC
_OTHERS = 65535  # users beside root that a sandbox can have
_UNUSED = 0x70000000  # where they begin outside, for root: above what systemd's containers take
_HIGH = 512  # descriptors from here on are out of the way of those that a container inherits

Order = dict[str, Any]


# -- trees of processes


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


# -- serving


def main(arguments: list[str]) -> int:
    """Serve until the socket closes."""
    link = socket.socket(fileno=0)
    libc = _libc()
    _control(libc, _SUBREAPER, 1)
    try:
        users = _enter_user_namespace(libc) if "sandbox" in arguments else 0
    except OSError as exc:
        link.send(json.dumps({"error": exc.strerror or str(exc)}).encode())
        return 1
    link.send(json.dumps({"users": users}).encode())
    gc.disable()  # a collection after a fork would copy every page that both have
    woken = _waker(signal.SIGCHLD)
    begin = _contain if "sandbox" in arguments else _guard
    told: dict[int, int] = {}  # process → where its end is told
    while True:
        ready, _, _ = select.select([link.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 512)
            _reap(told)
        if link.fileno() in ready and not _take(link, libc, begin, told):
            return 0


def _libc() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None  # not Linux: process groups must do


def _control(libc: Any, option: int, value: int) -> None:
    if hasattr(libc, "prctl"):
        libc.prctl(option, value, 0, 0, 0)


def _waker(*numbers: int) -> int:
    """A descriptor that becomes readable when one of the signals comes."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return woken


def _reap(told: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in told:
            _tell(told[pid], {"ended": os.waitstatus_to_exitcode(status)})
            os.close(told.pop(pid))


def _tell(descriptor: int, what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(descriptor, json.dumps(what).encode() + b"\n")


def _take(link: socket.socket, libc: Any, begin: Callable[..., None], told: dict[int, int]) -> bool:
    """Start what one packet asks for; False where there will be no more."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(_DESCRIPTORS * struct.calcsize("i"))
    message, ancillary, _, _ = link.recvmsg(16, space, socket.MSG_CMSG_CLOEXEC)
    for _level, _kind, data in ancillary:
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if not message:
        return False
    own = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become(libc, own)
            # by itself, and first: bubblewrap tells in pieces, between which ours must not come
            _tell(descriptors[2], {"pid": os.getpid()})
            begin(libc, *(_aside(each) for each in descriptors))
        except BaseException as exc:  # noqa: BLE001  it must not go on as a second server
            _complain(f"cannot start a container: {exc!r}")
        finally:
            os._exit(NOT_EXECUTABLE)
    told[pid] = descriptors[2]
    for descriptor in descriptors:
        if descriptor != descriptors[2]:
            os.close(descriptor)
    return True


def _become(libc: Any, parent: int) -> None:
    """Be a child of the server's that has nothing of it, and ends with it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    if libc is not None and os.getppid() != parent:
        os._exit(KILLED)


def _aside(descriptor: int) -> int:
    high: int = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(descriptor)
    return high


def _read(file: int) -> Order:
    with open(file, "rb") as stream:
        stream.seek(0)
        order: Order = json.loads(stream.read())
    return order


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"mlops: {text}\n".encode(errors="replace"))


def _lower(order: Order) -> None:
    """What both kinds of containers do before they start: the processors that they may use."""
    if order["cpus"] and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, order["cpus"])


# -- sandboxes


def _enter_user_namespace(libc: Any) -> int:
    """Make one and be its root; gives how many users it has. Raises OSError."""
    asking, answering = socket.socketpair()
    own, uid, gid = os.getpid(), os.getuid(), os.getgid()
    helper = os.fork()
    if helper == 0:  # stays outside, where users are given
        asking.close()
        answering.recv(1)
        answering.send(b"\1" if _give_users(own, uid, gid) else b"\0")
        os._exit(0)
    answering.close()
    _check(libc.unshare(_NEW_USER))
    asking.send(b"?")
    many = asking.recv(1) == b"\1"
    os.waitpid(helper, 0)
    asking.close()
    if many:
        os.setgroups([])
    else:
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    return _OTHERS + 1 if many else 1


def _give_users(pid: int, uid: int, gid: int) -> bool:
    """Ourselves as root, and others that nobody has: all that chown, su and package managers need."""
    try:
        if uid == 0:
            for name, own in (("uid_map", uid), ("gid_map", gid)):
                _write(f"/proc/{pid}/{name}", f"0 {own} 1\n1 {_UNUSED} {_OTHERS}")
            return True
        for program, own, file in (("newuidmap", uid, "subuid"), ("newgidmap", gid, "subgid")):
            first = _granted(f"/etc/{file}", uid)
            asked = [program, str(pid), "0", str(own), "1", "1", str(first), str(_OTHERS)]
            subprocess.run(asked, check=True, capture_output=True, timeout=10)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return True


def _granted(path: str, uid: int) -> int:
    """The first of the users that we may give (subuid(5)). Raises ValueError where they are few."""
    import pwd  # noqa: PLC0415  seldom

    names = {str(uid)}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(uid).pw_name)
    with open(path) as file:
        for line in file:
            owner, first, count = line.strip().split(":")
            if owner in names and int(count) >= _OTHERS:
                return int(first)
    raise ValueError(path)


def _contain(libc: Any, order_file: int, output: int, _told: int, *inherited: int) -> None:
    order = _read(order_file)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for descriptor, number in zip(inherited, order["descriptors"], strict=True):
        os.dup2(descriptor, number)
    _control(libc, _PARENT_DEATH, signal.SIGKILL)
    _lower(order)
    if order["overlay"]:
        try:
            _mount_overlay(libc, *order["overlay"])
        except OSError as exc:
            _complain(f"cannot mount the image's layers: {exc.strerror}")
            return
        for root, inside, name in order["binds"]:
            try:
                _bind(libc, root, inside, name)
            except OSError as exc:
                _complain(f"cannot mount {inside}, something else took its place: {exc.strerror}")
                return
    if order["groups"]:
        os.setgroups(order["groups"])
    if order["group"]:
        os.setgid(order["group"])
    os.chdir(order["cwd"])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606  no shell is meant


def _mount_overlay(libc: Any, box: str, lower: str) -> None:
    """Relative names throughout, so that no character of a path can end a mount option."""
    _check(libc.unshare(_NEW_MOUNTS))
    _check(libc.mount(None, b"/", None, _RECURSIVE_PRIVATE, None))
    os.chdir(box)
    options = f"lowerdir={lower},upperdir=upper,workdir=work,userxattr".encode()
    _check(libc.mount(b"overlay", b"root", b"overlay", 0, options))


def _bind(libc: Any, root: str, inside: str, name: str) -> None:
    """Bind what lies below `root` to `name`, as it is now and whatever takes its place later.

    No link is followed. Here and not before: what was opened outside cannot be bound in here.
    """
    parts = [part for part in inside.split("/") if part not in {"", "."}]
    here = os.open(root, os.O_PATH | os.O_DIRECTORY)
    for number, part in enumerate(parts, start=1):
        last = os.O_PATH | os.O_NOFOLLOW
        flags = last if number == len(parts) else last | os.O_DIRECTORY
        below = os.open(part, flags, dir_fd=here)
        os.close(here)
        here = below
    if stat.S_ISLNK(os.fstat(here).st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    source = f"/proc/self/fd/{here}".encode()
    _check(libc.mount(source, os.fsencode(name), None, _BIND | _RECURSIVE, None))
    os.close(here)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


# -- plain processes


def _guard(libc: Any, order_file: int, output: int, told: int, lifeline: int) -> None:
    """Be the watch over one program."""
    order = _read(order_file)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    _control(libc, _SUBREAPER, 1)
    woken = _waker(signal.SIGCHLD, signal.SIGTERM)
    _lower(order)
    program = _start(order)
    code = KILLED
    try:
        code = _watch(program, woken, lifeline)
    finally:
        if order["after"]:
            _dismiss(order, program, code, told)
        _end_all(program)
        _tell(told, {"ended": code})
    os._exit(code)


def _start(order: Order) -> int:
    argv, cwd = order["argv"], order["cwd"]
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        os.chdir(cwd)
        os.closerange(3, _HIGH * 2)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(argv[0], argv, order["env"])  # noqa: S606  no shell is meant
    except FileNotFoundError:
        _complain(f"cannot start {argv[0]}: {_absent(argv[0], cwd)}")
        os._exit(NOT_FOUND)
    except BaseException as exc:  # noqa: BLE001  the child must not go on as a second watch
        _complain(f"cannot start {argv[0]}: {exc}")
        os._exit(NOT_EXECUTABLE)


def _absent(program: str, cwd: str) -> str:
    """What is not there: the program, its interpreter, or the directory."""
    if not os.path.isdir(cwd):  # noqa: PTH112
        return f"its directory {cwd} is not here"
    with contextlib.suppress(OSError):
        with open(program, "rb") as file:
            first = file.readline(256)
        words = first.removeprefix(b"#!").rstrip(b"\n").decode(errors="replace").split(" ")
        named = [word for word in words if word] if first.startswith(b"#!") else []
        what = f"its interpreter {named[0]!a}" if named else "what loads it"
        return f"{what} is not here"
    return "it is not here"


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


def _dismiss(order: Order, program: int, code: int, told: int) -> None:
    """An engine's container: end it, let the engine's own program see that, and remove it."""
    env = order["env"]
    until = time.monotonic() + _PATIENCE
    while _lives(program) and time.monotonic() < until:
        _said(order["kill"], env)  # again, for it may not have been made yet
        _wait(program, 0.5)
    if code in _DOUBTFUL:
        _tell(told, {"answer": _said(order["ask"], env)})
    _said(order["after"], env)


def _lives(program: int) -> bool:
    try:
        return os.waitpid(program, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def _wait(program: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while _lives(program) and time.monotonic() < until:
        time.sleep(0.01)


def _said(argv: list[str], env: dict[str, str]) -> str:
    """What an engine's command prints; empty where it fails."""
    try:
        done = subprocess.run(argv, env=env, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def _watch(program: int, woken: int, lifeline: int) -> int:
    """Wait for the program's end, for the end of the lifeline, or for SIGTERM; gives the exit code."""
    while True:
        ready, _, _ = select.select([lifeline, woken], [], [])
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
        if lifeline in ready and not os.read(lifeline, 512):
            return KILLED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
