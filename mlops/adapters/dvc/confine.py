"""Keeps this process to one directory, for good: what strangers wrote is read here.

An audit hook (PEP 578) cannot be taken off again, and what is read here is data: no line of it becomes code
of ours. A dvc.yaml may name any file of the machine (`vars: [/home/me/secrets.yaml]`, or a `wdir` with a
params.yaml in it) and let it into the name of a stage, which a comment then shows to the world.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SECONDS = 60  # of processor time
_BYTES = 4 << 30  # of address space: DVC's imports map well under one
_READS = frozenset(("os.listdir", "os.scandir", "os.chdir"))
_WRITES = frozenset(
    (
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "sqlite3.connect",
    )
)
_NEVER = frozenset(
    (
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
        "os.posix_spawn",
        "os.system",
        "pty.spawn",
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.sendto",
        "subprocess.Popen",
    )
)
_HARMLESS = ("/dev/null", "/dev/urandom", "/proc/self", "/usr/share/zoneinfo", "/etc/mime.types")


def confine(directory: Path) -> None:
    """From now on read only what lies in `directory` and what Python itself is made of, write only
    in `directory`, start nothing, speak to nobody. Whatever else is tried raises PermissionError."""
    _limit(resource.RLIMIT_CPU, _SECONDS)
    _limit(resource.RLIMIT_AS, _BYTES)
    own = _roots([str(directory)])
    read = own + _roots([sys.prefix, sys.base_prefix, *filter(None, sys.path), *_HARMLESS])
    sys.addaudithook(_hook(own, read))


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit and takes none
        resource.setrlimit(kind, (most, hard))


def _roots(paths: list[str]) -> tuple[str, ...]:
    found = (os.path.realpath(path) for path in paths)
    return tuple(dict.fromkeys(path for path in found if path != os.sep))


def _hook(own: tuple[str, ...], read: tuple[str, ...]) -> Callable[[str, tuple[Any, ...]], None]:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            _, mode, flags = args
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or (
                isinstance(mode, str) and bool(set(mode) & set("wax+"))
            )
            _within(args[:1], own if writes else read, event)
        elif event in _READS:
            _within(args[:1], read, event)
        elif event in _WRITES:
            _within(
                [each for each in args if isinstance(each, str | bytes | os.PathLike)], own, event
            )
        elif event in _NEVER:
            raise PermissionError(f"{event} is not allowed while a pull request is read")

    return hook


def _within(paths: Any, roots: tuple[str, ...], event: str) -> None:
    for path in paths:
        if path is None or isinstance(path, int):  # the current directory; what is open already
            continue
        real = os.path.realpath(os.fsdecode(path))
        if not any(real == root or real.startswith(root + os.sep) for root in roots):
            raise PermissionError(
                f"{event} of {os.fsdecode(path)} is not allowed: it lies outside the repository"
            )
