"""A lock between processes: a file that names its holder, released by the kernel when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mlops.errors import OutsideError

_PATIENCE = 120.0  # seconds; what is done under a lock takes milliseconds
_PAUSE = 0.01


@contextlib.contextmanager
def locked(
    path: Path, *, what: str, error: type[OutsideError], patience: float = _PATIENCE
) -> Iterator[None]:
    """Hold the lock for the block; wait up to `patience` seconds for another holder.

    Raises `error`, naming `what` and who holds it, where the time runs out, or where the file cannot
    be written. Threads exclude each other as processes do.
    """
    descriptor = _open(path, what, error)
    try:
        if not _acquire(descriptor, patience):
            raise error(
                f"{what} is locked by {_holder(descriptor)} for over {patience:g} s",
                hint="Wait for it to end, or end that process",
                retryable=True,
            )
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def taken(
    path: Path, *, what: str, error: type[OutsideError], patience: float = 0.0, remark: str = ""
) -> int | str:
    """Take the lock, to be closed to give it up; or who holds it still, after `patience` seconds.

    `remark` is what others read beside our name. Raises `error` where the file cannot be written.
    """
    descriptor = _open(path, what, error)
    if _acquire(descriptor, patience):
        _sign(descriptor, remark)
        return descriptor
    holder = _holder(descriptor)
    os.close(descriptor)
    return holder


def _open(path: Path, what: str, error: type[OutsideError]) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise error(f"cannot lock {what}: {exc.strerror} ({path})") from exc


def _sign(descriptor: int, remark: str = "") -> None:
    with contextlib.suppress(OSError):  # a full disk must not keep anybody from reading
        me = f"process {os.getpid()} on {os.uname().nodename}"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{me}{remark}\n".encode(), 0)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "somebody"


def _acquire(descriptor: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE)
        else:
            return True
