"""Which releases must not be pinned anywhere again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlops.domain.digest import Digest
from mlops.domain.environment import QuarantineEntry


def quarantined(
    digest: Digest, artifact: str | None, entries: Iterable[QuarantineEntry]
) -> QuarantineEntry | None:
    """The entry that forbids a release: its digest, or the md5 of its model artifact; None where none does.

    Under whichever model's name: two models that share a digest, or the bytes of an artifact, run the
    same bad bytes. An entry of the digest itself is preferred, as it is the one to lift.
    """
    entries = sorted(entries, key=lambda entry: entry.digest != digest)
    for entry in entries:
        if entry.digest == digest or (artifact and entry.artifact == artifact):
            return entry
    return None


def dropped(
    before: Sequence[QuarantineEntry], after: Sequence[QuarantineEntry]
) -> tuple[QuarantineEntry, ...]:
    """The entries of `before` that `after` lacks, or has without the artifact that they forbade."""
    left = {(entry.model, entry.digest, entry.artifact) for entry in after}
    bare = {key[:2] for key in left}
    return tuple(
        entry
        for entry in before
        if (entry.model, entry.digest, entry.artifact) not in left
        and (entry.artifact is not None or (entry.model, entry.digest) not in bare)
    )


def why(entry: QuarantineEntry, digest: Digest) -> str:
    """`quarantined since 2019-07-16 by ada: predicts nonsense`."""
    same = (
        ""
        if entry.digest == digest
        else f" with sha256:{entry.digest.short}, the same model artifact"
    )
    return f"quarantined{same} since {entry.since:%Y-%m-%d} by {entry.actor}: {entry.reason}"
