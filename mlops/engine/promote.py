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
from mlops.engine import placing, references
from mlops.engine.history import kustomization_path
from mlops.engine.hold import holds_file, kept_holds
from mlops.engine.placing import Placement
from mlops.engine.publishing import Change, Publisher, Settled, topic
from mlops.engine.state import Environments
from mlops.errors import (
    ConfigError,
    GitError,
    MlopsError,
    RefusedError,
    RegistryError,
    UsageError,
)
from mlops.manifests import kustomization
from mlops.policy import promotion as policy
from mlops.policy.promotion import Direction, Entry, Promotion
from mlops.policy.refusal import Refusal
from mlops.ports import ImageCopies, SourceReader

Files = dict[str, bytes | None]


@dataclass(frozen=True, slots=True)
class PromoteOrder:
    """What a person asks for. `target` is one environment, or several parted by commas, that move in
    one commit; empty for the environment after the furthest."""

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
    """The use case; `reader` tells which of two sources is the older, `copies` brings images into
    the registries of environments."""

    publisher: Publisher
    reader: SourceReader
    copies: ImageCopies | None = None

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
        placement = Placement(self.copies, self.publisher.say)

        def decide(environments: Environments) -> tuple[tuple[Promotion, ...], Change | None]:
            if not named:
                named.extend(_named(environments, order))
                target[0] = target[0] or _target(environments, named)
            names = [environments.environment(name) for name in target[0].split(",")]
            found = [
                self._decide(environments, name, release, order)
                for name in dict.fromkeys(names)
                for release in named
            ]
            moves = tuple(_allowed(found))
            placement.bring(environments, _moving(moves), dry_run=dry_run)
            return moves, self._change(environments, moves, order.reason)

        return self.publisher.settle(decide, dry_run=dry_run)

    def automatic(
        self, *, dry_run: bool = False, unread: Callable[[MlopsError], None] | None = None
    ) -> tuple[tuple[Settled[tuple[Promotion, ...]], ...], tuple[Left, ...]]:
        """Move what policy lets automation move: one commit for each environment, in promotion
        order. What stays, and why, is the second part of the answer.

        `unread` hears of each environment that cannot be read or whose images cannot be copied, and
        the others go on; without it the first one's error ends the sweep.
        """
        settled, left = [], []
        for name in self.publisher.project.environments:
            stayed: list[Left] = []
            try:
                done = self.publisher.settle(self._sweep(name, stayed, dry_run), dry_run=dry_run)
            except (ConfigError, RegistryError) as exc:
                if unread is None:
                    raise
                unread(exc)
                continue
            left.extend(stayed)
            if done.decision:
                settled.append(done)
        return tuple(settled), tuple(left)

    def _sweep(
        self, name: str, stayed: list[Left], dry_run: bool
    ) -> Callable[[Environments], tuple[tuple[Promotion, ...], Change | None]]:
        placement = Placement(self.copies, self.publisher.say)

        def decide(environments: Environments) -> tuple[tuple[Promotion, ...], Change | None]:
            stayed.clear()
            policies = [environments.policy(name)]
            names = (name, *policies[0].sources)
            pins = {each: environments.state(each).pins for each in names}
            moves = []
            for candidate in policy.auto_candidates(policies, pins):
                found = self._decide(environments, name, candidate.release, None)
                if isinstance(found, Refusal):
                    stayed.append(Left(candidate.release, name, found))
                else:
                    moves.append(found)
            placement.bring(environments, _moving(moves), dry_run=dry_run)
            return tuple(moves), self._change(environments, moves, "")

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
        entering = environments.policy(environment)
        sources = entering.sources
        pinned = state.pins.get(release.model)
        record = environments.record(release)
        target = environments.sound(ReleaseId(release.model, pinned)) if pinned else None
        direction = self._direction(record, target)
        here = environments.history(environment) if direction is Direction.BACK else None
        return Entry(
            release=release,
            record=record,
            policy=entering,
            rules=(*_gates(environments.project, release.model), *entering.gates),
            pinned=pinned,
            target=target,
            direction=direction,
            before=_rows(environments, sources, release.model),
            here=tuple(here.rows(release.model)) if here else (),  # only then is it asked about
            holds=_holds(environments, (environment,), release.model),
            upstream=_holds(environments, sources, release.model),
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
        self, environments: Environments, moves: Iterable[Promotion], reason: str
    ) -> Change | None:
        moved = [move for move in moves if not move.unchanged]
        if not moved:
            return None
        files: Files = {}
        names = tuple(dict.fromkeys(move.environment for move in moved))
        for name in names:
            to = {m.release.model: m.release.digest for m in moved if m.environment == name}
            files |= pinned_files(environments, name, to, anew=True)
            files |= holds_file(environments, name, kept_holds(environments, name, to))
        shown = dict.fromkeys(move.release.short for move in moved)
        pairs = dict.fromkeys((move.release, move.previous) for move in moved)
        message = self.publisher.message(
            f"Promote {', '.join(shown)} to {', '.join(names)}",
            PROMOTE,
            [*pin_trailers(environments, list(pairs)), (REASON, reason)],
            *names,
            body="; ".join(_told(verdict) for move in moved for verdict in move.verdicts),
        )
        return Change(files, message, topic("promote", names, (m.release.model for m in moved)))


