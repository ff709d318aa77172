"""Quarantine: forbid a release everywhere, and any other with the same model artifact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlops.domain.digest import ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.domain.message import MODEL, REASON, SOURCE, one_line
from mlops.engine import references
from mlops.engine.hold import required_reason
from mlops.engine.publishing import Change, Publisher, Settled, topic
from mlops.engine.state import Environments
from mlops.errors import ConfigError
from mlops.manifests.overlay import dump_quarantine


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry that was made or lifted; `pinned` names the environments that pin the release now."""

    entry: QuarantineEntry
    pinned: tuple[str, ...] = ()
    note: str = ""


def quarantine(
    publisher: Publisher,
    reference: str,
    reason: str,
    *,
    digest_only: bool = False,
    dry_run: bool = False,
) -> Settled[Quarantined]:
    """Put a release into quarantine. One that is in there already, as wide, changes nothing.

    Raises UsageError without a reason or for a reference that names nothing.
    """
    text = required_reason(reason)
    named: list[ReleaseId] = []

    def decide(environments: Environments) -> tuple[Quarantined, Change | None]:
        if not named:
            named.append(references.release(environments, reference))
        release = named[0]
        entry, note = entry_for(
            environments,
            release,
            text,
            publisher.actor,
            back_to=_standing(environments, release),
            digest_only=digest_only,
        )
        pinned = _pinning(environments, release)
        old = _entry(environments, release)
        if old is not None and (old.artifact == entry.artifact or old.artifact is not None):
            return Quarantined(old, pinned), None
        message = publisher.message(
            f"Quarantine {release.short}",
            "quarantine",
            [(MODEL, str(release)), (SOURCE, entry.source or ""), (REASON, text)],
        )
        files = quarantine_file(environments, [entry])
        about = topic("quarantine", (), [f"{release.model}-{release.digest.short}"])
        return Quarantined(entry, pinned, note), Change(files, message, about, urgent=True)

    return publisher.settle(decide, dry_run=dry_run)


def lift(
    publisher: Publisher, reference: str, *, dry_run: bool = False
) -> Settled[Quarantined | None]:
    """Take a release out of quarantine; None where it was not in there."""
    named: list[ReleaseId] = []

    def decide(environments: Environments) -> tuple[Quarantined | None, Change | None]:
        if not named:
            named.append(references.release(environments, reference))
        release = named[0]
        entry = _entry(environments, release)
        if entry is None:
            return None, None
        left = [each for each in environments.quarantine if each != entry]
        message = publisher.message(
            f"Lift the quarantine of {release.short}", "lift", [(MODEL, str(release))]
        )
        content = dump_quarantine(left, _content(environments))
        about = topic("lift", (), [f"{release.model}-{release.digest.short}"])
        return Quarantined(entry), Change({environments.quarantine_path: content}, message, about)

    return publisher.settle(decide, dry_run=dry_run)


def entry_for(
    environments: Environments,
    release: ReleaseId,
    reason: str,
    actor: str,
    *,
    back_to: Iterable[ReleaseId],
    digest_only: bool = False,
) -> tuple[QuarantineEntry, str]:
    """The entry for a release, and a note where it is narrower than usual.

    Where a release in `back_to` has the same model artifact, forbidding that would forbid what one
    goes back to: then it is the digest alone.
    """
    record = environments.sound(release)
    artifact = record.artifact if record and not digest_only else None
    note = ""
    for other in back_to:
        theirs = environments.sound(other)
        if artifact and theirs is not None and theirs.artifact == artifact:
            note = (
                f"{release.short} alone is quarantined: {other.short} has the same model artifact"
            )
            artifact = None
    entry = QuarantineEntry(
        model=release.model,
        digest=release.digest,
        since=environments.now.replace(microsecond=0),
        actor=one_line(actor),
        reason=reason,
        artifact=artifact,
        source=record.source.sha if record else None,
    )
    return entry, note


def quarantine_file(
    environments: Environments, fresh: Iterable[QuarantineEntry]
) -> dict[str, bytes | None]:
    """quarantine.yaml with `fresh` at its end, in place of older entries of the same releases."""
    new = {(entry.model, entry.digest): entry for entry in fresh}
    if not new:
        return {}
    kept = [entry for entry in environments.quarantine if (entry.model, entry.digest) not in new]
    content = dump_quarantine([*kept, *new.values()], _content(environments))
    return {environments.quarantine_path: content}


def _content(environments: Environments) -> bytes | None:
    return environments.gitops.read(environments.tip, environments.quarantine_path)


def _entry(environments: Environments, release: ReleaseId) -> QuarantineEntry | None:
    return next(
        (
            entry
            for entry in environments.quarantine
            if (entry.model, entry.digest) == (release.model, release.digest)
        ),
        None,
    )


def _pinning(environments: Environments, release: ReleaseId) -> tuple[str, ...]:
    found = []
    for name in environments.names:
        try:
            if environments.state(name).pins.get(release.model) == release.digest:
                found.append(name)
        except ConfigError:
            continue  # an environment that cannot be read must not stop a quarantine
    return tuple(found)


def _standing(environments: Environments, release: ReleaseId) -> list[ReleaseId]:
    """What each environment pins, or goes back to where it pins the release itself."""
    found = []
    for name in environments.names:
        try:
            pinned = environments.state(name).pins.get(release.model)
        except ConfigError:
            continue
        if pinned == release.digest:
            pinned = next(iter(references.predecessors(environments, name, release.model)), None)
        if pinned is not None:
            found.append(ReleaseId(release.model, pinned))
    return found
