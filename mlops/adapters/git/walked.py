"""What a long walk of the line found, kept in the git directory so that the next one is short.

Below a commit the line never changes: a walk that comes to where an earlier one began goes on as that
one did. Nothing depends on the file. It may be missing, damaged, or removed at any time, and is
not written where the directory is read-only. A shallow clone keeps none: deepening changes its line.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_VERSION = 1  # of the file, and of the rule by which the line is followed
_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")

Files = Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A commit that changed files: path → (old blob, new blob)."""

    sha: str
    files: Files


@dataclass(frozen=True, slots=True)
class Walked:
    """A walk: where it began, what it found, newest first, and the commit from which it was not read
    on; None where the line ended."""

    tip: str
    seen: tuple[Seen, ...]
    rest: str | None = None


def path(common_dir: Path, prefixes: Sequence[str]) -> Path:
    """Where the walk of these prefixes is kept."""
    name = hashlib.sha256("\0".join(prefixes).encode("utf-8", "surrogateescape")).hexdigest()
    return common_dir / "mlops" / f"line-{name[:16]}.json"


def load(file: Path, prefixes: Sequence[str]) -> Walked | None:
    """The walk kept there; None where there is none that can be used."""
    try:
        document = json.loads(file.read_bytes())
        if [document["version"], document["prefixes"]] != [_VERSION, list(prefixes)]:
            return None
        seen = tuple(_seen(sha, files) for sha, files in document["seen"])
        return Walked(_checked(document["tip"]), seen, _optional(document["rest"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def save(file: Path, prefixes: Sequence[str], walked: Walked) -> None:
    """Keep a walk, whole or not at all; where it cannot be written it is not kept."""
    document = {
        "version": _VERSION,
        "prefixes": list(prefixes),
        "tip": walked.tip,
        "rest": walked.rest,
        "seen": [[seen.sha, seen.files] for seen in walked.seen],
    }
    with contextlib.suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=file.stem, dir=file.parent)
        try:
            with os.fdopen(descriptor, "w") as out:
                json.dump(document, out)
            Path(name).replace(file)
        finally:
            Path(name).unlink(missing_ok=True)


def _seen(sha: Any, files: Any) -> Seen:
    found = {str(path): (_optional(old), _optional(new)) for path, (old, new) in files.items()}
    return Seen(_checked(sha), found)


def _optional(name: Any) -> str | None:
    return None if name is None else _checked(name)


def _checked(name: Any) -> str:
    if not isinstance(name, str) or _ID.match(name) is None:
        raise ValueError(f"no object id: {name!r}")
    return name
