"""What a commit may not do to pins, holds, quarantine and records: the judgement of `mlops guard`.

One commit is judged by the environments before and after it. A hold that is lifted in a commit of its own is somebody's
decision; a commit that moves a held pin and takes the hold along is not, and a `git revert` of a rollback is just that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.domain.release import ReleaseRecord
from mlops.policy.quarantine import quarantined, why

_LAST = datetime.max.replace(tzinfo=UTC)


class Rule(StrEnum):
    """What a violation is against."""

    HOLD = "hold"
    QUARANTINE = "quarantine"
    RECORD = "record"
    UNREADABLE = "unreadable"
    LINE = "line"  # the range leaves the line of pushed tips


@dataclass(frozen=True, slots=True)
class Overlay:
    """One environment at one commit: `pins` of every image with a digest, `tagged` names with a
    tag alone, `holds`. `fault` says why it cannot be read; then the rest is empty."""

    pins: Mapping[str, Digest] = field(default_factory=dict)
    tagged: frozenset[str] = frozenset()
    holds: tuple[Hold, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One commit: the environments that it touches, before and after (absent: no overlay there).

    `models` are ours; `quarantine` holds the entries of both sides, so that no commit can pin what
    it takes out of quarantine itself; `record` gives a release's record after the commit; `spoiled`
    are records that it changed, removed or put where they do not belong, path → what happened;
    `faults` are other files of ours that cannot be read after it.
    """

    before: Mapping[str, Overlay]
    after: Mapping[str, Overlay]
    models: frozenset[str]
    quarantine: tuple[QuarantineEntry, ...]
    record: Callable[[ReleaseId], ReleaseRecord | None]
    spoiled: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that a commit may not do. `environment` and `model` are empty where it concerns
    none in particular."""

    rule: Rule
    reason: str
    hint: str = ""
    environment: str = ""
    model: str = ""


def judge(step: Step, now: datetime) -> tuple[Violation, ...]:
    """Every violation of one commit, in a fixed order. `now` (aware) decides which holds are in
    force: a commit's own time is its author's word."""
    found: list[Violation] = []
    for name, former in _renamed(step).items():
        found += _environment(step, name, former, now)
    for path in sorted(step.spoiled):
        hint = "A record is written once: put its first bytes back"
        found.append(Violation(Rule.RECORD, f"{path} {step.spoiled[path]}", hint))
    for fault in step.faults:
        found.append(Violation(Rule.UNREADABLE, fault, "Mend the file, then push again"))
    return tuple(found)


def _renamed(step: Step) -> dict[str, str]:
    """Environment after → its name before. One that goes and one that comes in the same commit
    with the same pins and the same holds are one, renamed. One that is gone stands for itself."""
    gone = sorted(set(step.before) - set(step.after))
    names = {name: name for name in sorted({*step.before, *step.after})}
    for name in sorted(set(step.after) - set(step.before)):
        same = [old for old in gone if _alike(step.before[old], step.after[name])]
        if len(same) == 1:
            names[name] = same[0]
            names.pop(same[0], None)
            gone.remove(same[0])
    return names


def _alike(one: Overlay, other: Overlay) -> bool:
    return bool(one.pins) and (one.pins, one.holds) == (other.pins, other.holds)


def _environment(step: Step, name: str, former: str, now: datetime) -> Iterator[Violation]:
    before = step.before.get(former, Overlay())
    after = step.after.get(name, Overlay())
    if after.fault:
        yield Violation(Rule.UNREADABLE, after.fault, "Mend it, then push again", name)
        return
    if before.fault:  # nobody knows what stood: whatever stands now is looked at as new
        before = Overlay()
    for model in sorted({*before.pins, *after.pins} & step.models):
        old, new = before.pins.get(model), after.pins.get(model)
        if old == new:
            continue
        yield from _held(before, after, name, model, now)
        if new is not None:
            yield from _pinned(step, name, ReleaseId(model, new), tagged=model in before.tagged)


def _held(
    before: Overlay, after: Overlay, name: str, model: str, now: datetime
) -> Iterator[Violation]:
    """A held pin moves only where the same commit keeps the hold and writes the new digest in."""
    holds = [hold for hold in before.holds if hold.covers(model, now)]
    if not holds:
        return
    hold = next((hold for hold in holds if hold.model == model), holds[0])
    new = after.pins.get(model)
    hint = f"Lift it first, in a commit of its own: mlops resume {name}" + (
        "" if hold.model == "*" else f" {model}"
    )
    told = f"{name} is held by {hold.actor}: {hold.reason}"
    if new is None:
        yield Violation(Rule.HOLD, f"{told}; this takes the pin of {model} out", hint, name, model)
        return
    moved = f"{told}; this moves {model} to sha256:{new.short}"
    if not _kept(after.holds, holds):
        yield Violation(Rule.HOLD, f"{moved} and lifts the hold with it", hint, name, model)
    elif not any(h.model == model and h.digest == new for h in after.holds):
        hint = (
            f"{hint}; or move it with: mlops promote {ReleaseId(model, new).short} --despite-hold"
        )
        yield Violation(Rule.HOLD, moved, hint, name, model)


def _kept(after: Iterable[Hold], before: Iterable[Hold]) -> bool:
    """Whether every hold stands still, for as long at least."""
    kept: dict[str, datetime] = {}
    for hold in after:
        kept[hold.model] = max(kept.get(hold.model, hold.since), hold.until or _LAST)
    return all(kept.get(hold.model, hold.since) >= (hold.until or _LAST) for hold in before)


def _pinned(step: Step, name: str, release: ReleaseId, *, tagged: bool) -> Iterator[Violation]:
    record = step.record(release)
    entry = quarantined(release.digest, record.artifact if record else None, step.quarantine)
    model = release.model
    if entry is not None:
        lift = f"mlops quarantine --lift {ReleaseId(entry.model, entry.digest).short}"
        yield Violation(
            Rule.QUARANTINE,
            f"{name} would pin {release.short}, which is {why(entry, release.digest)}",
            f"If it is good after all: {lift}",
            name,
            model,
        )
    if record is None and not tagged:
        yield Violation(
            Rule.RECORD,
            f"{name} would pin {release.short}, which has no release record",
            "Pin what mlops run released: mlops promote",
            name,
            model,
        )
