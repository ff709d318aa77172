"""Where a project says what it depends on."""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Mapping
from typing import Any

from mlops.domain.discovery import Files

# A lock first: it says more. uv.lock and pylock.toml stand beside a pyproject.toml.
_ORDER = (
    *("uv.lock", "pylock.toml", "Pipfile.lock", "requirements.txt", "requirements.in"),
    "pyproject.toml",
)


def find(files: Files, directory: str) -> str:
    """The dependency file of `directory`, or the nearest one above it; empty where there is none."""
    place = directory
    while True:
        for name in _ORDER:
            path = posixpath.join(place, name) if place else name
            if path in files and (name != "pyproject.toml" or is_project(files[path])):
                return path
        if not place:
            return ""
        place = posixpath.dirname(place)


def own(files: Files, directory: str) -> bool:
    """Whether `directory` itself says what it depends on."""
    return bool(directory) and posixpath.dirname(find(files, directory)) == directory


def is_project(text: str) -> bool:
    """Whether a pyproject.toml names dependencies, and not just the settings of some tool."""
    return isinstance(table(text, "project").get("dependencies"), list)


def project_name(text: str) -> str:
    """`[project] name` of a pyproject.toml; empty where there is none."""
    name = table(text, "project").get("name")
    return name if isinstance(name, str) else ""


def scripts(text: str) -> dict[str, str]:
    """`[project.scripts]`: command → `package.module:function`."""
    found = table(text, "project").get("scripts")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


def table(text: str, name: str) -> Mapping[str, Any]:
    """A table of a TOML document; empty where it is missing or the document is none."""
    try:
        found = tomllib.loads(text).get(name)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}
