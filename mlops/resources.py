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


def packaged(name: str) -> bytes | None:
    """The bytes of a file that a release's package has and a checkout has not; None where it is absent.

    Raises MlopsError where it cannot be read.
    """
    found = _PACKAGE / "_data" / name
    try:
        return found.read_bytes() if found.is_file() else None
    except OSError as exc:
        raise MlopsError(
            f"{found} cannot be read: {exc.strerror}", hint="Install it again"
        ) from exc


def content(name: str) -> bytes:
    """The bytes of a packaged file."""
    return path(name).read_bytes()
