"""Files that travel with the package: `mlops/_data/NAME` in a wheel, the checkout's top otherwise."""

from __future__ import annotations

from pathlib import Path

from mlops.errors import MlopsError

_PACKAGE = Path(__file__).resolve().parent


def path(name: str) -> Path:
    """Where packaged data stands: `tekton/pipeline.yaml`, `environments/base`.

    Raises MlopsError where the installation lacks it.
    """
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.exists():
            return candidate
    raise MlopsError(f"this installation of mlops lacks {name}", hint="Install it again")


def content(name: str) -> bytes:
    """The bytes of a packaged file."""
    return path(name).read_bytes()