def pinned_files(
    environments: Environments, environment: str, to: Mapping[str, Digest], *, anew: bool = False
) -> Files:
    """The environment's kustomization with each model of `to` pinned to its digest.

    `anew`: in the environment's own registry, whatever stood there; else `newName` stays."""
    path = kustomization_path(environments.gitops, environment)
    content = environments.state(environment).kustomization
    for model in sorted(to):
        content = _with_pin(environments, environment, ReleaseId(model, to[model]), content, anew)
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


def _with_pin(
    environments: Environments, environment: str, release: ReleaseId, content: bytes, anew: bool
) -> bytes:
    path = kustomization_path(environments.gitops, environment)
    model = release.model
    if not anew:
        name = placing.kept_name(environments, environment, model)
        return kustomization.with_pin(content, model, release.digest, path, name)
    name = placing.new_name(environments, environment, model)
    own = bool(environments.policy(environment).registry)
    return kustomization.with_pin(content, model, release.digest, path, name, anew=own)


def _moving(moves: Iterable[Promotion]) -> list[tuple[str, ReleaseId]]:
    return [(move.environment, move.release) for move in moves if not move.unchanged]


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
            name
            for name in names
            if environments.state(name).pins.get(release.model) == release.digest
        ]
        targets[release.short] = _after(environments, release, pinning) if pinning else names[0]
    if len(set(targets.values())) > 1:
        told = ", ".join(f"{name} → {target}" for name, target in targets.items())
        raise UsageError(
            f"these would go to different environments: {told}", hint="Name one: --to ENV"
        )
    return next(iter(targets.values()))


def _after(environments: Environments, release: ReleaseId, pinning: Sequence[str]) -> str:
    """What comes after the furthest of the environments that pin a release; itself at the end."""
    policies = [environments.policy(name) for name in environments.names]
    after = policy.following(pinning[-1], policies)
    open_ones = [name for name in after if name not in pinning]
    if len(open_ones) > 1:
        raise UsageError(
            f"after {pinning[-1]}, {release.short} may go to {' or '.join(open_ones)}",
            hint=f"Name one with --to, or all: --to {','.join(open_ones)}",
        )
    return open_ones[0] if open_ones else pinning[-1]


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


def _rows(environments: Environments, names: Iterable[str], model: str) -> tuple[PinRow, ...]:
    return tuple(row for name in names for row in environments.history(name).rows(model))


def _holds(environments: Environments, names: Iterable[str], model: str) -> tuple[Hold, ...]:
    holds = [hold for name in names for hold in environments.state(name).holds]
    covering = [hold for hold in holds if hold.covers(model, environments.now)]
    return tuple(sorted(covering, key=lambda hold: hold.model == "*"))
