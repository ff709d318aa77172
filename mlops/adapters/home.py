"""A home for a user that the machine does not know: the number that a cluster gave a pod."""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from mlops.errors import OutsideError


def settle(env: MutableMapping[str, str] = os.environ) -> None:
    """Set HOME where neither it nor the system names a directory: to one below the temporary directory
    that is this user's alone. git, DVC and uv, which mlops starts, look there too.

    Raises OutsideError where that cannot be had, or is somebody else's.
    """
    if env.get("HOME"):
        return
    env.pop("HOME", None)  # an empty one names no directory
    try:
        Path.home()
    except RuntimeError:  # a user without an entry in passwd
        env["HOME"] = str(_temporary())


def _temporary() -> Path:
    user = os.getuid()
    hint = "Set HOME to a directory of this user's"
    try:
        path = Path(tempfile.gettempdir(), f"mlops-{user}")
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as exc:
        raise OutsideError(
            f"user {user} has no home directory, and none can be made: {exc.strerror or exc}",
            hint=hint,
        ) from exc
    if path.is_symlink() or found.st_uid != user or found.st_mode & 0o022:
        raise OutsideError(
            f"user {user} has no home directory, and {path} is not this user's alone", hint=hint
        )
    return path
