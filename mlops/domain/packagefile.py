"""A file of a locked package: a wheel, or an sdist."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlops.domain.digest import Digest


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A wheel or sdist by its file name (PEP 427, 625), its digest and its size in bytes, 0 where nobody says.

    `place` is the URL or path that it comes from, empty where nobody knows one; it may hold a password."""

    name: str
    digest: Digest
    size: int = 0
    place: str = field(default="", repr=False, compare=False)

    @property
    def is_wheel(self) -> bool:
        return self.name.endswith(".whl")
