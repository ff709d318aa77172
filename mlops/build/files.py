"""Files of this machine as a tree for an image: at their own paths, links along the way kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from mlops.build.tar import Entry, File, Link, Tree, entry_of
from mlops.errors import BuildError

_MOST_LINKS = 40  # as Linux allows in one path


def fingerprint(tree: Tree, *more: str) -> str:
    """24 hex digits that change when a file of this machine does, by size and time: a key for what
    was made of these files here, and no name for their content."""
    total = hashlib.sha256("\n".join(more).encode())
    for path in sorted(tree):
        entry = tree[path]
        if isinstance(entry, File):
            found = entry.source.stat()
            text = f"{found.st_size} {found.st_mtime_ns} {entry.executable}"
        else:
            text = hashlib.sha256(repr(entry).encode()).hexdigest()
        total.update(f"\n{path}\0{text}".encode(errors="surrogateescape"))
    return total.hexdigest()[:24]


class HostTree:
    """Collects paths of this machine. `/lib → usr/lib` becomes a link, and the file stands below
    usr/lib, as it does here."""

    def __init__(self) -> None:
        self.tree: dict[str, Entry] = {}

    def add(self, path: Path) -> Path:
        """Add a file with every symbolic link that leads to it; its own path, links resolved.

        Raises BuildError where a link leads nowhere, or in a circle.
        """
        waiting = list(reversed(path.parts[1:]))
        at = Path("/")
        followed = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                at = at.parent
                continue
            step = at / part
            entry = entry_of(step)
            if isinstance(entry, Link):
                followed += 1
                if followed > _MOST_LINKS:
                    raise BuildError(f"{path} is a circle of symbolic links")
                self.tree[_inside(step)] = entry
                target = Path(entry.target)
                if target.is_absolute():
                    at = Path("/")
                waiting.extend(reversed([p for p in target.parts if p != "/"]))
            elif isinstance(entry, File):
                self.tree[_inside(step)] = entry
                at = step
            else:
                at = step
        return at

    def add_directory(self, path: Path, leave_out: Callable[[Path], bool]) -> list[Path]:
        """Add what stands in a directory, except what `leave_out` says; the files added."""
        real = self.add(path)
        added: list[Path] = []
        waiting = [real]
        while waiting:
            for found in _listing(waiting.pop()):
                if leave_out(found):
                    continue
                if found.is_dir() and not found.is_symlink():
                    waiting.append(found)
                elif found.exists():
                    added.append(self.add(found))
        return added

    def add_all(self, paths: Iterable[Path]) -> None:
        for path in sorted(paths):
            self.add(path)


def _listing(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as exc:
        raise BuildError(f"cannot read {directory}: {exc.strerror}") from exc


def _inside(path: Path) -> str:
    return str(path).lstrip("/")
