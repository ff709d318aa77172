"""Promotion: move releases on to the next environment, all of one command in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import GateRule, Hold
from mlops.domain.history import PROMOTE, PinRow
from mlops.domain.message import MODEL, PREVIOUS, REASON, RUN, SOURCE
from mlops.domain.project import Project
from mlops.domain.release import GateVerdict, ReleaseRecord
from mlops.engine import references
from mlops.engine.history import kustomization_path
from mlops.engine.hold import holds_file, kept_holds
from mlops.engine.publishing import Change, Publisher, Settled
from mlops.engine.state import Environments
from mlops.errors import GitError, RefusedError, UsageError
from mlops.manifests import kustomization
from mlops.policy import promotion as policy
from mlops.policy.promotion import Direction, Entry, Promotion
from mlops.policy.refusal import Refusal
from mlops.ports import SourceReader

Files = dict[str, bytes | None]


@dataclass(frozen=True, slots=True)
class PromoteOrder:
    """What a person asks for. `target` is empty for the environment after the furthest."""

    references: tuple[str, ...]
    target: str = ""
    despite_hold: bool = False
    reason: str = ""
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """What automation left as it was, and why."""

    release: ReleaseId
    environment: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Promoter:
    """The use case; `reader` tells which of two sources is the older."""

    publisher: Publisher
    reader: SourceReader

    def promote(
        self, order: PromoteOrder, *, dry_run: bool = False
    ) -> Settled[tuple[Promotion, ...]]:
        """Promote every release of the order, or none.

        References are resolved once, on the first tip, and policy is asked again on every tip.
        Raises RefusedError where policy refuses one, UsageError for references that name nothing
        or do not go together.
        """
        named: list[ReleaseId] = []
        target = [order.target]

        def decide(environments: Environments) -> tuple[tuple[Promotion, ...], Change | None]:
            if not named:
                named.extend(_named(environments, order))
                target[0] = target[0] or _target(environments, named)
            environment = environments.environment(target[0])
            found = [self._decide(environments, environment, r, order) for r in named]
            moves = tuple(_allowed(found))
            return moves, self._change(environments, environment, moves, order.reason)

        return self.publisher.settle(decide, dry_run=dry_run)

    def automatic(
        self, *, dry_run: bool = False
    ) -> tuple[tuple[Settled[tuple[Promotion, ...]], ...], tuple[Left, ...]]:
        """Move what policy lets automation move: one commit for each environment, in promotion
        order. What stays, and why, is the second part of the answer."""
        settled, left = [], []
        for name in self.publisher.project.environments:
            stayed: list[Left] = []
            done = self.publisher.settle(self._sweep(name, stayed), dry_run=dry_run)
            left.extend(stayed)
            if done.decision:
                settled.append(done)
        return tuple(settled), tuple(left)

    def _sweep(
        self, name: str, stayed: list[Left]
    ) -> Callable[[Environments], tuple[tuple[Promotion, ...], Change | None]]:
        def decide(environments: Environments) -> tuple[tuple[Promotion, ...], Change | None]:
            stayed.clear()
            policies = [environments.state(name).policy]
            source = policies[0].source
            pins = {each: environments.state(each).pins for each in (name, source) if each}
            moves = []
            for candidate in policy.auto_candidates(policies, pins):
                found = self._decide(environments, name, candidate.release, None)
                if isinstance(found, Refusal):
                    stayed.append(Left(candidate.release, name, found))
                else:
                    moves.append(found)
            return tuple(moves), self._change(environments, name, moves, "")

        return decide

    def _decide(
        self,
        environments: Environments,
        environment: str,
        release: ReleaseId,
        order: PromoteOrder | None,
    ) -> Promotion | Refusal:
        """Ask policy; automation asks without an order."""
        entry = self._entry(environments, environment, release)
        return policy.decide(
            entry,
            environments.now,
            automatic=order is None,
            despite_hold=order is not None and order.despite_hold,
        )

    def _entry(self, environments: Environments, environment: str, release: ReleaseId) -> Entry:
        state = environments.state(environment)
        source = state.policy.source
        pinned = state.pins.get(release.model)
        record = environments.record(release)
        target = environments.sound(ReleaseId(release.model, pinned)) if pinned else None
        direction = self._direction(record, target)
        back = direction is Direction.BACK  # else nobody asks what was here before
        return Entry(
            release=release,
            record=record,
            policy=state.policy,
            rules=(*_gates(environments.project, release.model), *state.policy.gates),
            pinned=pinned,
            target=target,
            direction=direction,
            before=_rows(environments, source, release.model),
            here=_rows(environments, environment if back else None, release.model),
            holds=_holds(environments, environment, release.model),
            upstream=_holds(environments, source, release.model),
            quarantine=environments.quarantine,
        )

    def _direction(self, record: ReleaseRecord | None, target: ReleaseRecord | None) -> Direction:
        if record is None or target is None:
            return Direction.ASIDE
        new, old = record.source, target.source
        if new == old:
            return Direction.SAME
        try:
            if not (self.reader.has(new) and self.reader.has(old)):
                return Direction.ASIDE
            if self.reader.is_ancestor(new, old):
                return Direction.BACK
            return Direction.FORWARD if self.reader.is_ancestor(old, new) else Direction.ASIDE
        except GitError:  # a shallow clone may lack what lies between
            return Direction.ASIDE

    def _change(
        self,
        environments: Environments,
        environment: str,
        moves: Iterable[Promotion],
        reason: str,
    ) -> Change | None:
        moved = [move for move in moves if not move.unchanged]
        if not moved:
            return None
        to = {move.release.model: move.release.digest for move in moved}
        files = pinned_files(environments, environment, to)
        files |= holds_file(environments, environment, kept_holds(environments, environment, to))
        subject = f"Promote {', '.join(m.release.short for m in moved)} to {environment}"
        trailers = pin_trailers(environments, [(move.release, move.previous) for move in moved])
        message = self.publisher.message(
            subject,
            PROMOTE,
            [*trailers, (REASON, reason)],
            environment,
            body="; ".join(_told(verdict) for move in moved for verdict in move.verdicts),
        )
        return Change(files, message)


def pinned_files(environments: Environments, environment: str, to: Mapping[str, Digest]) -> Files:
    """The environment's kustomization with each model of `to` pinned to its digest."""
    path = kustomization_path(environments.gitops, environment)
    content = environments.state(environment).kustomization
    for model in sorted(to):
        new_name = _new_name(environments.project, model)
        content = kustomization.with_pin(content, model, to[model], path, new_name)
    return {path: content}


