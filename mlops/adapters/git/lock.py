"""A lock between processes that names its holder and ends with it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from mlops.errors import GitError

_POLL = 0.05  # seconds between two tries


@contextlib.contextmanager
def held(path: Path, *, doing: str, patience: float = 30.0) -> Iterator[None]:
    """Hold the lock at `path` while the block runs; wait up to `patience` seconds for it.

    The kernel gives the lock back when its holder dies, however that happens; the file stays, and
    says who holds or last held it. Raises GitError (retryable) naming the holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not inherited by programs that we start: one that outlives us must not keep the lock
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _take(descriptor, path, doing, patience)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_me(), sort_keys=True).encode() + b"\n", 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, doing: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() >= deadline:
                raise GitError(
                    f"{_holder(path)} holds {path}, needed for {doing}",
                    hint="Wait for it, then try again",
                    retryable=True,
                ) from exc
            time.sleep(_POLL)
        else:
            return


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text("utf-8"))
        return f"process {found['pid']} on {found['host']} (since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _me() -> dict[str, object]:
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": boot,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
