"""Writes the tree of a commit into a directory, byte for byte as git stores it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from mlops.adapters.git.command import check_path
from mlops.adapters.git.commits import LINK, SUBMODULE
from mlops.adapters.git.objects import ObjectReader
from mlops.errors import GitError, RefusedError, UsageError
from mlops.ports import FileEntry

_HOPS = 40  # symbolic links on one path, as Linux allows
_LINK_LIMIT = 4096


def export(objects: ObjectReader, files: Sequence[FileEntry], directory: Path) -> None:
    """Write `files` below `directory`, which must be new or empty.

    Regular files keep their executable bit, submodules become empty directories, and a symbolic
    link is made where it leads to a place inside. Attributes, filters and line ends do not apply.
    Raises RefusedError where a link leads outside or a path is none, GitError where the disk or
    the object store fails.
    """
    _check_names(files)
    links = _targets(objects, [file for file in files if file.mode == LINK])
    for path, target in links.items():
        if not _stays_inside(path, links):
            raise RefusedError(
                f"{path} is a symbolic link to {target!r}, which leads out of the commit's tree",
                hint="Replace it by a file, a link inside the repository, or DVC-versioned data",
            )
    try:
        _write(objects, files, links, directory)
    except OSError as exc:
        raise GitError(
            f"cannot write {exc.filename or directory}: {exc.strerror}", hint="Check the disk"
        ) from exc


def _check_names(files: Sequence[FileEntry]) -> None:
    """No path may be another's directory: what is written stays where it was asked to go."""
    seen = set()
    for file in files:
        try:
            seen.add(check_path(file.path))
        except UsageError as exc:
            raise RefusedError(f"the commit holds a path that cannot be written: {exc}") from exc
    if len(seen) < len(files):
        raise RefusedError("the commit names a path twice", hint="Run: git fsck")
    for file in files:
        parent = file.path.rpartition("/")[0]
        while parent:
            if parent in seen:
                raise RefusedError(
                    f"the commit has {parent} as a file and as a directory", hint="Run: git fsck"
                )
            parent = parent.rpartition("/")[0]


def _targets(objects: ObjectReader, links: Sequence[FileEntry]) -> dict[str, str]:
    found = {}
    for file in links:
        content = objects.get(file.blob, "blob")
        if content is None:
            raise GitError(f"blob {file.blob} ({file.path}) is not here", hint="Run: git fsck")
        if b"\0" in content or not 0 < len(content) <= _LINK_LIMIT:
            raise RefusedError(f"{file.path} is a symbolic link to no path")
        found[file.path] = os.fsdecode(content)
    return found


def _stays_inside(path: str, links: Mapping[str, str]) -> bool:
    """Whether following `path` never leaves the root, other links on the way included."""
    todo = path.split("/")[::-1]
    here: list[str] = []
    hops = 0
    while todo:
        part = todo.pop()
        if part == "..":
            if not here:
                return False
            here.pop()
        elif part not in ("", "."):
            here.append(part)
            target = links.get("/".join(here))
            if target is not None:
                hops += 1
                if target.startswith("/") or hops > _HOPS:
                    return False
                here.pop()
                todo.extend(target.split("/")[::-1])
    return True


def _write(
    objects: ObjectReader, files: Sequence[FileEntry], links: Mapping[str, str], directory: Path
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise GitError(f"{directory} is not empty", hint="Name a new directory, or empty it")
    root = os.fspath(directory)
    made: set[str] = set()
    for file in files:
        parent = file.path if file.mode == SUBMODULE else file.path.rpartition("/")[0]
        if parent and parent not in made:
            os.makedirs(os.path.join(root, parent), exist_ok=True)  # noqa: PTH103, PTH118 - hot
            made.add(parent)
    plain = [file for file in files if file.mode not in (LINK, SUBMODULE)]

    def target(index: int) -> BinaryIO:
        file = plain[index]
        mode = 0o755 if file.mode == "100755" else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(f"{root}/{file.path}", flags, mode), "wb")

    objects.copy([file.blob for file in plain], target)
    # last: until here nothing could be written through a link, however names may fold
    for path, link in links.items():
        os.symlink(link, f"{root}/{path}")  # noqa: PTH211 - a target that Path would tidy
