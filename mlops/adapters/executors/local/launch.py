"""What it takes to start one container, whichever runtime it starts in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mount:
    """A host directory or file, and where the container sees it."""

    source: Path
    target: str
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Inside:
    """A container, all references replaced: what to run, and what it sees.

    `env` is the container's own; the image's lies under it. `working_dir` empty: the image's.
    `host_name` is what the container calls its machine.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    mounts: tuple[Mount, ...]
    network: bool
    host_name: str


@dataclass(frozen=True, slots=True)
class Launch:
    """A program to start. `order` goes to its stdin, which then stays open as its lifeline.

    `descriptors` are inherited by the program and closed here once it runs. `status` is the reading
    end of the pipe on which bubblewrap tells the pid of the container's first process. `watched` is
    how many processes, from the top of the tree, are the runtime's and not the container's.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    order: bytes | None = None
    descriptors: tuple[int, ...] = ()
    status: int | None = None


class Runtime(Protocol):
    """A place where containers start."""

    name: str
    network_enforced: bool

    def launch(self, inside: Inside, scratch: Path) -> Launch:
        """`scratch` is an own, empty directory, removed when the container has ended."""
        ...
