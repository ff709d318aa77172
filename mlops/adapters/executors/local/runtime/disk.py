"""What a container takes of the disk: held to a limit, and the disk never filled.

Sizes are looked at, now and then; so a container gets somewhat beyond its limit before it is
stopped, by what it writes in a fraction of a second.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 64 << 30  # bytes that a container may write where its document sets no limit
SPARED = 1 << 30  # bytes that stay free on the disk, or half of what was free at the start
_LOOK = 0.2  # seconds between looks
_SHARE = 20  # of our time at most one part in so many is spent on adding sizes up
_LITTLE = 64 << 20  # bytes: who holds no more is not the one that fills the disk


@dataclass(slots=True)
class Disk:
    """Watches one container: `counted` are the directories that are its own; `shared` tells that it
    can write to others too. `limit` is in bytes."""

    counted: tuple[Path, ...]
    limit: int | None = None
    shared: bool = False
    also: tuple[Path, ...] = ()  # on disks that must not be filled either
    volumes: tuple[tuple[str, Path, int], ...] = ()  # name, directory and bytes that it may hold
    _at_start: dict[Path, int] = field(init=False, default_factory=dict)
    _next_look: float = 0.0
    _next_count: float = 0.0

    def __post_init__(self) -> None:
        for path in (*self.counted[:1], *self.also):
            self._at_start[path] = _free(path)

    @property
    def next_look(self) -> float:
        """When to look again, of time.monotonic."""
        return self._next_look

    def complaint(self) -> str:
        """Why the container must be stopped; empty where it may go on, or it is not time to look."""
        now = time.monotonic()
        if now < self._next_look:
            return ""
        self._next_look = now + _LOOK
        lost = max(before - _free(path) for path, before in self._at_start.items())
        full = any(
            _free(path) < min(SPARED, _half(before)) for path, before in self._at_start.items()
        )
        limit = LARGEST if self.limit is None else self.limit
        if full and (self.shared or self._count() > _LITTLE):
            return "the disk is nearly full"
        counts = self.limit is not None or lost > limit or self.volumes
        if now >= self._next_count and counts:
            complaint = self._over(limit)
            self._next_count = now + _SHARE * (time.monotonic() - now)
            return complaint
        return ""

    def _over(self, limit: int) -> str:
        """What holds more than it may."""
        for name, path, most in self.volumes:
            held = size(path)
            if held > most:
                return f"volume {name} holds {_amount(held)}, over its sizeLimit of {_amount(most)}"
        taken = self._count()
        if taken > limit:
            return f"it holds {_amount(taken)} of disk, over its limit of {_amount(limit)}"
        return ""

    def _count(self) -> int:
        return sum(map(size, self.counted))


def _amount(size_: int) -> str:
    return f"{size_ >> 20} MiB" if size_ >= 1 << 20 else f"{size_ >> 10} KiB"


def _half(free: int) -> int:
    """What stays free where there was little to begin with."""
    return free // 2


def _free(path: Path) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def size(root: Path) -> int:
    """Bytes of disk below a directory; what goes away meanwhile, or cannot be read, counts nothing."""
    total, waiting = 0, [str(root)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            total += _sizes(entries, waiting)
    return total


def _sizes(entries: Iterable[os.DirEntry[str]], below: list[str]) -> int:
    total = 0
    for entry in entries:
        with contextlib.suppress(OSError):
            total += entry.stat(follow_symlinks=False).st_blocks * 512
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
    return total
