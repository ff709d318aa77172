"""One project under watch: wired for `engine.daemon`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from mlops.adapters import pods
from mlops.adapters.children import FiledChild, Nursery
from mlops.adapters.git import mirror
from mlops.adapters.leading import FileLeader
from mlops.cli import opening, runs_place, triggers, wiring_cluster, wiring_watch
from mlops.cli.upkeeping import Upkeeping
from mlops.cli.wiring import Opened
from mlops.cli.wiring_forge import Forges
from mlops.cli.wiring_pulls import WatchedPulls
from mlops.domain.lineup import Limits, Queued
from mlops.domain.run import Ending
from mlops.domain.watching import Seen, Waiting
from mlops.domain.watchlist import Watched
from mlops.engine import claiming, retrying
from mlops.engine.daemon import Looked
from mlops.engine.outcome import Outcome
from mlops.engine.triggers import Asked
from mlops.engine.watch import Watcher
from mlops.errors import MlopsError, RefusedError
from mlops.policy import lineup
from mlops.ports.children import Child, Leader

_TRIES = 60
_AGAIN = 1.0  # seconds until a run that has not begun is asked to end again
_LEASE = 60.0  # seconds that a lease lasts at least
_STANDBY = 5.0  # seconds until who does not lead tries again


@dataclass
class WatchedProject:
    """Meets `engine.daemon.Watched`. `place` is where its repository is, or its clone is kept."""

    watched: Watched
    place: Path
    executor: str = ""
    options: tuple[str, ...] = ()
    once: bool = False
    _opened: tuple[Opened, Watcher, Leader] | None = None
    _upkeep: Upkeeping | None = None
    _seen: tuple[Seen, ...] = ()
    _triggered: bool = True  # whether triggers are to be asked
    _gone: dict[str, str] = field(default_factory=dict)  # run → what superseded it
    _ending: dict[str, int] = field(default_factory=dict)  # run → how often to ask it to end
    _forges: Forges = field(default_factory=Forges)
    _pulls: WatchedPulls = field(init=False)

    def __post_init__(self) -> None:
        self._pulls = WatchedPulls(self.place, self.watched.branches)

    @property
    def name(self) -> str:
        return self.watched.name

    @property
    def interval(self) -> float:
        return self.watched.interval

    @property
    def _state(self) -> Path:
        return self.place / ".mlops" / "watch"

    @property
    def urls(self) -> tuple[str, ...]:
        """By what a delivery may call its repository; before the first look what the file says."""
        own = self._opened[0].repository.remote_url() if self._opened else None
        return tuple(filter(None, (self.watched.url, own, str(self.place))))

    def look(self) -> Looked:
        opened, watcher, leader = self._opened = self._opened or self._open()
        other = leader.other()
        if other and not self.once:
            return Looked(leader=other, again=_STANDBY)
        try:
            if other:  # decided now, and carried out in its turn
                watcher.look()
                other = leader.succeed()
            if other:
                return Looked(leader=other)
            seen = watcher.look()
            if seen != self._seen:
                self._heed(opened, watcher)
            self._seen = seen
            branches = watcher.tracked.branches
            asked = self._asked(opened, branches) if self._triggered else ()
            if any(not each.failed for each in asked):
                self._seen = watcher.look()  # the claims that were queued are to be seen
            self._give_way(opened, watcher)
            self._forges.tell(opened, watcher.decisions(), branches if self._triggered else None)
            self._pulls.look(opened)
            return self._looked(opened, watcher, triggers.troubles(asked))
        finally:
            opened.repository.close()  # a process that waits for the next look is one too many

    def _asked(self, opened: Opened, branches: Sequence[str]) -> tuple[Asked, ...]:
        """What triggers asked for, with no push."""
        self._upkeep = self._upkeep or Upkeeping(self.place, self._state / "logs", self.once)
        return (*self._upkeep.look(opened, branches), *triggers.ask(opened, branches))

    def resign(self) -> None:
        """Let another watcher lead."""
        if self._opened is not None:
            with contextlib.suppress(MlopsError):  # then it waits until the lease is over
                self._opened[2].resign()

    def finish(self) -> None:
        """Wait for what speaks to others, not for long."""
        self._forges.finish()
        self._pulls.finish()

    def _open(self) -> tuple[Opened, Watcher, Leader]:
        if self.watched.url:
            mirror.settle(self.watched.url, self.place)
        opened = replace(opening.open_project(self.place), chosen=self.executor)
        watcher = wiring_watch.watcher(opened)
        if self.watched.branches:
            watcher.tracked = replace(watcher.tracked, branches=self.watched.branches)
        return opened, watcher, self._leads(opened)

    def _leads(self, opened: Opened) -> Leader:
        """By a Lease in a cluster, where a clone is each pod's own, and else by a lock file."""
        if opened.on_cluster and pods.inside():
            lasts = max(3 * self.interval, _LEASE)
            return wiring_cluster.leader(
                opened.project, f"mlops-watch-{opened.project.name}", lasts
            )
        return FileLeader(self._state / "lock", once=self.once)

    def _heed(self, opened: Opened, watcher: Watcher) -> None:
        """Go by the mlops.yaml that is there now."""
        opened.project = opening.open_project(self.place).project
        fresh = wiring_watch.watcher(opened)
        branches = self.watched.branches or fresh.tracked.branches
        fresh.tracked = replace(fresh.tracked, branches=branches)
        watcher.heed(fresh)
        self._triggered = triggers.has_any(opened, branches)

    def _give_way(self, opened: Opened, watcher: Watcher) -> None:
        """End older runs for newer tips of their ref, where the project wants it so."""
        waiting = [self._queued(each, watcher) for each in watcher.waiting()]
        working = [self._queued(each, watcher) for each in watcher.working()]
        limits = {self.name: _limits(opened)}
        found = lineup.superseded(waiting, working, limits)
        reasons = {each.queued.run: f"superseded by {each.by.short}" for each in found}
        won = watcher.supersede(reasons, begun=True) if reasons else frozenset()
        self._gone |= {run: reasons[run] for run in won}
        self._ending |= dict.fromkeys(
            (each.queued.run for each in found if each.working and each.queued.run in won), _TRIES
        )
        for run, tries in tuple(self._ending.items()):
            self._ending[run] = 0 if self._end(run) else tries - 1
        self._ending = {run: tries for run, tries in self._ending.items() if tries > 0}

    def _end(self, run: str) -> bool:
        """Whether a run was asked to end, or is over; it may not have begun yet, though it is about to."""
        try:
            kept = runs_place.executor(runs_place.here(self.place, self.executor))
            kept.cancel(run, Ending.CANCELLED)
        except RefusedError:  # it is over
            return True
        except MlopsError:
            return False
        return True

    def _looked(self, opened: Opened, watcher: Watcher, troubles: Iterable[Outcome]) -> Looked:
        waiting = watcher.waiting()
        left = {each.run for each in waiting}
        outcomes = [*troubles, *_standing(self._seen, left), *_put_off(opened, watcher, waiting)]
        dues = [(each.due - opened.now()).total_seconds() for each in waiting if each.due]
        return Looked(
            tuple(self._queued(each, watcher) for each in waiting if each.due is None),
            tuple(self._queued(each, watcher) for each in watcher.working()),
            _limits(opened),
            tuple(outcomes),
            again=min([*dues, *(_AGAIN for _ in self._ending)], default=None),
        )

    def _queued(self, each: Waiting, watcher: Watcher) -> Queued:
        decision = watcher.decision(each)
        asked = decision is not None and bool(decision.trigger)
        ref = "" if asked else each.tip.ref  # what was asked for is no newer tip, nor an older one
        return Queued(self.name, each.run, each.model, each.source, ref, each.since)

    def begin(self, queued: Queued) -> FiledChild:
        argv = [sys.executable, "-m", "mlops", "run", queued.source.sha, "--model", queued.model]
        argv += ["--patient", "--output", "json", "--repo", str(self.place), *self.options]
        if self.executor:
            argv += ["--executor", self.executor]
        return Nursery(self._state / "logs").start(queued.run, argv)

    def outcome(self, queued: Queued, code: int, child: Child) -> Outcome:
        try:
            (told,) = json.loads(child.answer())
            due = datetime.fromisoformat(told["due"]) if told["due"] else None
            return Outcome(
                queued.model,
                told["run"],
                told["release"] or "",
                told["note"],
                told["failed"],
                told["fresh"],
                due=due,
            )
        except (ValueError, KeyError, TypeError):
            if queued.run in self._gone:
                note = f"{queued.source.short} was {self._gone[queued.run]}"
                return Outcome(queued.model, queued.run, "", note)
            note = (
                f"{queued.source.short}: its process ended with exit code {code}; see {child.log}"
            )
            return Outcome(queued.model, queued.run, "", note, failed=True)


def _limits(opened: Opened) -> Limits:
    rules = opened.project.watch
    return Limits(rules.runs, rules.concurrency == "cancel-superseded")


def _standing(seen: Sequence[Seen], left: Collection[str]) -> Iterator[Outcome]:
    """What was decided before, of every tip, and what cannot be decided."""
    for each in seen:
        if each.trouble:
            yield Outcome("", "", "", each.trouble, failed=True)
        for choice in each.choices:
            if choice.run not in left:
                failed = choice.state in (claiming.FAILED, claiming.GIVEN_UP)
                said = "" if choice.why.startswith("nothing to do") else f" {choice.state}"
                note = f"{choice.source.short}{said}: {choice.why}"
                yield Outcome(choice.model, choice.run, choice.release, note, failed, fresh=False)


def _put_off(opened: Opened, watcher: Watcher, waiting: Sequence[Waiting]) -> Iterator[Outcome]:
    """What waits until its next attempt is due."""
    for each in waiting:
        last = watcher.decision(each) if each.due else None
        kept = retrying.kept_back(each.model, each.source, last, opened.now())
        if kept is not None:
            yield kept
