"""Sources and data versions: what a release is made from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlops.errors import UsageError

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


@dataclass(frozen=True, slots=True, order=True)
class Commit:
    """A git commit by its full SHA (40 hex digits, or 64 in a sha256 repository)."""

    sha: str

    @classmethod
    def parse(cls, text: str) -> Commit:
        if _SHA.match(text) is None:
            raise UsageError(f"{text!r} is not a full commit SHA")
        return cls(text)

    @property
    def short(self) -> str:
        return self.sha[:7]

    def __str__(self) -> str:
        return self.sha


@dataclass(frozen=True, slots=True, order=True)
class DataObject:
    """One path that DVC versions at a source: its md5 (`….dir` for a directory) and its size.

    `size` is in bytes, `nfiles` counts the files of a directory; None where not recorded.
    """

    path: str
    md5: str
    size: int | None = None
    nfiles: int | None = None


DataVersion = tuple[DataObject, ...]
