"""Takes what training declares to have made, and nothing that it smuggles in.

Only regular files, and directories of regular files, inside the tree; no component of a path may
be a symlink. Files are opened from the tree's root one component at a time without following links
(`O_NOFOLLOW`), so that nothing can be exchanged between check and use.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlops.domain.dvcfiles import LockedStage, join
from mlops.domain.pipeline import Stage
from mlops.domain.source import DataObject
from mlops.errors import DvcError, RefusedError
from mlops.policy.hashes import directory_md5

_CHUNK = 2**20
_DEEPEST = 64  # directories within each other


@dataclass(frozen=True, slots=True)
class Output:
    """A declared output as it stands in the tree; `cached` False where git keeps it."""

    object: DataObject
    cached: bool
    stage: str


def collect(
    tree: Path, stages: Iterable[Stage], locks: Mapping[str, LockedStage]
) -> tuple[Output, ...]:
    """The outputs of the stages with their md5 and size, sorted by path.

    Raises RefusedError by name where one is missing, is or holds a symlink or anything else that is
    no regular file, or is not what dvc.lock (`locks`, by stage address) records.
    """
    found = []
    for stage in stages:
        locked = locks.get(stage.name)
        recorded = (
            {join(stage.wdir, path): e.md5 for path, e in locked.outs.items()} if locked else {}
        )
        for out in stage.outs:
            taken = take(tree, out.path, f"stage {stage.name}")
            if recorded.get(out.path) != taken.md5:
                raise RefusedError(
                    f"{out.path} of stage {stage.name} is not what dvc.lock records "
                    f"({(recorded.get(out.path) or 'nothing')[:8]}, it is {taken.md5[:8]})",
                    hint="A command changed it after DVC recorded it",
                )
            found.append(Output(taken, out.cached, stage.name))
    return tuple(sorted(found, key=lambda output: output.object.path))


def take(tree: Path, path: str, whose: str) -> DataObject:
    """One output, hashed as DVC does. Raises RefusedError as `collect` does."""
    with _opened(tree, path, whose) as descriptor:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            md5, size = _hashed(descriptor)
            return DataObject(path, md5, size)
        files: dict[str, str] = {}
        total = 0
        for name, md5, size in _walk(descriptor, path, whose, ""):
            files[name] = md5
            total += size
        return DataObject(path, directory_md5(files), total, len(files))


def read(tree: Path, path: str, limit: int) -> bytes | None:
    """A regular file's bytes (metrics), None where there is none. Raises RefusedError for anything
    but a regular file inside the tree, or one larger than `limit` bytes."""
    try:
        with _opened(tree, path, "the metrics file") as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RefusedError(f"{path} is a directory, not a file")
            size = os.fstat(descriptor).st_size
            if size > limit:
                raise RefusedError(f"{path} has {size} bytes, more than {limit}")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                return file.read(limit + 1)[:limit]
    except _MissingError:
        return None


class _MissingError(RefusedError):
    """The output is not there."""


@contextmanager
def _opened(tree: Path, path: str, whose: str) -> Iterator[int]:
    """A descriptor of a regular file or directory below `tree`, reached without any symlink."""
    parts = path.split("/")
    if path.startswith("/") or "://" in path or ".." in parts:
        raise RefusedError(
            f"{path}, an output of {whose}, lies outside the project",
            hint="Have the stage write below the project's directory",
        )
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            if part not in ("", "."):
                inner = _open(descriptor, part, path, whose)
                os.close(descriptor)
                descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _open(directory: int, name: str, path: str, whose: str) -> int:
    # O_NONBLOCK: a named pipe would wait for a writer for ever
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError as exc:
        raise _MissingError(
            f"{path}, an output of {whose}, is not there", hint="See the log of the train task"
        ) from exc
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EMLINK):
            raise _odd(path, whose, "is or holds a symlink") from exc
        if exc.errno == errno.ENXIO:  # a socket
            raise _odd(path, whose, "is no regular file") from exc
        raise DvcError(f"cannot read {path}, an output of {whose}: {exc.strerror}") from exc
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(descriptor)
        raise _odd(path, whose, "is or holds something that is no regular file")
    return descriptor


def _odd(path: str, whose: str, what: str) -> RefusedError:
    return RefusedError(
        f"{path}, an output of {whose}, {what}",
        hint="Outputs are regular files and directories of them, inside the project",
    )


def _walk(
    directory: int, path: str, whose: str, prefix: str, depth: int = 0
) -> Iterator[tuple[str, str, int]]:
    if depth > _DEEPEST:
        raise RefusedError(f"{path}, an output of {whose}, is nested more than {_DEEPEST} deep")
    for name in sorted(os.listdir(directory)):
        inner = _open(directory, name, f"{path}/{name}", whose)
        try:
            if stat.S_ISDIR(os.fstat(inner).st_mode):
                yield from _walk(inner, f"{path}/{name}", whose, f"{prefix}{name}/", depth + 1)
            else:
                md5, size = _hashed(inner)
                yield f"{prefix}{name}", md5, size
        finally:
            os.close(inner)


def _hashed(descriptor: int) -> tuple[str, int]:
    taken = hashlib.md5(usedforsecurity=False)
    size = 0
    while chunk := os.read(descriptor, _CHUNK):
        taken.update(chunk)
        size += len(chunk)
    return taken.hexdigest(), size
