"""Whether a release may enter an environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import EnvironmentPolicy, GateRule, Hold, QuarantineEntry
from mlops.domain.history import PinRow
from mlops.domain.release import GateVerdict, ReleaseRecord
from mlops.policy import gates
from mlops.policy.quarantine import quarantined, why
from mlops.policy.refusal import Ground, Refusal


class Direction(StrEnum):
    """How the release's source lies to that of what the target pins now."""

    FORWARD = "forward"
    SAME = "same"
    BACK = "back"  # it is an ancestor
    ASIDE = "aside"  # neither is the other's ancestor, or nothing is pinned


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to enter where, and all that speaks for or against it.

    `rules` are the model's gates and the environment's; `pinned` is the target's pin with its
    record (None where it has none). `before` are the pins of this model in the environments that it
    must come from, `here` those in the target, newest first. `holds` are those that cover the model
    in the target now, `upstream` those in the environments that it comes from.
    """

    release: ReleaseId
    record: ReleaseRecord | None
    policy: EnvironmentPolicy
    rules: tuple[GateRule, ...] = ()
    pinned: Digest | None = None
    target: ReleaseRecord | None = None
    direction: Direction = Direction.ASIDE
    before: tuple[PinRow, ...] = ()
    here: tuple[PinRow, ...] = ()
    holds: tuple[Hold, ...] = ()
    upstream: tuple[Hold, ...] = ()
    quarantine: tuple[QuarantineEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Promotion:
    """The pin moves from `previous` to `release`. `holds` that a person overrides stay."""

    release: ReleaseId
    environment: str
    previous: Digest | None
    verdicts: tuple[GateVerdict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def unchanged(self) -> bool:
        """The environment pins it already: nothing is to be written."""
        return self.previous == self.release.digest


@dataclass(frozen=True, slots=True)
class Candidate:
    """A move that automation may try: the release that `environment`'s predecessor pins."""

    release: ReleaseId
    environment: str


def decide(
    entry: Entry, now: datetime, *, automatic: bool = False, despite_hold: bool = False
) -> Promotion | Refusal:
    """The promotion, or the first reason against it. `now` is aware, in UTC.

    A hold always stops automation; a person passes it with `despite_hold`.
    """
    environment = entry.policy.name
    if entry.pinned == entry.release.digest:
        return Promotion(entry.release, environment, entry.pinned)
    refusal = (
        _record(entry)
        or _held(entry, automatic, despite_hold)
        or _source(entry)
        or _soak(entry, now)
        or _direction(entry, automatic)
        or _requirements(entry)
    )
    if refusal is not None:
        return refusal
    verdicts = gates.evaluate(entry.rules, _metrics(entry.record), _target_metrics(entry))
    failed = gates.refused(verdicts)
    if failed:
        return _gated(entry, failed)
    return Promotion(entry.release, environment, entry.pinned, verdicts, tuple(_notes(entry)))


def auto_candidates(
    policies: Sequence[EnvironmentPolicy], pins: Mapping[str, Mapping[str, Digest]]
) -> tuple[Candidate, ...]:
    """What automation may try, in promotion order: for each environment with `auto`, each model
    that all its predecessors pin and it does not. `pins`: environment → model → digest."""
    found = []
    for policy in policies:
        if not policy.auto or not policy.sources:
            continue
        here = pins.get(policy.name, {})
        first, *others = (pins.get(source, {}) for source in policy.sources)
        for model, digest in sorted(first.items()):
            agreed = all(other.get(model) == digest for other in others)
            if agreed and here.get(model) != digest:
                found.append(Candidate(ReleaseId(model, digest), policy.name))
    return tuple(found)


def following(name: str, policies: Sequence[EnvironmentPolicy]) -> tuple[str, ...]:
    """The environments that come right after one, of `policies` in promotion order: those whose
    `from` names it; where none does, the next one, if that comes from nowhere."""
    named = tuple(policy.name for policy in policies if name in policy.sources)
    if named:
        return named
    names = [policy.name for policy in policies]
    rest = policies[names.index(name) + 1 :]
    return (rest[0].name,) if rest and not rest[0].sources else ()


def _metrics(record: ReleaseRecord | None) -> Mapping[str, Any]:
    return record.metrics if record is not None else {}


def _target_metrics(entry: Entry) -> Mapping[str, Any] | None:
    return None if entry.pinned is None else _metrics(entry.target)


def _record(entry: Entry) -> Refusal | None:
    if entry.record is None:
        hint = "Only what mlops run released can be promoted; see mlops status"
        return Refusal(Ground.RECORD, f"{entry.release} has no release record", hint)
    found = quarantined(entry.release.digest, entry.record.artifact, entry.quarantine)
    if found is None:
        return None
    reason = f"{entry.release.short} is {why(found, entry.release.digest)}"
    lift = ReleaseId(found.model, found.digest)
    return Refusal(
        Ground.QUARANTINE, reason, f"If it is good after all: mlops quarantine --lift {lift}"
    )


