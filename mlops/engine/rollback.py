"""Rollback: pin the previous good release and hold what was rolled back, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.domain.history import ROLLBACK, PinRow
from mlops.domain.message import INCIDENT, REASON, one_line
from mlops.domain.reference import TimeReference, When
from mlops.engine import references
from mlops.engine.history import UNSHALLOW
from mlops.engine.hold import holds_file, kept_holds, required_reason
from mlops.engine.preflight import Preflight, Verdict
from mlops.engine.promote import pin_trailers, pinned_files, refused
from mlops.engine.publishing import Change, Publisher, Settled
from mlops.engine.quarantine import entry_for, quarantine_file
from mlops.engine.state import Environments
from mlops.errors import RefusedError, UsageError
from mlops.policy import rollback as policy
from mlops.policy.refusal import Ground, Refusal
from mlops.policy.rollback import Rollback


@dataclass(frozen=True, slots=True)
class RollbackOrder:
    """What a person asks for. Without `models`: what the environment's last pin-moving commit
    moved, or with `every` all that it pins. `to` and `at` name targets, else `steps` back."""

    environment: str
    models: tuple[str, ...] = ()
    every: bool = False
    to: str = ""
    at: When | None = None
    steps: int = 1
    reason: str = ""
    incident: str = ""
    hold: bool = True
    quarantine: bool = False
    preflight: bool = True
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class RolledBack:
    """How it went: `moves`, all of them, or those of an earlier command that was repeated.

    `left` are models that `every` passed over, with the reason; `notes` is what people must know.
    """

    environment: str
    moves: tuple[Rollback, ...] = ()
    repeated: bool = False
    quarantined: tuple[QuarantineEntry, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    left: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[Rollback, ...]:
        return tuple(move for move in self.moves if not move.unchanged)


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
        _meant(order)
        leaving: dict[str, Digest] = {}
        approved: list[tuple[Rollback, ...]] = []

        def decide(environments: Environments) -> tuple[RolledBack, Change | None]:
            if leaving:  # a lost race: the same models, from the same releases
                overtaken = _overtaken(environments, order.environment, leaving)
                if overtaken is not None:
                    return overtaken, None
            models = tuple(leaving) or order.models
            asked = replace(order, models=models, every=order.every and not leaving)
            found = _Decision(environments, asked, self.publisher.actor).made()
            if not found.moved:
                return found, None
            leaving.update({move.release.model: move.previous for move in found.moved})
            change, found = self._change(environments, order, found)
            if order.preflight and not dry_run:
                found = self._inspected(environments, found, change, approved)
            return found, change

        return self.publisher.settle(decide, dry_run=dry_run)

    def _inspected(
        self,
        environments: Environments,
        found: RolledBack,
        change: Change,
        approved: list[tuple[Rollback, ...]],
    ) -> RolledBack:
        targets = [move.release for move in found.moved]
        if targets in [[move.release for move in moves] for moves in approved]:
            return found  # the same moves on a newer tip: nobody is asked twice
        verdicts = self.preflight.inspect(environments, found.environment, targets, change.files)
        found = replace(found, verdicts=verdicts)
        if not self.approve(found):
            raise RefusedError(
                f"not rolled back: preflight of {found.environment} failed",
                hint="Go on in spite of it: --yes, or --skip-preflight",
            )
        approved.append(found.moved)
        return found

    def _change(
        self, environments: Environments, order: RollbackOrder, found: RolledBack
    ) -> tuple[Change, RolledBack]:
        name, moved = order.environment, found.moved
        to = {move.release.model: move.release.digest for move in moved}
        holds = {hold.model: hold for hold in kept_holds(environments, name, to)}
        holds |= {move.release.model: move.hold for move in moved if move.hold is not None}
        files = pinned_files(environments, name, to)
        files |= holds_file(environments, name, holds.values())
        if order.quarantine:
            entries, notes = _quarantine(environments, order, moved, self.publisher.actor)
            files |= quarantine_file(environments, entries)
            found = replace(found, quarantined=entries, notes=(*found.notes, *notes))
        targets = ", ".join(move.release.short for move in moved)
        trailers = pin_trailers(environments, [(m.release, m.previous) for m in moved])
        said = [(REASON, order.reason), (INCIDENT, order.incident)]
        message = self.publisher.message(
            f"Roll back {name} to {targets}", ROLLBACK, [*trailers, *said], name
        )
        return Change(files, message), found


@dataclass(frozen=True, slots=True)
class _Decision:
    """One order on one tip."""

    environments: Environments
    order: RollbackOrder
    actor: str

    def made(self) -> RolledBack:
        name = self.order.environment
        repeated = self._repeated()
        if repeated:
            return RolledBack(name, repeated, repeated=True)
        found = [self._decide(model) for model in self._models()]
        refusals = [each for each in found if isinstance(each, Refusal)]
        moves = tuple(each for each in found if isinstance(each, Rollback))
        changing = [move for move in moves if not move.unchanged]
        if refusals and not (self.order.every and moves):
            raise self._refused(refusals, changing)
        return RolledBack(name, moves, repeated=not changing, left=tuple(refusals))

    def _models(self) -> tuple[str, ...]:
        name, state = self.order.environment, self.environments.state(self.order.environment)
        if self.order.to:
            return (self._target(self.order.to).model,)
        if self.order.models:
            return tuple(dict.fromkeys(self.environments.model(m) for m in self.order.models))
        if self.order.every:
            models = tuple(sorted(state.pins))
        else:
            rows = self.environments.history(name).last_moved()
            models = tuple(row.model for row in rows if row.model in state.pins)
        if not models:
            raise RefusedError(f"{name} pins nothing", hint=f"See: mlops history {name}")
        return models

    def _target(self, text: str) -> ReleaseId:
        found = references.release(self.environments, text, self.order.zone)
        if self.order.models and set(self.order.models) != {found.model}:
            raise UsageError(
                f"--to names {found.model}, not {', '.join(self.order.models)}",
                hint="Roll back one model with --to",
            )
        return found

    def _decide(self, model: str) -> Rollback | Refusal:
        environments, order = self.environments, self.order
        state = environments.state(order.environment)
        past = environments.history(order.environment)
        own = next((hold for hold in state.holds if hold.model == model), None)
        situation = policy.Situation(
            environment=order.environment,
            model=model,
            current=state.pins.get(model),
            rows=tuple(past.rows(model)),
            record=lambda digest: environments.sound(ReleaseId(model, digest)),
            quarantine=environments.quarantine,
            hold=own,
        )
        try:
            target = self._explicit(model)
        except RefusedError as exc:
            return Refusal(Ground.HISTORY, exc.message, exc.hint)
        asked = policy.Order(
            actor=one_line(self.actor),
            reason=order.reason,
            now=environments.now.replace(microsecond=0),
            steps=order.steps,
            to=target,
            incident=order.incident or None,
            hold=order.hold,
        )
        found = policy.decide(situation, asked)
        if isinstance(found, Refusal) and found.ground is Ground.HISTORY and past.cut_off:
            return Refusal(Ground.HISTORY, past.cut_off, UNSHALLOW)
        if isinstance(found, Rollback):
            past.doubt(model)
        return found

    def _explicit(self, model: str) -> Digest | None:
        if self.order.to:
            return self._target(self.order.to).digest
        if self.order.at is None:
            return None
        reference = TimeReference(model, self.order.environment, self.order.at)
        return references.resolve(self.environments, reference).digest

    def _repeated(self) -> tuple[Rollback, ...]:
        """The moves that this incident's rollback made before, where this is that command again.

        Whatever moved since: a runbook that fires twice must not roll back the fix.
        """
        order = self.order
        if not order.incident:
            return ()
        rows = self.environments.history(order.environment).rows()
        before = [row for row in rows if row.action == ROLLBACK and row.incident == order.incident]
        if order.to:
            wanted = self._target(order.to)
            before = [row for row in before if row.release == wanted]
        models = {row.model for row in before}
        if not before or not set(order.models) <= models:
            return ()
        if order.at is not None and any(self._explicit(row.model) != row.digest for row in before):
            return ()
        wanted_models = set(order.models) or models
        return tuple(self._was(row) for row in before if row.model in wanted_models)

    def _was(self, row: PinRow) -> Rollback:
        holds = self.environments.state(row.environment).holds
        hold = next((hold for hold in holds if hold.model == row.model), None)
        previous = row.previous or row.digest
        return Rollback(row.environment, row.release, previous, hold, unchanged=True)

    def _refused(self, refusals: list[Refusal], others: Iterable[Rollback]) -> RefusedError:
        models = [move.release.model for move in others]
        if not models or self.order.models:
            return refused(refusals)
        told = "; ".join(refusal.reason for refusal in refusals)
        command = f"mlops rollback {self.order.environment} {' '.join(models)}"
        return RefusedError(told, hint=f"Roll back the rest alone: {command}")


def _meant(order: RollbackOrder) -> None:
    """Raises UsageError for an order that contradicts itself."""
    chosen = [bool(order.to), order.at is not None, order.steps != 1]
    if sum(chosen) > 1:
        raise UsageError("--to, --at and --steps exclude each other", hint="Give one of them")
    if order.steps < 1:
        raise UsageError(f"--steps {order.steps} goes nowhere", hint="Give 1 or more")
    if order.every and (order.models or order.to):
        raise UsageError("--all is every model", hint="Leave out MODEL and --to, or --all")


def _overtaken(
    environments: Environments, name: str, leaving: Mapping[str, Digest]
) -> RolledBack | None:
    """What to say where somebody else moved a pin that this command was to move; None where not.

    Deciding anew would roll back once more, from the release that the other one went back to.
    """
    pins = environments.state(name).pins
    moved = [model for model, digest in leaving.items() if pins.get(model) != digest]
    if not moved:
        return None
    history = environments.history(name)
    rows = [row for row in (next(history.rows(model), None) for model in moved) if row]
    told = "; ".join(
        f"{row.environment} now pins {row.release.short} ({row.action} by {row.actor or row.author})"
        for row in rows
    )
    if len(moved) == len(leaving) and all(
        row.action == ROLLBACK and row.previous == leaving[row.model] for row in rows
    ):
        return RolledBack(
            name, repeated=True, notes=(f"somebody else rolled back at the same time: {told}",)
        )
    raise RefusedError(
        f"somebody else was faster: {told}",
        hint=f"Look, and decide again: mlops status, mlops history {name}",
    )


def _quarantine(
    environments: Environments, order: RollbackOrder, moves: Iterable[Rollback], actor: str
) -> tuple[tuple[QuarantineEntry, ...], tuple[str, ...]]:
    entries, notes = [], []
    for move in moves:
        left = ReleaseId(move.release.model, move.previous)
        entry, note = entry_for(environments, left, order.reason, actor, back_to=[move.release])
        entries.append(entry)
        if note:
            notes.append(note)
    return tuple(entries), tuple(notes)
