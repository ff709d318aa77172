"""One project under watch: wired for `engine.daemon`."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mlops.adapters.children import FiledChild, Nursery
from mlops.adapters.git import mirror
from mlops.adapters.leading import FileLeader
from mlops.cli import opening
from mlops.cli.wiring import Opened
from mlops.domain.lineup import Limits, Queued
from mlops.domain.watching import Seen, Waiting
from mlops.domain.watchlist import Watched
from mlops.engine import claiming, retrying
from mlops.engine.daemon import Looked
from mlops.engine.outcome import Outcome
from mlops.engine.watch import Watcher
from mlops.ports.children import Child

SUPERSEDING = "cancel-superseded"
_STANDBY = 5.0  # seconds until who does not lead tries again


@dataclass
class WatchedProject:
    """Meets `engine.daemon.Watched`. `place` is where its repository is, or its clone is kept."""

    watched: Watched
    place: Path
    executor: str = ""
    options: tuple[str, ...] = ()
    once: bool = False
    _opened: tuple[Opened, Watcher, FileLeader] | None = None
    _seen: tuple[Seen, ...] = ()

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
            return self._looked(opened, watcher)
        finally:
            opened.repository.close()  # a process that waits for the next look is one too many

    def _open(self) -> tuple[Opened, Watcher, FileLeader]:
        if self.watched.url:
            mirror.settle(self.watched.url, self.place)
        opened = replace(opening.open_project(self.place), chosen=self.executor)
        watcher = opened.watcher()
        if self.watched.branches:
            watcher.tracked = replace(watcher.tracked, branches=self.watched.branches)
        return opened, watcher, FileLeader(self._state / "lock", once=self.once)

    def _heed(self, opened: Opened, watcher: Watcher) -> None:
        """Go by the mlops.yaml that is there now."""
        opened.project = opening.open_project(self.place).project
        fresh = opened.watcher()
        branches = self.watched.branches or fresh.tracked.branches
        watcher.tracked = replace(fresh.tracked, branches=branches)
        watcher.transparent = fresh.transparent

    def _looked(self, opened: Opened, watcher: Watcher) -> Looked:
        rules = opened.project.watch
        waiting = watcher.waiting()
        left = {each.run for each in waiting}
        outcomes = [*_standing(self._seen, left), *_put_off(opened, watcher, waiting)]
        dues = [(each.due - opened.now()).total_seconds() for each in waiting if each.due]
        return Looked(
            tuple(self._queued(each) for each in waiting if each.due is None),
            tuple(self._queued(each) for each in watcher.working()),
            Limits(rules.runs, rules.concurrency == SUPERSEDING),
            tuple(outcomes),
            again=min(dues, default=None),
        )

    def _queued(self, each: Waiting) -> Queued:
        return Queued(self.name, each.run, each.model, each.source, each.tip.ref, each.since)

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
            note = (
                f"{queued.source.short}: its process ended with exit code {code}; see {child.log}"
            )
            return Outcome(queued.model, queued.run, "", note, failed=True)


def _standing(seen: Sequence[Seen], left: Collection[str]) -> Iterator[Outcome]:
    """What was decided before, of every tip, and what cannot be decided."""
    for each in seen:
        if each.trouble:
            yield Outcome("", "", "", each.trouble, failed=True)
        for choice in each.choices:
            if choice.run not in left:
                failed = choice.state in (claiming.FAILED, claiming.GIVEN_UP)
                note = f"{choice.source.short} {choice.state}: {choice.why}"
                yield Outcome(choice.model, choice.run, choice.release, note, failed, fresh=False)


def _put_off(opened: Opened, watcher: Watcher, waiting: Sequence[Waiting]) -> Iterator[Outcome]:
    """What waits until its next attempt is due."""
    for each in waiting:
        last = watcher.decision(each) if each.due else None
        kept = retrying.kept_back(each.model, each.source, last, opened.now())
        if kept is not None:
            yield kept