def _held(entry: Entry, automatic: bool, despite_hold: bool) -> Refusal | None:
    environment, digest = entry.policy.name, entry.release.digest
    if entry.holds and (automatic or not despite_hold):
        hold = entry.holds[0]
        which = "" if hold.model == "*" else f" {hold.model}"
        hint = f"mlops resume {environment}{which}, or promote with --despite-hold"
        return Refusal(Ground.HELD, f"{environment} is held by {hold.actor}: {hold.reason}", hint)
    avoided = next((hold for hold in entry.upstream if digest in hold.avoid), None)
    if automatic and avoided is not None:
        reason = f"{_before(entry)} was rolled back from {entry.release.short}: {avoided.reason}"
        return Refusal(Ground.HELD, reason)
    return None


def _before(entry: Entry) -> str:
    """The environments that it comes from, for people."""
    return " or ".join(entry.policy.sources)


def _source(entry: Entry) -> Refusal | None:
    for source in entry.policy.sources:
        if not _stays(entry, source):
            reason = (
                f"{entry.policy.name} takes releases from {source},"
                f" which has never pinned {entry.release.short}"
            )
            hint = f"Promote it there first: mlops promote {entry.release} --to {source}"
            return Refusal(Ground.SOURCE, reason, hint)
    return None


def _stays(entry: Entry, source: str) -> tuple[PinRow, ...]:
    digest = entry.release.digest
    return tuple(row for row in entry.before if (row.environment, row.digest) == (source, digest))


def _soak(entry: Entry, now: datetime) -> Refusal | None:
    """The longest uninterrupted stay counts, in each environment that it comes from."""
    wanted = entry.policy.soak
    for source in entry.policy.sources if wanted > 0 else ():
        stays = _stays(entry, source)
        stayed = max(((row.until or now) - row.since).total_seconds() for row in stays)
        if stayed >= wanted:
            continue
        rest = timedelta(seconds=wanted - max(stayed, 0.0))
        there = any(row.until is None for row in stays)
        hint = (
            f"It may at {now + rest:%Y-%m-%dT%H:%M:%SZ}" if there else f"Pin it in {source} again"
        )
        told = f"{entry.release.short} was in {source} for {_duration(stayed)}"
        asked = f"{entry.policy.name} asks for {_duration(wanted)}"
        return Refusal(Ground.SOAK, f"{told}, {asked}", hint)
    return None


def _duration(seconds: float) -> str:
    """`45 s`, `29 min`, `2 h 5 min`, `3 d 4 h`: rounded down."""
    whole = max(0, int(seconds))
    for size, unit, small, inner in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {inner}" if rest else "")
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"


def _direction(entry: Entry, automatic: bool) -> Refusal | None:
    """Automation never moves back. A person goes back to what was there by a rollback, which holds;
    what was never there they may promote, with a note."""
    if entry.direction is not Direction.BACK or entry.pinned is None:
        return None
    environment = entry.policy.name
    now = ReleaseId(entry.release.model, entry.pinned).short
    reason = f"{entry.release.short} is made of older source than {now}, which {environment} pins"
    if automatic:
        return Refusal(Ground.SUPERSEDED, reason)
    if any(row.digest == entry.release.digest for row in entry.here):
        hint = f"Go back to it: mlops rollback {environment} {entry.release.model} --to {entry.release}"
        return Refusal(Ground.SUPERSEDED, reason, hint)
    return None


def _requirements(entry: Entry) -> Refusal | None:
    document = entry.record.document if entry.record is not None else {}
    for requirement in entry.policy.require:
        failed = _unmet(requirement, document)
        if failed:
            reason = f"{entry.policy.name} requires {requirement}: {entry.release.short} {failed}"
            return Refusal(Ground.REQUIREMENT, reason)
    return None


def _unmet(requirement: str, document: Mapping[str, Any]) -> str:
    """Why a requirement is not met; empty where it is. One that nobody knows is not met."""
    name = requirement.removeprefix("runtime:").strip()
    run, base = document.get("run"), document.get("base")
    match name:
        case "sandbox" | "podman" | "docker":
            runtime = run.get("runtime") if isinstance(run, Mapping) else None
            return "" if runtime == name else f"ran in {runtime or 'an unknown runtime'}"
        case "no-host-base":
            ref = str(base.get("ref", "")) if isinstance(base, Mapping) else ""
            if not ref:
                return "records no base"
            return "stands on a host base" if ref.partition("@")[0] in ("host", "base-host") else ""
        case _:
            return "cannot be checked: no such requirement is known"


def _gated(entry: Entry, failed: Iterable[GateVerdict]) -> Refusal:
    told = "; ".join(f"{v.rule}: {v.verdict.removeprefix('fail: ')}" for v in failed)
    reason = f"the gates of {entry.policy.name} refuse {entry.release.short}: {told}"
    return Refusal(Ground.GATE, reason, f"See: mlops show {entry.release}")


def _notes(entry: Entry) -> Iterable[str]:
    environment = entry.policy.name
    for hold in entry.holds:
        yield f"despite the hold of {hold.actor}: {hold.reason}"
    for hold in entry.upstream:
        if entry.release.digest in hold.avoid:
            yield f"{_before(entry)} was rolled back from this release: {hold.reason}"
    if entry.direction is Direction.BACK:
        yield f"this moves {environment} to older source"