def pin_trailers(
    environments: Environments, moves: Sequence[tuple[ReleaseId, Digest | None]]
) -> list[tuple[str, str]]:
    """What every commit of ours that moves pins says of each: release, previous, source, run."""
    found = []
    for release, previous in moves:
        found.append((MODEL, str(release)))
        if previous is not None:
            found.append((PREVIOUS, str(ReleaseId(release.model, previous))))
        record = environments.sound(release)
        if record is not None:
            found += [(SOURCE, record.source.sha), (RUN, record.run)]
    return found


def _new_name(project: Project, model: str) -> str | None:
    """Where the image lies; the embedded layout has no valid image name to write."""
    return None if project.layout is not None else f"{project.registry}/{model}"


def _named(environments: Environments, order: PromoteOrder) -> list[ReleaseId]:
    zone = [order.zone] if order.zone else []
    found = [references.release(environments, text, *zone) for text in order.references]
    named = list(dict.fromkeys(found))
    models = [release.model for release in named]
    twice = next((model for model in models if models.count(model) > 1), None)
    if twice is not None:
        raise UsageError(
            f"these are {models.count(twice)} releases of {twice}", hint="Promote one of them"
        )
    return named


def _target(environments: Environments, releases: Iterable[ReleaseId]) -> str:
    """The environment after the furthest that pins the releases; the last where that one does."""
    targets: dict[str, str] = {}
    for release in releases:
        names = environments.names
        pinning = [
            at
            for at, name in enumerate(names)
            if environments.state(name).pins.get(release.model) == release.digest
        ]
        after = pinning[-1] + 1 if pinning else 0
        targets[release.short] = names[min(after, len(names) - 1)]
    if len(set(targets.values())) > 1:
        told = ", ".join(f"{name} → {target}" for name, target in targets.items())
        raise UsageError(
            f"these would go to different environments: {told}", hint="Name one: --to ENV"
        )
    return next(iter(targets.values()))


def _allowed(found: Sequence[Promotion | Refusal]) -> list[Promotion]:
    """All of them, or RefusedError with every reason."""
    refusals = [each for each in found if isinstance(each, Refusal)]
    if refusals:
        raise refused(refusals)
    return [each for each in found if isinstance(each, Promotion)]


def _told(verdict: GateVerdict) -> str:
    value = "" if verdict.value is None else f" is {verdict.value:.6g}"
    return f"gate {verdict.rule}:{value} {verdict.verdict}"


def refused(refusals: Sequence[Refusal]) -> RefusedError:
    """The error of one refusal or several; of several the first one's next step is named."""
    reasons = "; ".join(refusal.reason for refusal in refusals)
    return RefusedError(reasons, hint=refusals[0].hint)


def _gates(project: Project, model: str) -> tuple[GateRule, ...]:
    return next((entry.gates for entry in project.models if entry.name == model), ())


def _rows(environments: Environments, environment: str | None, model: str) -> tuple[PinRow, ...]:
    return tuple(environments.history(environment).rows(model)) if environment else ()


def _holds(environments: Environments, environment: str | None, model: str) -> tuple[Hold, ...]:
    if environment is None:
        return ()
    holds = environments.state(environment).holds
    covering = [hold for hold in holds if hold.covers(model, environments.now)]
    return tuple(sorted(covering, key=lambda hold: hold.model == "*"))
