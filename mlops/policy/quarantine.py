"""Which releases must not be pinned anywhere again."""

from __future__ import annotations

from collections.abc import Iterable

from mlops.domain.digest import Digest
from mlops.domain.environment import QuarantineEntry


def quarantined(
    digest: Digest, artifact: str | None, entries: Iterable[QuarantineEntry]
) -> QuarantineEntry | None:
    """The entry that forbids a release: its digest, or the md5 of its model artifact, under
    whichever model's name; None where none does."""
    for entry in entries:
        if entry.digest == digest or (artifact and entry.artifact == artifact):
            return entry
    return None


def why(entry: QuarantineEntry, digest: Digest) -> str:
    """`quarantined since 2019-07-16 by ada: predicts nonsense`."""
    same = (
        ""
        if entry.digest == digest
        else f" with sha256:{entry.digest.short}, the same model artifact"
    )
    return f"quarantined{same} since {entry.since:%Y-%m-%d} by {entry.actor}: {entry.reason}"
