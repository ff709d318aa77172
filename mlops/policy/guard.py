"""What a commit may not do to pins, holds, quarantine and records: the judgement of `mlops guard`.

One commit is judged by what stands before and after it. A hold that is lifted in a commit of its own is
somebody's decision; a commit that moves a held pin and takes the hold along is not, and a `git revert` of a
rollback is just that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.domain.release import ReleaseRecord
from mlops.policy.quarantine import dropped, quarantined, why

_LAST = datetime.max.replace(tzinfo=UTC)
_EVERY = "*"


class Rule(StrEnum):
    """What a violation is against."""

    HOLD = "hold"
    QUARANTINE = "quarantine"
    RECORD = "record"
    UNREADABLE = "unreadable"
    LINE = "line"  # the range leaves the line of pushed tips


@dataclass(frozen=True, slots=True)
class Overlay:
    """One environment at one commit: `pins` of every image with a digest, `tags` of those with a tag
    alone, `holds`. `fault` says why the pins cannot be read, `holds_fault` why the holds cannot;
    then they are empty."""

    pins: Mapping[str, Digest] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    fault: str = ""
    holds_fault: str = ""

    def covering(self, model: str, now: datetime) -> tuple[Hold, ...]:
        """The holds that stop `model` at `now`, its own before the environment's."""
        found = [hold for hold in self.holds if hold.covers(model, now)]
        return tuple(sorted(found, key=lambda hold: hold.model == _EVERY))


@dataclass(frozen=True, slots=True)
class Step:
    """One commit: the environments that it touches, before and after (absent: no overlay there).

    `models` are ours; `quarantine` and `forbidden` are the entries before and after it, `lifted`
    the releases that its message says it takes out of quarantine, `promoted` those that it says it
    promotes; `record` gives the record of a
    digest that an image of that name pins after the commit; `spoiled` are records that it changed,
    removed or put where they do not belong, path → what happened; `faults` are other files of ours
    that cannot be read after it. `began` are the environments as they stood before the whole push; None
    where this commit is all of it.
    """

    before: Mapping[str, Overlay]
    after: Mapping[str, Overlay]
    models: frozenset[str]
    record: Callable[[ReleaseId], ReleaseRecord | None]
    quarantine: tuple[QuarantineEntry, ...] = ()
    forbidden: tuple[QuarantineEntry, ...] = ()
    lifted: frozenset[ReleaseId] = frozenset()
    promoted: frozenset[ReleaseId] = frozenset()
    spoiled: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    began: Mapping[str, Overlay] | None = None


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
    """Every violation of one commit, in a fixed order.

    `now` (aware) decides which holds are in force: it is the clock of the machine that guards. A
    commit's own time is its author's word, and would let anybody step over an `until`.
    """
    found: list[Violation] = []
    for name, former in _renamed(step).items():
        found += _environment(step, name, former, now)
    if not step.faults:  # else nobody can tell what is gone
        found += _dropped(step)
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
    faults = [fault for fault in (after.fault, after.holds_fault) if fault]
    for fault in faults:
        yield Violation(Rule.UNREADABLE, fault, "Mend it, then push again", name)
    if faults:
        return
    ours = step.models | {hold.model for hold in before.holds}
    for model in sorted({*before.pins, *after.pins, *before.tags}):
        if model in ours:
            yield from _held(step, before, after, name, model, now)
        new = after.pins.get(model)
        if new is not None and new != before.pins.get(model):
            # a tag that this very push wrote is no tag that stood: it would let any digest in
            stood = before if step.began is None else step.began.get(former, Overlay())
            tagged = model in before.tags and model in stood.tags
            yield from _pinned(
                step, name, ReleaseId(model, new), recorded=model in ours and not tagged
            )


def _held(
    step: Step, before: Overlay, after: Overlay, name: str, model: str, now: datetime
) -> Iterator[Violation]:
    """A held pin moves only where the same commit keeps the hold and writes the new digest in; to what
    the hold keeps out, only by a promotion that names it."""
    reason, hint = _unheld(before, after, name, model, now)
    old, new = before.pins.get(model), after.pins.get(model)
    if not reason and new is not None and new != old:
        avoiding = [hold for hold in before.covering(model, now) if new in hold.avoid]
        if avoiding and ReleaseId(model, new) not in step.promoted:
            release = ReleaseId(model, new).short
            reason = (
                f"{name} is held by {avoiding[0].actor} to keep out {release}: {avoiding[0].reason};"
                " this pins it again"
            )
            hint = f"If it is good after all: mlops promote {release} --to {name} --despite-hold"
    if reason:
        yield Violation(Rule.HOLD, reason, hint, name, model)


