"""What upkeep needs of the world: sources of imported data, and new locks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mlops.domain.source import Commit
from mlops.domain.trigger import Updates


@dataclass(frozen=True, slots=True)
class Compared:
    """A `.dvc` file, and fingerprints of its source: as the file has it, and as it is now."""

    path: str
    committed: str
    upstream: str


class Upstream(Protocol):
    """Imported data at its source."""

    def compare(self, commit: Commit, source: str) -> Compared:
        """Ask the source, and download nothing. `source` is a `.dvc` file, the path that it tracks or the URL
        that it imports. Raises ConfigError where there is none, DvcError where the source cannot be asked."""
        ...

    def bring(self, commit: Commit, path: str) -> tuple[bytes, str]:
        """Bring the data in: to the DVC remote. Gives the new `.dvc` file and its fingerprint. Raises DvcError."""
        ...


class NewLocks(Protocol):
    """Resolves a project's locks anew."""

    def resolve(
        self, commit: Commit, wanted: Updates
    ) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
        """The lock files that differ from those of a commit, and what changes in words; empty where nothing
        does. Raises MlopsError."""
        ...
