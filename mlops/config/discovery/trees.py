"""Which directories of a repository hold code."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from mlops.config.discovery.found import Files


def is_code(files: Files, path: str) -> bool:
    """Whether `path` is a Python file, or a directory that has one below it."""
    if path.endswith(".py"):
        return path in files
    return any(other.startswith(f"{path}/") and other.endswith(".py") for other in files)


def roots(files: Files, paths: Iterable[str]) -> tuple[str, ...]:
    """Where the code at `paths` lies: whole directories, and the single files that lie beside data
    or at the repository's root."""
    found = []
    for path in paths:
        directory = path if not path.endswith(".py") else posixpath.dirname(path)
        found.append(directory if all_code(files, directory) else path)
    kept = dict.fromkeys(found)
    return tuple(p for p in kept if not any(p.startswith(f"{o}/") for o in kept if o != p))


def all_code(files: Files, directory: str) -> bool:
    """Whether there is something below `directory`, and no data among it."""
    inside = [p for p in files if p.startswith(f"{directory}/")] if directory else []
    return bool(inside) and all(
        p.endswith((".py", ".typed", ".pyi", ".md", ".json")) for p in inside
    )
