"""What a command is about to do to the local branch, on disk before it does it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.errors import GitError


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that goes from one blob to another; `mode` is the new one's, and "" where removed."""

    path: str
    old: str | None
    new: str | None
    mode: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A branch that moves from `old` (None: absent) to `new`, with refs that are created.

    `files` is what changes in the index and the work tree; empty where the branch is not checked
    out. Once the intent is on disk the change counts as made: who finds it finishes it.
    """

    ref: str
    old: str | None
    new: str
    refs: Mapping[str, str]
    files: tuple[FileChange, ...]

    def save(self, path: Path) -> None:
        """Write beside `path`, sync, rename. Raises OSError."""
        document = {
            "ref": self.ref,
            "old": self.old,
            "new": self.new,
            "refs": dict(self.refs),
            "files": [[file.path, file.old, file.new, file.mode] for file in self.files],
        }
        _write_synced(path, json.dumps(document, sort_keys=True).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Intent | None:
        """The intent at `path`, None where there is none. Raises GitError where it is damaged."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return cls._of(json.loads(content))
        except (ValueError, KeyError, TypeError) as exc:
            raise GitError(
                f"{path} cannot be read: {exc!r}",
                hint="Compare git status with what you expect, then remove the file",
            ) from exc

    @classmethod
    def _of(cls, document: Any) -> Intent:
        files = tuple(FileChange(*file) for file in document["files"])
        return cls(document["ref"], document["old"], document["new"], document["refs"], files)


def beside(path: Path) -> Path:
    """Where the next content of `path` is written before it is renamed; one writer at a time."""
    return path.with_name(f"{path.name}.new")


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(beside(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside(path).replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
