"""The post-receive hook of a bare repository (githooks(5)): installed beside what was there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import workfiles
from mlops.adapters.git.command import discover
from mlops.errors import UsageError

_HOOK = "post-receive"
BEFORE = f"{_HOOK}.before-mlops"
_MARK = b"Written by `mlops init --hook`"


@dataclass(frozen=True, slots=True)
class Installation:
    """What is to be done: the hook's path, whether one that is there is kept as `BEFORE` and called first, and
    whether the hook is there already, as it shall be."""

    path: Path
    keeps: bool
    done: bool


def plan(start: Path, content: bytes) -> Installation:
    """How `content` becomes the hook of the bare repository at `start`.

    Raises UsageError where that is none, or has a hook that cannot be kept.
    """
    git = discover(start)
    if git.known is None or not git.known.bare:
        raise UsageError(
            f"{start} is no bare repository: nobody pushes to it",
            hint="Name the one that people push to: mlops init --hook --repo /srv/git/shop.git",
        )
    configured = git.attempt(
        "config", "core.hooksPath", doing="looking for hooks", env={}
    ).text.strip()
    if configured and configured != "/dev/null":
        raise UsageError(
            f"{start} has its hooks in {configured} (core.hooksPath), which may be others' too",
            hint="Call mlops watch --once from the post-receive hook there",
        )
    path = git.known.git_dir / "hooks" / _HOOK
    there = path.read_bytes() if path.is_file() else None
    ours = there is not None and _MARK in there
    if os.path.lexists(path) and not ours and (path.is_symlink() or there is None):
        raise UsageError(
            f"{path} is a link, or no file", hint="Call mlops watch --once from where it leads to"
        )
    kept = path.with_name(BEFORE)
    if there is not None and not ours and os.path.lexists(kept):
        raise UsageError(
            f"{path} was replaced, and {kept} is kept already", hint="Remove one of them"
        )
    return Installation(path, there is not None and not ours, there == content)


def install(found: Installation, content: bytes) -> None:
    """Raises OutsideError where it cannot be written: what was there then still is."""
    found.path.parent.mkdir(parents=True, exist_ok=True)
    if found.keeps:
        os.link(found.path, found.path.with_name(BEFORE))
    workfiles.write(found.path.parent, found.path.name, content)
    found.path.chmod(0o755)
