"""What it takes to start one container, whichever runtime it starts in."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlops.errors import ExecutorError


class RootRefusedError(ExecutorError):
    """A container may not run as root, and would."""

    def __init__(self, image: object) -> None:
        super().__init__(
            f"the container must not run as root (runAsNonRoot), and image {image} would",
            hint="Set securityContext.runAsUser",
        )


@dataclass(frozen=True, slots=True)
class Mount:
    """A host directory or file, and where the container sees it.

    Below `root`, where it is given, containers may have written: no link is followed there, not even
    one that takes the place of a directory in this very moment, where the runtime can help it.
    """

    source: Path
    target: str
    writable: bool = True
    root: Path | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The way from `root`; empty without one."""
        return () if self.root is None else self.source.relative_to(self.root).parts


@dataclass(frozen=True, slots=True)
class Inside:
    """A container, all references replaced: what to run, and what it sees.

    `env` is the container's own; the image's lies under it. `working_dir` empty: the image's.
    `host_name` is what the container calls its machine. `user` and `group` None: the image's; with
    `non_root` root is refused. `cpu` is in processors, `memory` and `disk` in bytes, None without a
    limit.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    mounts: tuple[Mount, ...]
    network: bool
    host_name: str
    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] = ()
    non_root: bool = False
    read_only_root: bool = False
    cpu: float | None = None
    memory: int | None = None
    disk: int | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """A program for the warden to start.

    In a sandbox: `overlay` is where its root is laid out and the overlay's lowerdir option, None
    where nothing is mounted; `descriptors` are inherited under their own numbers and closed here
    once they are handed on, the last being where bubblewrap tells how it stands, of which `status`
    is the reading end. `binds` are root, path below it and name below the overlay's directory of what
    is to be bound there first, no link followed. Elsewhere all are empty, and the program is watched.

    `cpus` are the processors that it may use (empty: all); `group` and `groups` are those of a root
    in the sandbox.

    `enter` is what comes before a command that is to run in the container later. Of an engine's
    program: `ask` is the command that tells of the container, run where the exit code may be the
    engine's own; `kill` ends the container; `after` removes it, run in any case.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    descriptors: tuple[int, ...] = ()
    status: int | None = None
    overlay: tuple[str, str] | None = None
    binds: tuple[tuple[str, str, str], ...] = ()
    cpus: tuple[int, ...] = ()
    group: int = 0
    groups: tuple[int, ...] = ()
    enter: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def opened(mount: Mount) -> int:
    """A descriptor of what is mounted, found without following a link below its root.

    Raises ExecutorError where one stands in the way.
    """
    kept = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(mount.source if mount.root is None else mount.root, os.O_PATH | os.O_CLOEXEC)
    try:
        for part in mount.parts:
            inner = os.open(part, kept, dir_fd=here)
            os.close(here)
            here = inner
            if stat.S_ISLNK(os.fstat(here).st_mode):
                raise NotADirectoryError(part)
    except OSError as exc:
        os.close(here)
        raise ExecutorError(
            f"{mount.source} is a link or gone: a step put something there"
        ) from exc
    return here


class Runtime(Protocol):
    """A place where containers start."""

    @property
    def name(self) -> str: ...
    @property
    def network_enforced(self) -> bool: ...
    @property
    def on_host(self) -> bool:
        """Whether a container sees the host's own paths."""
        ...

    def launch(self, inside: Inside, scratch: Path) -> Launch:
        """`scratch` is an own, empty directory, removed when the container has ended."""
        ...
