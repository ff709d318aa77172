"""Files of the work tree that commands write: whole, or as they were."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from mlops.errors import OutsideError, UsageError

_LEFT = re.compile(r"\.(?P<name>.+)\.(?P<pid>[0-9]{1,10})\.tmp", re.ASCII)


def write(root: Path, path: str, content: bytes) -> None:
    """Write a file below `root`: beside its target, synced and renamed. What processes that were killed
    left beside it goes.

    Raises UsageError where it would lie outside of `root`, OutsideError where it cannot be written; the target is as
    it was then.
    """
    target = root / path
    if not target.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{path} leads out of the project")
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        _sweep(target)
        try:
            with beside.open("wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            beside.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise OutsideError(
            f"cannot write {path}: {exc.strerror}",
            hint="Make room or give access, and run it again: nothing is half written",
        ) from exc


def _sweep(target: Path) -> None:
    for each in target.parent.glob(".*.tmp"):
        match = _LEFT.fullmatch(each.name)
        if match is not None and match["name"] == target.name and _gone(int(match["pid"])):
            each.unlink(missing_ok=True)


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False
