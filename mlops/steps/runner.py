"""Runs the user's commands in the environment image: the sidecar's end of the exchange.

The train step copies this one file into the exchange directory, so it needs nothing but the
standard library of Python 3.8 or later. A request is a length (4 bytes, big-endian) and fields
parted by NUL: protocol version, directory below the source workspace, command, then `NAME=value`
for each variable. The answer is a row of frames, a kind (1 byte), a length (4 bytes) and as many
bytes: `o` is output (stdout and stderr through one pipe, so that their order holds), `x` the exit
code, `e` why the command could not be started. A connection that closes without `x` or `e` means
that this process died.
"""

# pathlib would be paid at each start of this program, and names here are bytes
# ruff: noqa: PTH104, PTH108, PTH118
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


def serve(exchange: str, source: str) -> None:
    """Answer requests on a socket in `exchange` for ever; commands start below `source`."""
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
        if code is not None:
            _send(connection, b"x", str(code if code >= 0 else 128 - code).encode())


def _request(connection: socket.socket, source: str) -> tuple[bytes, bytes, dict[bytes, bytes]]:
    (size,) = struct.unpack("!I", _exactly(connection, 4))
    if size > _LARGEST_REQUEST:
        raise ValueError("the command is too large")
    version, below, command, *pairs = _exactly(connection, size).split(b"\0")
    if version != VERSION:
        raise ValueError("the step and this image speak different versions of the exchange")
    env = {name: value for name, value in os.environb.items() if not name.startswith(b"MLOPS_")}
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
        process = subprocess.Popen(
            [b"/bin/sh", b"-c", command],
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
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
