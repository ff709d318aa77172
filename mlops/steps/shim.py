"""The shell that DVC starts: hands the command to the environment image and brings its output back.

DVC runs `$SHELL -c COMMAND` for each command of a stage. This file is that shell: started on its
own (`python -IS shim.py -c COMMAND`), it must import little, because its start is paid once for
each command. `MLOPS_SHIM` names a directory of the step's own, which the user's code cannot see:
`environment` in it holds the allow-listed `NAME=value` pairs, parted by NUL, and a failure is
reported in `failure` (lines: stage, exit code, kind, command). The protocol stands in runner.py.
"""

# pathlib, socket and their like would triple the start of each command: `_socket` is what `socket`
# itself stands on, with all that is needed here
# ruff: noqa: PTH104, PTH108, PTH109, PTH112, PTH113, PTH114, PTH118, PTH123, SIM105
from __future__ import annotations

import _socket
import os
import stat
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = b"1"
SOCKET = "socket"
LOST = 125  # the sidecar died: no exit code came back
_CHUNK = 65536
_OOM = "OOMKilled: it needs more memory than train.resources.memory allows"
_FROM_DVC = (b"DVC_STAGE",)


def forward(
    exchange: str,
    below: bytes,
    command: bytes,
    env: dict[bytes, bytes],
    sink: Callable[[bytes], None],
) -> tuple[int, str]:
    """Run `command` in the directory `below` the source workspace, in the environment image.

    Output goes to `sink` as it comes. Gives the exit code and, where the command did not run to
    its own end, why. Moves the process into `exchange` (a socket's name holds 108 bytes).
    """
    os.chdir(exchange)
    if not stat.S_ISSOCK(os.lstat(SOCKET).st_mode):
        return LOST, "the exchange holds no socket"
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(SOCKET)
        fields = [VERSION, below, command, *(n + b"=" + v for n, v in env.items())]
        request = b"\0".join(fields)
        connection.sendall(struct.pack("!I", len(request)) + request)
        return _answer(connection, sink)
    except (ConnectionError, EOFError, ValueError):
        return LOST, "the environment image's container ended; out of memory?"
    finally:
        connection.close()


def _answer(connection: _socket.socket, sink: Callable[[bytes], None]) -> tuple[int, str]:
    while True:
        kind, size = struct.unpack("!cI", _exactly(connection, 5))
        if kind == b"o":
            _stream(connection, size, sink)
            continue
        if size > _CHUNK:
            raise ValueError(size)
        text = _exactly(connection, size)
        if kind == b"x":
            told, _, why = text.partition(b" ")
            code = int(told) & 0xFF
            if why == b"oom":
                return code, _OOM if code else ""
            return code, "killed; out of memory?" if code == 137 else ""
        if kind == b"e":
            return LOST, "could not be started: " + os.fsdecode(text)
        raise ValueError(kind)


def _stream(connection: _socket.socket, size: int, sink: Callable[[bytes], None]) -> None:
    while size:
        part = connection.recv(min(size, _CHUNK))
        if not part:
            raise EOFError
        sink(part)
        size -= len(part)


def _exactly(connection: _socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    _stream(connection, size, parts.append)
    return b"".join(parts)


def to_stdout(part: bytes) -> None:
    """Write all of it to file descriptor 1."""
    while part:
        part = part[os.write(1, part) :]


def report(directory: str, stage: str, code: int, reason: str, command: str) -> None:
    """Leave for the train step what failed: DVC's own message tells the exit code at most."""
    lines = [stage, str(code), reason.replace("\n", " "), command]
    with open(os.path.join(directory, "failure"), "w", errors="surrogateescape") as file:
        file.write("\n".join(lines))


def leading_out(root: bytes) -> list[bytes]:
    """Symlinks below `root` that lead out of it, relative to it, sorted.

    DVC would follow them here, where they can lead to what the command itself never saw.
    """
    found = []
    inside = os.path.join(root, b"")
    pending = [root]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:  # what we cannot read, DVC cannot either
            continue
        for entry in entries:
            if entry.is_symlink():
                if not os.path.join(os.path.realpath(entry.path), b"").startswith(inside):
                    found.append(os.path.relpath(entry.path, root))
            elif entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
    return sorted(found)


def restore(kept: str, root: bytes) -> None:
    """Put DVC's configuration back as it was: DVC reads it again between commands."""
    directory = os.path.join(root, b".dvc")
    if not os.path.isdir(kept) or not os.path.isdir(directory) or os.path.islink(directory):
        return
    for name in (b"config", b"config.local"):
        there = os.path.join(directory, name)
        if os.path.isdir(there) and not os.path.islink(there):
            os.rename(there, there + b".%d" % os.getpid())
        try:
            os.unlink(there)
        except FileNotFoundError:
            pass
        before = os.path.join(os.fsencode(kept), name)
        if os.path.isfile(before):
            with open(before, "rb") as file, open(there, "xb") as new:
                new.write(file.read())


def main(argv: list[str]) -> int:
    """The shell: `-c COMMAND`, in the current directory."""
    command = argv[argv.index("-c") + 1]
    here, root = os.path.realpath(os.getcwdb()), os.path.realpath(os.environb[b"MLOPS_SOURCE"])
    below = os.path.relpath(here, root)
    own = os.environ["MLOPS_SHIM"]
    with open(os.path.join(own, "environment"), "rb") as file:
        env = dict(pair.split(b"=", 1) for pair in file.read().split(b"\0") if pair)
    env.update((name, os.environb[name]) for name in _FROM_DVC if name in os.environb)
    exchange = os.environ["MLOPS_EXCHANGE"]
    started = time.monotonic()
    try:
        code, reason = forward(exchange, below, os.fsencode(command), env, to_stdout)
    except FileNotFoundError:
        code, reason = LOST, "the environment image's container is not there"
    with open(os.path.join(own, "took"), "a", errors="surrogateescape") as took:
        took.write(f"{os.environ.get('DVC_STAGE', '')}\t{time.monotonic() - started:.3f}\n")
    restore(os.path.join(own, "kept"), root)
    links = leading_out(root) if not code else []
    if links:
        code, reason = LOST, f"{os.fsdecode(links[0])} is a symlink that leads out of the project"
    if code:
        report(own, os.environ.get("DVC_STAGE", ""), code, reason, command)
    if reason:
        try:
            to_stdout(f"error: {command!r}: {reason}\n".encode(errors="surrogateescape"))
        except OSError:
            pass
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
