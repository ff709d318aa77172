"""What watching needs: the tips of a remote, and claims, by which one decision is made of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlops.domain.watching import Tip, Tracked


@dataclass(frozen=True, slots=True)
class Claim:
    """The blob behind `refs/mlops/runs/<run>`: a small JSON document and its object id."""

    ref: str
    object_id: str
    document: Mapping[str, Any]


class Claims(Protocol):
    """Create-only refs on the remote, moved by compare-and-swap."""

    def read(self, run: str) -> Claim | None:
        """Freshly read from the remote (the local ref where there is none)."""
        ...

    def list(self, prefix: str = "") -> tuple[Claim, ...]: ...
    def put(self, run: str, document: Mapping[str, Any], previous: Claim | None) -> Claim | None:
        """Create (previous None) or move the claim; None where somebody else was first."""
        ...

    def put_each(
        self, documents: Mapping[str, Mapping[str, Any]], previous: Mapping[str, Claim] = ...
    ) -> Mapping[str, Claim | None]:
        """Create or move claims (run → document; `previous` has those that are there), as many as they are in
        few exchanges, each for itself: run → the claim, None where somebody else was first."""
        ...

    def remove(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Remove claims that nobody moved meanwhile, each for itself; those that are gone."""
        ...

    def settle(self) -> None:
        """Bring to the remote what it refused to take before, if it takes it now."""
        ...


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw: the tracked tips, by ref, all of them here now, and every claim, by name.

    `fresh` is False where the remote answered what it answered before.
    """

    tips: tuple[Tip, ...]
    claims: tuple[Claim, ...]
    fresh: bool


class Tips(Protocol):
    """Looks at a repository's remote, or at the repository itself where it has none."""

    def look(self, tracked: Tracked) -> Sight:
        """Ask once; where the answer differs from the last one, bring what is new here. Raises GitError."""
        ...
