"""Where the listener listens: `host:port`, `[::1]:port`, a port of this machine alone, or `unix:PATH`."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass

from mlops.errors import UsageError

_FORM = "It is HOST:PORT, [IPv6]:PORT, PORT (of this machine alone) or unix:PATH"
_PAIR = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>\d{1,5})\Z")
_BACKLOG = 512


@dataclass(frozen=True)
class Bound:
    """A socket that listens already, so that nobody who is told of it is too early; `name` is for people."""

    socket: socket.socket
    name: str
    local: bool  # whether this machine alone reaches it
    path: str = ""  # of a Unix socket

    def close(self) -> None:
        """Close it, and remove its path."""
        self.socket.close()
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)  # noqa: PTH108 - as it was typed


def bound(text: str) -> Bound:
    """Listen where the text says; port 0 takes a free one. Raises UsageError."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    match = _PAIR.match(f"127.0.0.1:{text}" if text.isdecimal() else text)
    if match is None or int(match["port"]) > 0xFFFF:
        raise UsageError(f"--listen {text!r} is no address", hint=_FORM)
    host = match["six"] or match["host"]
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, int(match["port"]), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as exc:
        raise UsageError(f"--listen {text!r}: {exc}", hint=_FORM) from exc
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
        made.listen(_BACKLOG)
    except OSError as exc:
        made.close()
        raise UsageError(
            f"cannot listen on {text}: {exc.strerror}", hint="Choose another address with --listen"
        ) from exc
    address, port = made.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    return Bound(made, f"{shown}:{port}", ipaddress.ip_address(address.split("%")[0]).is_loopback)


def _unix(path: str) -> Bound:
    """A socket that only this user and group reach. One that nobody listens on any more is replaced."""
    if not path:
        raise UsageError("--listen unix: lacks the path", hint=_FORM)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        before = os.umask(0o117)  # others must not reach it even for a moment
        try:
            made.bind(path)
        finally:
            os.umask(before)
        made.listen(_BACKLOG)
    except OSError as exc:
        made.close()
        raise UsageError(
            f"cannot listen on unix:{path}: {exc.strerror or exc}",
            hint="Choose another address with --listen",
        ) from exc
    return Bound(made, f"unix:{path}", local=True, path=path)


def _clear(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            try:
                trial.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)  # noqa: PTH108
                return
        raise OSError(errno.EADDRINUSE, "somebody listens there")
