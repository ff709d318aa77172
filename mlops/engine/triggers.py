"""Triggers: what asks for another attempt at a commit without a push, asked at each look of the watcher.

What was handled stands in a claim for each trigger, `trigger.<model>-<12 hex>` beside those of runs, moved by
compare-and-swap: since when it is watched, the last moment that was handled, and the run that it asked for.
The moment is claimed first, with the name of the run; then that run's own claim is queued, which only one can
create. A watcher that dies between the two leaves what the next one goes on from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from mlops.domain.cron import Cron
from mlops.domain.project import Project
from mlops.domain.source import Commit
from mlops.domain.trigger import Data, Trigger, Updates
from mlops.domain.watching import Tip
from mlops.engine import claiming
from mlops.engine.claiming import GIVEN_UP
from mlops.engine.marking import ASKED, CLAIMED, PROJECT, WATCHED, Mark, Marks, name
from mlops.errors import MlopsError
from mlops.policy import schedule
from mlops.policy.schedule import Due
from mlops.ports import Claims, Clock


@dataclass(frozen=True, slots=True)
class Trunk:
    """The branch that triggers are of, where it stands, and the source of that."""

    tip: Tip
    source: Commit


@dataclass(frozen=True, slots=True)
class Asked:
    """What a trigger asked for in this look; `failed` where it could not be looked at."""

    model: str
    trigger: str
    note: str
    run: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """A trigger as it stands: `last` is the moment handled last, `next` the one that comes, both in UTC;
    `state` is `new` before a watcher saw it, `waiting`, `due`, or `ahead` where the last moment handled lies
    in the future. `run` is what the last moment asked for."""

    model: str
    trigger: str
    last: datetime | None
    next: datetime | None
    run: str
    state: str


@dataclass(frozen=True, slots=True)
class Triggers:
    """Looks at the triggers of a project; `actor` is who the runs are asked for by."""

    claims: Claims
    now: Clock
    actor: str = ""

    def look(self, project: Project, trunk: Trunk) -> tuple[Asked, ...]:
        """Queue a run for each trigger that is due. One that cannot be looked at is told, and holds no other
        and nothing else."""
        wanted = tuple(_of(project))
        if not any(isinstance(trigger, Cron) for _, trigger in wanted):
            return ()
        try:
            marks = self._marks.all()
        except MlopsError as exc:
            return (Asked("", "", f"no trigger is looked at: {exc}", failed=True),)
        return tuple(
            asked
            for model, trigger in wanted
            if isinstance(trigger, Cron)
            and (asked := self._guarded(model, trigger, marks.get(name(model, trigger)), trunk))
        )

    def standing(self, project: Project) -> tuple[Standing, ...]:
        """All triggers of a project. Raises GitError where their claims cannot be read."""
        wanted = tuple(_of(project))
        marks = self._marks.all() if wanted else {}
        return tuple(
            self._standing(model, trigger, marks.get(name(model, trigger)))
            for model, trigger in wanted
        )

    @property
    def _marks(self) -> Marks:
        return Marks(self.claims, self.now)

    def _guarded(self, model: str, trigger: Cron, mark: Mark | None, trunk: Trunk) -> Asked | None:
        try:
            return self._cron(model, trigger, mark, trunk)
        except MlopsError as exc:
            return Asked(model, str(trigger), f"{trigger} is not decided: {exc}", failed=True)

    def _cron(self, model: str, cron: Cron, mark: Mark | None, trunk: Trunk) -> Asked | None:
        mark = self._marks.begun(model, cron, mark)
        since = mark.time("since") if mark is not None else None
        if mark is None or since is None:
            return None
        if mark.state == CLAIMED:
            return self._ask(model, cron, mark)
        due = schedule.decide(self.now(), since, mark.time("moment"), cron)
        if not isinstance(due, Due):
            return None
        last = claiming.newest(self.claims, model, trunk.source)
        more = {
            "moment": due.moment.isoformat(),
            "source": trunk.source.sha,
            "ref": trunk.tip.ref,
            "tip": trunk.tip.commit.sha,
            "attempt": last.attempt + 1 if last is not None else 1,
        }
        if last is not None and last.open and last.outcome != GIVEN_UP:
            return self._joined(model, cron, mark, {**more, "attempt": last.attempt})
        claimed = self._marks.put(model, cron, mark, state=CLAIMED, **more)
        return self._ask(model, cron, claimed) if claimed is not None else None

    def _joined(self, model: str, cron: Cron, mark: Mark, more: Mapping[str, Any]) -> Asked | None:
        """What is queued or under way at the very commit answers the moment too."""
        source, moment = Commit.parse(more["source"]), datetime.fromisoformat(more["moment"])
        run = claiming.run_name(model, source, more["attempt"])
        if self._marks.put(model, cron, mark, state=ASKED, run=run, **more) is None:
            return None
        return Asked(model, str(cron), f"{_why(cron, moment)}; {run} is under way already", run)

    def _ask(self, model: str, cron: Cron, mark: Mark) -> Asked | None:
        """Queue the run of a claimed moment; None where somebody else did."""
        document = mark.claim.document
        moment, attempt = mark.time("moment"), document.get("attempt")
        if moment is None or not isinstance(attempt, int):
            self._marks.put(model, cron, mark, state=WATCHED, since=self.now().isoformat())
            return None
        source = Commit.parse(str(document.get("source")))
        tip = Tip(str(document.get("ref") or ""), Commit.parse(str(document.get("tip"))))
        why = _why(cron, moment)
        fresh = claiming.queue(model, source, tip, why, self.actor, self.now(), attempt)
        run = str(fresh["run"])
        won = self.claims.put(run, {**fresh, "trigger": why}, None)
        self._marks.put(model, cron, mark, state=ASKED, run=run)
        return Asked(model, str(cron), f"{why}; {run} is queued", run) if won is not None else None

    def _standing(self, owner: str, trigger: Trigger | Updates, mark: Mark | None) -> Standing:
        model = "" if owner == PROJECT else owner
        since = mark.time("since") if mark is not None else None
        run = mark.text("run") if mark is not None else ""
        if isinstance(trigger, Data):
            last = mark.time("handled_at") if mark is not None else None
            return Standing(model, str(trigger), last, None, run, "waiting" if since else "new")
        cron = trigger.cron if isinstance(trigger, Updates) else trigger
        last = mark.time("moment") if mark is not None else None
        now = self.now()
        decided = schedule.decide(now, since or now, last, cron)
        if isinstance(decided, Due):
            return Standing(model, str(trigger), last, decided.moment, run, "due")
        state = "new" if since is None else "ahead" if decided.ahead else "waiting"
        return Standing(model, str(trigger), last, decided.next, run, state)


def marked(project: Project) -> frozenset[str]:
    """The names of the marks of a project's triggers."""
    return frozenset(name(owner, trigger) for owner, trigger in _of(project))


def _of(project: Project) -> Iterator[tuple[str, Trigger | Updates]]:
    for model in project.models:
        for trigger in model.triggers:
            yield model.name, trigger
    if project.updates is not None:
        yield PROJECT, project.updates


def _why(cron: Cron, moment: datetime) -> str:
    """`cron 0 3 * * 1: due 2026-11-30 03:00 UTC`, in the trigger's own time zone."""
    return f"{cron}: due {moment.astimezone(ZoneInfo(cron.timezone)):%Y-%m-%d %H:%M %Z}"
