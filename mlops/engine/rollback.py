"""Rollback: pin the previous good release and hold what was rolled back, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.domain.history import ROLLBACK
from mlops.domain.message import INCIDENT, MODEL, REASON, one_line
from mlops.engine.hold import holds_file, kept_holds, required_reason
from mlops.engine.preflight import Mark, Preflight, Verdict
from mlops.engine.promote import Files, pin_trailers, pinned_files
from mlops.engine.publishing import Change, Publisher, Settled, topic
from mlops.engine.quarantine import elsewhere, entry_for, quarantine_file
from mlops.engine.rollback_decision import RollbackOrder, RolledBack, check, decided
from mlops.engine.state import Environments
from mlops.errors import RefusedError
from mlops.policy.rollback import Rollback, incidents

__all__ = ["RollbackOrder", "RolledBack", "Roller"]

Approve = Callable[[RolledBack], bool]


@dataclass(frozen=True, slots=True)
class Roller:
    """The use case. `approve` sees the moves with their verdicts before they are made, once for
    each set of moves; its no is a refusal."""

    publisher: Publisher
    preflight: Preflight
    approve: Approve = field(default=lambda _: True)

    def roll_back(self, order: RollbackOrder, *, dry_run: bool = False) -> Settled[RolledBack]:
        """Go back, or find that this incident's rollback was made before.

        What was to be left is settled on the first tip: where somebody else moves it meanwhile,
        this is no longer the rollback that was asked for. Raises RefusedError where there is
        nothing good to go back to or a person says no, UsageError for an order that cannot be meant.
        """
        reason = required_reason(order.reason)
        order = replace(order, reason=reason, incident=one_line(order.incident))
        check(order)
        leaving: dict[tuple[str, str], Digest] = {}
        going: dict[tuple[str, str], Digest] = {}
        approved: list[tuple[Rollback, ...]] = []

        def decide(environments: Environments) -> tuple[RolledBack, Change | None]:
            if leaving:  # a lost race: the same models, from the same releases
                overtaken = _overtaken(environments, leaving, going)
                if overtaken is not None:
                    return self._joined(environments, order, overtaken)
            orders = [_asked(order, name, leaving) for name in order.names]
            found = decided(environments, orders, self.publisher.actor)
            if not found.moved:
                return found, None
            leaving.update({(m.environment, m.release.model): m.previous for m in found.moved})
            going.update({(m.environment, m.release.model): m.release.digest for m in found.moved})
            change, found = self._change(environments, order, found)
            if order.preflight:
                found = self._inspected(environments, order, found, change, approved, dry_run)
            return found, change

        return self.publisher.settle(decide, dry_run=dry_run)

    def _joined(
        self, environments: Environments, order: RollbackOrder, found: RolledBack
    ) -> tuple[RolledBack, Change | None]:
        """Where somebody else made the same rollback first, what of this one it lacks: the hold, the
        incident, so that repeating this one finds it done, and the quarantine."""
        files: Files = {}
        for name in dict.fromkeys(move.environment for move in found.moves):
            there = [move for move in found.moves if move.environment == name]
            fresh = _joining(environments, order, there, self.publisher.actor)
            files |= holds_file(environments, name, fresh)
        if order.quarantine:
            entries, notes = _quarantine(environments, order, found.moves, self.publisher.actor)
            files |= quarantine_file(environments, entries)
            found = replace(found, quarantined=entries, notes=(*found.notes, *notes))
        if not files:
            return found, None
        names = tuple(dict.fromkeys(move.environment for move in found.moves))
        releases = [(MODEL, str(move.release)) for move in found.moves]
        message = self.publisher.message(
            f"Hold {', '.join(names)} after a rollback by somebody else",
            "hold",
            [*releases, (REASON, order.reason), (INCIDENT, order.incident)],
            *names,
        )
        about = topic("hold", names, (move.release.model for move in found.moves))
        return found, Change(files, message, about, urgent=True)

    def _inspected(
        self,
        environments: Environments,
        order: RollbackOrder,
        found: RolledBack,
        change: Change,
        approved: list[tuple[Rollback, ...]],
        dry_run: bool,
    ) -> RolledBack:
        targets = [(move.environment, move.release) for move in found.moved]
        if targets in [[(m.environment, m.release) for m in moves] for moves in approved]:
            return found  # the same moves on a newer tip: nobody is asked twice
        by_name = {name: [r for at, r in targets if at == name] for name, _ in targets}
        verdicts = self.preflight.inspect_all(environments, by_name, change.files)
        further = tuple(v for move in found.moved for v in _further(environments, order, move))
        found = replace(found, verdicts=(*further, *verdicts))
        if dry_run:
            return found  # nobody is asked for what is not done
        if not self.approve(found):
            raise RefusedError(
                f"nothing was rolled back: preflight of {', '.join(by_name)} failed",
                hint="Go on in spite of it: --yes, or --skip-preflight",
            )
        approved.append(found.moved)
        return found

    def _change(
        self, environments: Environments, order: RollbackOrder, found: RolledBack
    ) -> tuple[Change, RolledBack]:
        moved = found.moved
        names = tuple(dict.fromkeys(move.environment for move in moved))
        files: Files = {}
        for name in names:
            files |= _files(environments, name, [m for m in moved if m.environment == name])
        if order.quarantine:
            entries, notes = _quarantine(environments, order, moved, self.publisher.actor)
            files |= quarantine_file(environments, entries)
            found = replace(found, quarantined=entries, notes=(*found.notes, *notes))
        targets = ", ".join(dict.fromkeys(move.release.short for move in moved))
        pairs = dict.fromkeys((m.release, m.previous) for m in moved)
        trailers = pin_trailers(environments, list(pairs))
        said = [(REASON, order.reason), (INCIDENT, order.incident)]
        message = self.publisher.message(
            f"Roll back {', '.join(names)} to {targets}", ROLLBACK, [*trailers, *said], *names
        )
        about = topic("rollback", names, (move.release.model for move in moved))
        return Change(files, message, about, urgent=True), found


def _asked(
    order: RollbackOrder, name: str, leaving: Mapping[tuple[str, str], Digest]
) -> RollbackOrder:
    """The order for one of its environments; after a lost race for what it was to leave there."""
    models = tuple(model for at, model in leaving if at == name)
    every = order.every and not models
    return replace(order, environment=name, models=models or order.models, every=every)


def _files(environments: Environments, name: str, moved: Sequence[Rollback]) -> Files:
    """The overlay and the holds of one environment after the moves."""
    to = {move.release.model: move.release.digest for move in moved}
    holds = {hold.model: hold for hold in kept_holds(environments, name, to)}
    holds |= {move.release.model: move.hold for move in moved if move.hold is not None}
    files = pinned_files(environments, name, to)
    return files | holds_file(environments, name, holds.values())


def _further(
    environments: Environments, order: RollbackOrder, move: Rollback
) -> tuple[Verdict, ...]:
    """Whether this goes back further from where a rollback that is still held went: two people, or one
    who pressed twice. Somebody who names a target or a number of steps means it."""
    if order.to or order.at is not None or order.steps != 1:
        return ()
    model = move.release.model
    hold = environments.state(move.environment).hold(model, environments.now)
    row = next(environments.history(move.environment).rows(model), None)
    if hold is None or row is None or (row.action, row.digest) != (ROLLBACK, move.previous):
        return ()
    who = f"{row.actor or row.author} at {row.since:%Y-%m-%dT%H:%M:%SZ}: {row.reason}"
    told = f"{move.environment} was rolled back by {who}; this goes one release further"
    return (Verdict("again", move.release.short, Mark.FAIL, told),)


def _joining(
    environments: Environments, order: RollbackOrder, moves: Sequence[Rollback], actor: str
) -> list[Hold]:
    """The holds that an order asks for, of one environment where somebody else moved the pins: theirs
    with this incident beside the one that it belongs to, ours where none is in force."""
    now = environments.now
    found = []
    for move in moves if order.hold else ():
        model, holds = move.release.model, environments.state(move.environment).holds
        old = next((hold for hold in holds if hold.model == model), None)
        standing = old if old is not None and old.covers(model, now) else None
        known = incidents(standing) if standing else ()
        wanted = dict.fromkeys([*known, *([order.incident] if order.incident else [])])
        fresh = standing or Hold(model, now.replace(microsecond=0), one_line(actor), order.reason)
        fresh = replace(
            fresh,
            digest=move.release.digest,
            until=None,
            incident=", ".join(wanted) or None,
            avoid=tuple(dict.fromkeys((*fresh.avoid, move.previous))),
        )
        if fresh != old:
            found.append(fresh)
    return found


def _overtaken(
    environments: Environments,
    leaving: Mapping[tuple[str, str], Digest],
    going: Mapping[tuple[str, str], Digest],
) -> RolledBack | None:
    """What to say where somebody else moved a pin that this command was to move; None where not.

    Deciding anew would roll back once more, from the release that the other one went back to. It is
    this rollback where all went from where it was to leave to where it was to go.
    """
    moved = [
        (name, model)
        for (name, model), digest in leaving.items()
        if environments.state(name).pins.get(model) != digest
    ]
    if not moved:
        return None
    newest = [next(environments.history(name).rows(model), None) for name, model in moved]
    rows = [row for row in newest if row]
    told = "; ".join(
        f"{row.environment} now pins {row.release.short} ({row.action} by {row.actor or row.author})"
        for row in rows
    )
    if len(moved) == len(leaving) and all(
        row.action == ROLLBACK
        and row.previous == leaving[row.environment, row.model]
        and row.digest == going[row.environment, row.model]
        for row in rows
    ):
        moves = tuple(
            Rollback(row.environment, row.release, leaving[row.environment, row.model], None, True)
            for row in rows
        )
        return RolledBack(
            moves, repeated=True, notes=(f"somebody else rolled back at the same time: {told}",)
        )
    raise RefusedError(
        f"somebody else was faster: {told}",
        hint=f"Look, and decide again: mlops status, mlops history {moved[0][0]}",
    )


def _quarantine(
    environments: Environments, order: RollbackOrder, moves: Sequence[Rollback], actor: str
) -> tuple[tuple[QuarantineEntry, ...], tuple[str, ...]]:
    """The entries for what the moves leave; none forbids what one of them goes back to.

    Quarantine knows no model's name: models that share a digest, or an artifact, share its fate.
    """
    back_to = [move.release for move in moves]
    entries, notes = [], []
    for move in moves:
        left = ReleaseId(move.release.model, move.previous)
        same = next((release for release in back_to if release.digest == left.digest), None)
        if same is not None:
            notes.append(f"{left.short} is not quarantined: {same.short} goes back to that digest")
            continue
        entry, note = entry_for(environments, left, order.reason, actor, back_to=back_to)
        entries.append(entry)
        if note:
            notes.append(note)
        notes += elsewhere(environments, left, [m.environment for m in moves])
    return tuple(entries), tuple(notes)
