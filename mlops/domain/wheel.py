"""A wheel of a locked package."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.domain.digest import Digest


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel by its file name (PEP 427), its digest and its size in bytes, 0 where nobody says."""

    name: str
    digest: Digest
    size: int = 0
