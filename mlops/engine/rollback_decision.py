"""A rollback, decided on one tip: what goes back where, or what was done before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.domain.history import ROLLBACK, PinRow
from mlops.domain.message import one_line
from mlops.domain.reference import TimeReference, When
from mlops.engine import references
from mlops.engine.history import UNSHALLOW
from mlops.engine.preflight import Verdict
from mlops.engine.promote import refused
from mlops.engine.state import Environments
from mlops.errors import RefusedError, UsageError
from mlops.policy import rollback as policy
from mlops.policy.refusal import Ground, Refusal
from mlops.policy.rollback import Rollback


@dataclass(frozen=True, slots=True)
class RollbackOrder:
    """What a person asks for. `environment` is one, or several parted by commas, that go back in one
    commit. Without `models`: what the environment's last pin-moving commit moved, or with `every`
    all that it pins. `to` and `at` name targets, else `steps` back."""

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

    @property
    def names(self) -> tuple[str, ...]:
        """The environments, each once, as they were named."""
        return tuple(dict.fromkeys(self.environment.split(",")))


@dataclass(frozen=True, slots=True)
class RolledBack:
    """How it went: `moves`, all of them, or those of an earlier command that was repeated.

    `left` are models that `every` passed over, with the reason; `notes` is what people must know.
    """

    moves: tuple[Rollback, ...] = ()
    repeated: bool = False
    quarantined: tuple[QuarantineEntry, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    left: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[Rollback, ...]:
        return tuple(move for move in self.moves if not move.unchanged)


def decided(environments: Environments, orders: Sequence[RollbackOrder], actor: str) -> RolledBack:
    """All orders, one for each environment, or none of them.

    Raises RefusedError with every reason, and how to roll back the rest alone.
    """
    found: dict[str, RolledBack] = {}
    refusals: dict[str, RefusedError] = {}
    for order in orders:
        try:
            found[order.environment] = Decision(environments, order, actor).made()
        except RefusedError as exc:
            refusals[order.environment] = exc
    if refusals:
        raise _none_of(refusals, found, several=len(orders) > 1)
    parts = found.values()
    return RolledBack(
        moves=tuple(move for part in parts for move in part.moves),
        repeated=all(part.repeated for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
        left=tuple(refusal for part in parts for refusal in part.left),
    )


def _none_of(
    refusals: dict[str, RefusedError], found: dict[str, RolledBack], *, several: bool
) -> RefusedError:
    first = next(iter(refusals.values()))
    if not several:
        return first
    told = "; ".join(exc.message for exc in refusals.values())
    moves = [move for part in found.values() for move in part.moved]
    rest = ",".join(dict.fromkeys(move.environment for move in moves))
    models = " ".join(dict.fromkeys(move.release.model for move in moves))
    command = f"mlops rollback {rest} {models} --reason TEXT"
    hint = f"Roll back the rest alone: {command}" if rest else first.hint
    return RefusedError(f"nothing was rolled back: {told}", hint=hint)


@dataclass(frozen=True, slots=True)
class Decision:
    """One order for one environment, on one tip."""

    environments: Environments
    order: RollbackOrder
    actor: str

    def made(self) -> RolledBack:
        repeated = self._repeated()
        self._undone(repeated)
        notes = tuple(self._since(repeated))
        if repeated and not self.order.every:
            return RolledBack(repeated, repeated=True, notes=notes)
        before = {move.release.model for move in repeated}
        found = [self._decide(model) for model in self._models() if model not in before]
        refusals = [each for each in found if isinstance(each, Refusal)]
        moves = (*repeated, *(each for each in found if isinstance(each, Rollback)))
        changing = [move for move in moves if not move.unchanged]
        if refusals and not (self.order.every and moves):
            raise self._refused(refusals, changing)
        notes = (*notes, *(note for move in changing if (note := self._passed_over(move))))
        return RolledBack(moves, repeated=not changing, left=tuple(refusals), notes=notes)

    def _undone(self, repeated: Iterable[Rollback]) -> None:
        """Raise RefusedError where what this incident left is pinned again: "nothing changed" would
        read as if all were well."""
        pins = self.environments.state(self.order.environment).pins
        for move in repeated:
            release = ReleaseId(move.release.model, move.previous)
            if pins.get(release.model) != move.previous:
                continue
            row = next(self.environments.history(move.environment).rows(release.model))
            raise RefusedError(
                f"{move.environment} was rolled back from {release.short} for"
                f" {self.order.incident}, and pins it again ({row.action} by {row.actor or row.author})",
                hint="If it is bad again, that is another incident: name it, or leave --incident out",
            )

    def _since(self, repeated: Iterable[Rollback]) -> Iterable[str]:
        """What people must know where this incident's rollback was made before."""
        pins = self.environments.state(self.order.environment).pins
        for move in repeated:
            now = pins.get(move.release.model)
            if now is not None and now != move.release.digest:
                short = ReleaseId(move.release.model, now).short
                yield f"{move.environment} has moved on since, and pins {short}"
            elif self.order.steps != 1:
                yield "to go further back: --to REF, or another --incident"

    def _passed_over(self, move: Rollback) -> str:
        """What stood before and is not gone back to, as a rollback left it once; empty elsewhere."""
        if self.order.to or self.order.at is not None:
            return ""
        rows = list(self.environments.history(move.environment).rows(move.release.model))
        stood = next((row.previous for row in rows if row.digest == move.previous), None)
        left = {row.previous for row in rows if row.action == ROLLBACK}
        if stood is None or stood == move.release.digest or stood not in left:
            return ""
        return f"{ReleaseId(move.release.model, stood).short} is passed over: a rollback left it before"

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
        if not models:
            return refused(refusals)
        told = "; ".join(refusal.reason for refusal in refusals)
        command = f"mlops rollback {self.order.environment} {' '.join(models)} --reason TEXT"
        hint = f"Roll back the rest alone: {command}"
        return RefusedError(f"nothing was rolled back: {told}", hint=hint)


def check(order: RollbackOrder) -> None:
    """Raises UsageError for an order that contradicts itself."""
    chosen = [bool(order.to), order.at is not None, order.steps != 1]
    if sum(chosen) > 1:
        raise UsageError("--to, --at and --steps exclude each other", hint="Give one of them")
    if ", " in order.incident:
        raise UsageError(
            f"{order.incident!a} cannot name an incident", hint="An ID holds no comma and space"
        )
    if order.steps < 1:
        raise UsageError(f"--steps {order.steps} goes nowhere", hint="Give 1 or more")
    if order.every and (order.models or order.to):
        raise UsageError("--all is every model", hint="Leave out MODEL and --to, or --all")
