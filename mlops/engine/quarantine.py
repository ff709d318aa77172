"""Quarantine: forbid a release everywhere, and any other with the same model artifact."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.domain.message import MODEL, REASON, SOURCE, one_line
from mlops.engine import references
from mlops.engine.hold import required_reason
from mlops.engine.publishing import Change, Publisher, Settled, topic
from mlops.engine.state import Environments
from mlops.errors import ConfigError
from mlops.manifests.overlay import dump_quarantine
from mlops.policy.quarantine import quarantined


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry that was made or lifted; `pinned` names the environments that pin the release now.

    `alike` is what else is pinned that the entry forbids: the same digest or model artifact under another
    name. `left` is an entry that forbids the release still, after one was lifted.
    """

    entry: QuarantineEntry
    pinned: tuple[str, ...] = ()
    note: str = ""
    alike: tuple[tuple[str, ReleaseId], ...] = ()
    left: QuarantineEntry | None = None


@dataclass(frozen=True, slots=True)
class NotIn:
    """The release has no entry to lift; `by` is another release's that forbids it all the same."""

    release: ReleaseId
    by: QuarantineEntry | None = None


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
            return Quarantined(old, pinned, alike=_alike(environments, old)), None
        message = publisher.message(
            f"Quarantine {release.short}",
            "quarantine",
            [(MODEL, str(release)), (SOURCE, entry.source or ""), (REASON, text)],
        )
        files = quarantine_file(environments, [entry])
        about = topic("quarantine", (), [f"{release.model}-{release.digest.short}"])
        made = Quarantined(entry, pinned, note, _alike(environments, entry))
        return made, Change(files, message, about, urgent=True)

    return publisher.settle(decide, dry_run=dry_run)


def lift(
    publisher: Publisher, reference: str, *, dry_run: bool = False
) -> Settled[Quarantined | NotIn]:
    """Take a release out of quarantine, where it is in there."""
    named: list[ReleaseId] = []

    def decide(environments: Environments) -> tuple[Quarantined | NotIn, Change | None]:
        if not named:
            named.append(references.release(environments, reference))
        release = named[0]
        entry = _entry(environments, release)
        if entry is None:
            return NotIn(release, _forbids(environments, release, environments.quarantine)), None
        left = [each for each in environments.quarantine if each != entry]
        message = publisher.message(
            f"Lift the quarantine of {release.short}", "lift", [(MODEL, str(release))]
        )
        content = dump_quarantine(left, _content(environments))
        done = Quarantined(entry, left=_forbids(environments, release, left))
        about = topic("lift", (), [f"{release.model}-{release.digest.short}"])
        return done, Change({environments.quarantine_path: content}, message, about)

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


def elsewhere(environments: Environments, release: ReleaseId, names: Collection[str]) -> list[str]:
    """What to say of environments, but for `names`, that pin a release which is now forbidden."""
    return [
        f"{name} still pins {release.short}. Go back: mlops rollback {name} {release.model} --reason TEXT"
        for name in _pinning(environments, release)
        if name not in names
    ]


def quarantine_file(
    environments: Environments, fresh: Iterable[QuarantineEntry]
) -> dict[str, bytes | None]:
    """quarantine.yaml with `fresh` at its end, in place of older entries of the same releases.

    An artifact that an older entry forbids stays forbidden: only `lift` allows anything again.
    """
    before = {(entry.model, entry.digest): entry.artifact for entry in environments.quarantine}
    new = {
        key: replace(entry, artifact=entry.artifact or before.get(key))
        for entry in fresh
        for key in [(entry.model, entry.digest)]
    }
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


def _forbids(
    environments: Environments, release: ReleaseId, entries: Iterable[QuarantineEntry]
) -> QuarantineEntry | None:
    record = environments.sound(release)
    return quarantined(release.digest, record.artifact if record else None, entries)


def _alike(environments: Environments, entry: QuarantineEntry) -> tuple[tuple[str, ReleaseId], ...]:
    """Environment and release of each other pin that the entry forbids."""
    found = []
    for name in environments.names:
        try:
            pins = environments.state(name).pins
        except ConfigError:
            continue  # as in _pinning
        for model, digest in sorted(pins.items()):
            release = ReleaseId(model, digest)
            other = (model, digest) != (entry.model, entry.digest)
            if other and _forbids(environments, release, [entry]):
                found.append((name, release))
    return tuple(found)


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
    """What each environment goes back to from the release, or has gone back to.

    What moved on from it since is no target: the next commit that carries the same bad artifact is what
    quarantine is to catch.
    """
    found = []
    for name in environments.names:
        try:
            pinned = environments.state(name).pins.get(release.model)
        except ConfigError:
            continue
        if pinned == release.digest:
            pinned = next(iter(references.predecessors(environments, name, release.model)), None)
        elif pinned is not None and not _returned(environments, name, release, pinned):
            continue
        if pinned is not None:
            found.append(ReleaseId(release.model, pinned))
    return found


def _returned(environments: Environments, name: str, release: ReleaseId, pinned: Digest) -> bool:
    """Whether the environment had `pinned` before it ever had the release."""
    rows = environments.history(name).rows(release.model)
    left = False
    for row in rows:
        left = left or row.digest == release.digest
        if left and row.digest == pinned:
            return True
    return False