def _unheld(
    before: Overlay, after: Overlay, name: str, model: str, now: datetime
) -> tuple[str, str]:
    """What breaks a hold, and the next step; two empty texts where nothing does."""
    old, new = before.pins.get(model), after.pins.get(model)
    moved = old != new or before.tags.get(model) != after.tags.get(model)
    if before.holds_fault:
        broken = f"{before.holds_fault}: nobody can tell whether {model} in {name} is held"
        return (broken, "Mend the holds first, in a commit of its own") if moved else ("", "")
    holds = before.covering(model, now)
    if not holds:
        return "", ""
    lift = f"mlops resume {name}{'' if holds[0].model == _EVERY else f' {model}'}"
    hint = f"Lift it first, in a commit of its own: {lift}"
    told = f"{name} is held by {holds[0].actor}: {holds[0].reason}"
    if not moved:
        forged = _forged(holds[0], after, model)
        return (f"{told}; {forged}", hint) if forged else ("", "")
    if new is None:
        what = "takes the pin of" if old is not None else "moves the tag of"
        return f"{told}; this {what} {model}{' out' if old is not None else ''}", hint
    said = f"{told}; this moves {model} to sha256:{new.short}"
    if old is None and model in before.tags and holds[0].digest in (None, new):
        return "", ""  # a tag became its own digest
    if not all(_kept(hold, after, new) for hold in holds):
        return f"{said} and lifts the hold with it", hint
    if not any(hold.model == model and hold.digest == new for hold in after.holds):
        move = f"mlops promote {ReleaseId(model, new).short} --to {name} --despite-hold"
        return said, f"{hint}; or move it in spite of the hold: {move}"
    return "", ""


def _kept(hold: Hold, after: Overlay, new: Digest) -> bool:
    """Whether a hold stands still: for as long, and against what it kept out before."""
    return any(
        other.model == hold.model
        and other.since >= hold.since  # an older one is what stood before, put back
        and (other.until or _LAST) >= (hold.until or _LAST)
        and set(hold.avoid) - {new} <= set(other.avoid)
        for other in after.holds
    )


def _forged(hold: Hold, after: Overlay, model: str) -> str:
    """A hold that is made to name another digest than the one pinned would let the next commit pass
    for one that kept it."""
    now = next((other for other in after.holds if other.model == hold.model == model), None)
    if now is None or now.digest in (None, hold.digest, after.pins.get(model)):
        return ""
    return f"this writes sha256:{now.digest.short} into the hold, which is not what is pinned"


def _dropped(step: Step) -> Iterator[Violation]:
    """Entries leave quarantine by `mlops quarantine --lift` alone.

    A hold ends by itself when the incident does, and people edit holds by hand. A release that is
    in quarantine stays bad: an entry that a revert, a merge or an old copy of the file takes out
    leaves no trace, and the next promotion brings the release back.
    """
    for entry in dropped(step.quarantine, step.forbidden):
        release = ReleaseId(entry.model, entry.digest)
        if release not in step.lifted:
            yield Violation(
                Rule.QUARANTINE,
                f"this takes {release.short} out of quarantine, where {entry.actor} put it: {entry.reason}",
                f"If it is good after all: mlops quarantine --lift {release.short}",
                model=entry.model,
            )


def _pinned(step: Step, name: str, release: ReleaseId, *, recorded: bool) -> Iterator[Violation]:
    """Both sides' entries count: no commit pins what it takes out of quarantine itself."""
    record = step.record(release)
    entries = (*step.quarantine, *step.forbidden)
    entry = quarantined(release.digest, record.artifact if record else None, entries)
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
    if recorded and (record is None or record.release != release):
        yield Violation(
            Rule.RECORD,
            f"{name} would pin {release.short}, which has no release record",
            "Pin what mlops run released: mlops promote",
            name,
            model,
        )
