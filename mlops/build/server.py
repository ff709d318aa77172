"""The built-in model server as files of an image: below /opt/mlops, nothing else of mlops with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mlops.build.tar import Entry, File
from mlops.errors import BuildError

PACKAGE = "mlops_serving"  # its name in the image; here it is mlops.serving
HOME = "/opt/mlops"
MODEL_FILE = f"{HOME}/model.json"
COMMAND = ("python", "-m", PACKAGE)
# isolated and without packages: quick, and nothing of the project's can stand in for the standard library
CHECK = ("python", "-I", "-S", f"{HOME}/{PACKAGE}/health.py")
_SOURCES = Path(__file__).parent.parent / "serving"


def tree() -> dict[str, Entry]:
    """The package's sources at their places in an image."""
    below = f"{HOME}/{PACKAGE}".lstrip("/")
    return {f"{below}/{path.name}": File(path) for path in _files()}


def version() -> str:
    """The sha256 of the server's sources: an environment image with others is another one."""
    total = hashlib.sha256()
    for path in _files():
        content = path.read_bytes()
        total.update(f"{path.name} {len(content)}\n".encode() + content)
    return total.hexdigest()


def _files() -> list[Path]:
    found = sorted(_SOURCES.glob("*.py"))
    if not found:
        raise BuildError(f"the model server is not in {_SOURCES}", hint="Install mlops again")
    return found
