"""How requirements become exact packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Target:
    """What dependencies are resolved for: the base's platform, Python (`3.11.7`) and glibc (`2.36`)."""

    platform: str
    python: str
    libc: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a requirements lock is resolved from.

    `path` is a requirements.txt or pyproject.toml that the resolver reads itself, relative to the
    project, empty where there is none; `lines` are requirements besides; `previous` is the lock as
    it stood, whose versions are kept except for `upgrade` (names; `*` is all of them).
    """

    path: str
    lines: tuple[str, ...]
    target: Target
    previous: bytes = b""
    upgrade: tuple[str, ...] = ()
    allow_builds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """The pins with hashes, sorted, without comments; and a sentence for each release among them that
    its index has withdrawn (PEP 592)."""

    content: bytes
    withdrawn: tuple[str, ...] = ()


class Resolver(Protocol):
    """Turns requirements into exact versions with hashes."""

    def resolve(self, resolution: Resolution) -> Resolved:
        """Raises BuildError where there is no solution, no wheel, or the index is away."""
        ...

    def export(self, path: str) -> tuple[str, ...]:
        """The pins that a uv.lock holds, as requirement lines with markers and hashes; nobody is asked.

        Raises ConfigError where it cannot be read.
        """
        ...
