"""What differs between two trees, as git's raw format tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlops.adapters.git.command import check_path


@dataclass(frozen=True, slots=True)
class PathChange:
    """A path that differs between two trees: git's status letter (A, D, M, T) and both blobs.

    Where the path is absent on a side, blob is None and mode empty. For a submodule the "blob" is
    the commit that it stands at.
    """

    status: str
    path: str
    old: str | None
    new: str | None
    old_mode: str
    mode: str


def pathspec(prefix: str) -> tuple[str, ...]:
    """The pathspec of one path and all below it, taken literally; none for the root."""
    prefix = prefix.strip("/")
    return (f":(top,literal){check_path(prefix)}",) if prefix else ()


def raw_changes(records: Iterator[str]) -> Iterator[PathChange]:
    """Read the NUL-parted records of git's raw format (git-diff-tree(1), RAW OUTPUT FORMAT)."""
    for record in records:
        if not record:
            continue
        old_mode, new_mode, old, new, status = record.lstrip("\n:").split(" ")
        path = next(records)
        old_there, new_there = int(old_mode, 8) != 0, int(new_mode, 8) != 0
        yield PathChange(
            status[:1],
            path,
            old if old_there else None,
            new if new_there else None,
            old_mode if old_there else "",
            new_mode if new_there else "",
        )
