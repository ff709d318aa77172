"""Runs the user's commands in the environment image: the sidecar's end of the exchange.

The train step copies this one file into the exchange directory, so it needs nothing but the
standard library of Python 3.8 or later. A request is a length (4 bytes, big-endian) and fields
parted by NUL: protocol version, directory below the source workspace, command, then `NAME=value`
for each variable. The answer is a row of frames, a kind (1 byte), a length (4 bytes) and as many
bytes: `o` is output (stdout and stderr through one pipe, so that their order holds), `x` the exit
code, with ` oom` after it where the kernel ended a process of the command for want of memory, `e` why
the command could not be started. A connection that closes without `x` or `e` means that this process
died.
"""

# pathlib would be paid at each start of this program, and names here are bytes
# ruff: noqa: PTH104, PTH108, PTH118, PTH123, PTH208
from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading

VERSION = b"1"
SOCKET = "socket"
_CHUNK = 65536
_LARGEST_REQUEST = 16 << 20
_OWN = (b"MLOPS_EXCHANGE", b"MLOPS_SOURCE")  # what only this program needs
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, prctl(2)
# How often the kernel ended a process of this container for want of memory: cgroup v2, v1
_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_commands: set[int] = set()  # process ids of the commands that are running
_starting = threading.Lock()  # nobody takes a command that has just been started for an orphan


def serve(exchange: str, source: str) -> None:
    """Answer requests on a socket in `exchange` until SIGTERM; commands start below `source`."""
    # the first process of a container is not ended by it, and its memory and GPU would wait for SIGKILL
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    _adopt()
    os.chdir(exchange)  # a Unix socket's name holds 108 bytes: relative always fits
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.suppress(FileNotFoundError):
        os.unlink("socket.new")
    listener.bind("socket.new")
    listener.listen(16)
    os.rename("socket.new", SOCKET)  # whoever sees the name can connect
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection, source), daemon=True).start()


def _answer(connection: socket.socket, source: str) -> None:
    with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        killed = _killed()
        try:
            directory, command, env = _request(connection, source)
            process, output = _start(directory, command, env)
        except (OSError, ValueError) as exc:
            _send(connection, b"e", os.fsencode(str(exc)))
            return
        try:
            code = _follow(connection, process, output)
        finally:
            os.close(output)
            _end(process)
            _commands.discard(process.pid)
            _end_orphans()
        if code is not None:
            told = str(code if code >= 0 else 128 - code)
            _send(connection, b"x", (told + " oom" * (_killed() > killed)).encode())


def _killed() -> int:
    """How many processes of this container the kernel has ended for want of memory; 0 where it is not told."""
    for name in _EVENTS:
        with contextlib.suppress(OSError, ValueError):
            with open(name) as file:
                found = dict(line.split(None, 1) for line in file if " " in line)
            return int(found.get("oom_kill", 0))
    return 0


def _request(connection: socket.socket, source: str) -> tuple[bytes, bytes, dict[bytes, bytes]]:
    (size,) = struct.unpack("!I", _exactly(connection, 4))
    if size > _LARGEST_REQUEST:
        raise ValueError("the command is too large")
    version, below, command, *pairs = _exactly(connection, size).split(b"\0")
    if version != VERSION:
        raise ValueError("the step and this image speak different versions of the exchange")
    env = {name: value for name, value in os.environb.items() if name not in _OWN}
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        env[name] = value
    return os.path.join(os.fsencode(source), below), command, env


def _start(
    directory: bytes, command: bytes, env: dict[bytes, bytes]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the command, both its outputs on one pipe; gives the pipe's end to read."""
    reading, writing = os.pipe()
    try:
        with _starting:
            process = subprocess.Popen(
                [b"/bin/sh", b"-c", command],
                cwd=directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
            _commands.add(process.pid)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return process, reading


def _follow(connection: socket.socket, process: subprocess.Popen[bytes], output: int) -> int | None:
    """Hand output on until the command ends; None where the asker went away before that."""
    ended, tell = os.pipe()
    threading.Thread(target=_wait, args=(process, tell), daemon=True).start()
    sources = [output, ended, connection.fileno()]
    try:
        while True:
            ready, _, _ = select.select(sources, [], [])
            if connection.fileno() in ready:
                return None
            if ended in ready:
                _end(process)
                _drain(connection, output)
                return process.returncode
            chunk = os.read(output, _CHUNK)
            if chunk:
                _send(connection, b"o", chunk)
            else:
                sources.remove(output)
    finally:
        os.close(ended)


def _drain(connection: socket.socket, output: int) -> None:
    """Hand on what a pipe can still hold; more can only come from a process that fled its group."""
    for _ in range(16):
        if not select.select([output], [], [], 0)[0]:
            return
        chunk = os.read(output, _CHUNK)
        if not chunk:
            return
        _send(connection, b"o", chunk)


def _wait(process: subprocess.Popen[bytes], tell: int) -> None:
    process.wait()
    os.close(tell)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the command's group: a command's leftovers end with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _adopt() -> None:
    """Become the parent of processes that lose theirs: none outlives its command unseen."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - an image may lack it

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _end_orphans() -> None:
    """End what fled a command's group: it could change outputs after they were looked at."""
    with _starting:
        for _ in range(100):  # an orphan's own children become orphans in their turn
            orphans = [pid for pid in _children() if pid not in _commands]
            for pid in orphans:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    os.waitpid(pid, 0)
            if not orphans:
                return


def _children() -> list[int]:
    """The process ids whose parent this process is (Linux; elsewhere nothing is known)."""
    me, found = os.getpid(), []
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in filter(str.isdigit, names):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if _parent(name) == me:
                found.append(int(name))
    return found


def _parent(process: str) -> int:
    with open(f"/proc/{process}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])


def _send(connection: socket.socket, kind: bytes, payload: bytes) -> None:
    connection.sendall(kind + struct.pack("!I", len(payload)) + payload)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, _CHUNK))
        if not part:
            raise ConnectionResetError("the request ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
