"""Which directories of a repository hold code."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from mlops.domain.discovery import Files


def is_code(files: Files, path: str) -> bool:
    """Whether `path` is a Python file, or a directory that has one below it."""
    if path.endswith(".py"):
        return path in files
    return any(other.startswith(f"{path}/") and other.endswith(".py") for other in files)


def roots(files: Files, paths: Iterable[str]) -> tuple[str, ...]:
    """Where the code at `paths` lies, with the modules beside it that it may import: whole
    directories, and single files where they lie among data or at the repository's root."""
    found: dict[str, None] = {}
    for path in paths:
        if path.endswith(".py"):
            found.update(dict.fromkeys(beside(files, posixpath.dirname(path))))
        else:
            found[path] = None
    return tuple(p for p in found if not any(p.startswith(f"{o}/") for o in found if o != p))


def beside(files: Files, directory: str) -> tuple[str, ...]:
    """A directory that holds code alone; else its modules and the packages directly below it."""
    if all_code(files, directory):
        return (directory,)
    modules = {p for p in files if p.endswith(".py") and posixpath.dirname(p) == directory}
    inits = (posixpath.dirname(p) for p in files if p.endswith("/__init__.py"))
    packages = {p for p in inits if posixpath.dirname(p) == directory}
    return tuple(sorted(path for path in modules | packages if not _tests(path)))


def _tests(path: str) -> bool:
    name = posixpath.basename(path)
    return name in ("tests", "conftest.py", "setup.py") or name.startswith("test_")


def all_code(files: Files, directory: str) -> bool:
    """Whether there is something below `directory`, and no data among it."""
    inside = [p for p in files if p.startswith(f"{directory}/")] if directory else []
    return bool(inside) and all(
        p.endswith((".py", ".typed", ".pyi", ".md", ".json")) for p in inside
    )
