"""All that a user has in a clone, to be compared before and after we worked in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_OURS = {"mlops"}  # below the git directory
_GROWS = {"objects"}  # new objects are no change
_TRACKING = ("refs/remotes/", "logs/refs/remotes/")


def snapshot(work: Path, git_dir: Path | None = None) -> dict[str, tuple[int, bytes]]:
    """Path → mode and bytes: every file of the work tree and of its git directory (index, HEAD,
    refs, reflogs, config, hooks, info), without objects and remote-tracking refs. Bare where
    `work` is the git directory."""
    git_dir = git_dir or (work / ".git" if (work / ".git").is_dir() else work)
    found = {f"git/{name}": value for name, value in _files(git_dir) if _counts(name)}
    if work != git_dir:
        found |= {f"work/{name}": value for name, value in _files(work, skip=".git")}
    return found


def _counts(name: str) -> bool:
    top = name.split("/", 1)[0]
    return top not in _OURS | _GROWS and not name.startswith(_TRACKING)


def _files(root: Path, skip: str = "") -> Iterator[tuple[str, tuple[int, bytes]]]:
    for directory, names, files in os.walk(root):
        if skip in names:
            names.remove(skip)
        for name in [*files, *(each for each in names if (Path(directory) / each).is_symlink())]:
            path = Path(directory) / name
            mode = path.lstat().st_mode
            content = str(path.readlink()).encode() if stat.S_ISLNK(mode) else path.read_bytes()
            yield str(path.relative_to(root)), (mode, content)
