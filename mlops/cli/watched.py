"""One project under watch: wired for `engine.daemon`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from mlops.adapters import holder
from mlops.adapters.children import FiledChild, Nursery
from mlops.adapters.git import mirror
from mlops.adapters.leading import FileLeader
from mlops.cli import opening
from mlops.cli.wiring import Opened
from mlops.domain.lineup import Queued
from mlops.domain.source import Commit
from mlops.domain.watchlist import Watched
from mlops.engine import claiming, retrying
from mlops.engine.daemon import Looked
from mlops.engine.outcome import Outcome
from mlops.errors import MlopsError
from mlops.ports.children import Child

_STANDBY = 5.0  # seconds until who does not lead tries again


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look gathers."""

    waiting: list[Queued] = field(default_factory=list)
    working: list[Queued] = field(default_factory=list)
    due: list[datetime] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass
class WatchedProject:
    """Meets `engine.daemon.Watched`. `place` is where its repository is, or its clone is kept."""

    watched: Watched
    place: Path
    executor: str = ""
    options: tuple[str, ...] = ()
    _leader: FileLeader | None = None

    @property
    def name(self) -> str:
        return self.watched.name

    @property
    def interval(self) -> float:
        return self.watched.interval

    def look(self) -> Looked:
        if self.watched.url:
            mirror.settle(self.watched.url, self.place)
        opened = self._open()
        self._leader = self._leader or FileLeader(opened.state / "watch" / "lock")
        other = self._leader.other()
        if other:
            return Looked(leader=other, again=_STANDBY)
        found = _Found()
        for tip in opened.tracked():
            self._decide(opened, tip, found)
        again = min(((when - opened.now()).total_seconds() for when in found.due), default=None)
        return Looked(
            tuple(found.waiting), tuple(found.working), outcomes=tuple(found.outcomes), again=again
        )

    def _open(self) -> Opened:
        opened = opening.open_project(self.place)
        if self.watched.branches:
            opened = replace(
                opened, project=replace(opened.project, branches=self.watched.branches)
            )
        return replace(opened, chosen=self.executor)

    def _decide(self, opened: Opened, tip: Commit, found: _Found) -> None:
        path = "" if opened.project.gitops.url else opened.project.gitops.path
        try:
            source = opened.repository.source_of(tip, path)
            for model in opened.models_at(source):
                self._sort(opened, model, source, found)
        except MlopsError as exc:  # one bad branch must not keep the others waiting
            note = f"{tip.short} is not decided: {exc}"
            found.outcomes.append(Outcome("", "", "", note, failed=True))

    def _sort(self, opened: Opened, model: str, source: Commit, found: _Found) -> None:
        last = claiming.newest(opened.claims, model, source)
        if last is not None and not last.open:
            return
        now = opened.now()
        kept = retrying.kept_back(model, source, last, now)
        run = claiming.run_name(model, source, last.attempt if last else 1)
        queued = Queued(self.name, run, model, source, "", now)
        if kept is not None:
            found.outcomes.append(kept)
            found.due.extend([kept.due] if kept.due else [])
        elif last is None or last.state == claiming.SETTLED or holder.dead(last.holder):
            found.waiting.append(queued)
        else:
            found.working.append(queued)

    def begin(self, queued: Queued) -> FiledChild:
        argv = [sys.executable, "-m", "mlops", "run", queued.source.sha, "--model", queued.model]
        argv += ["--patient", "--output", "json", "--repo", str(self.place), *self.options]
        if self.executor:
            argv += ["--executor", self.executor]
        return Nursery(self.place / ".mlops" / "watch" / "logs").start(queued.run, argv)

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
