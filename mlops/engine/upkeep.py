"""Upkeep: changed data at its source, new base images and packages, each brought in by a commit.

Never is anything trained that git does not name: what changed becomes a commit of ours, on a branch `mlops/…` for a
pull request or on the tracked branch itself, and that commit is decided as any other. What it is about stands
in the trigger's mark (`engine.marking`), so that any number of watchers make one commit of one change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.domain.message import ACTOR, MODEL, REASON, compose
from mlops.domain.project import Project
from mlops.domain.trigger import Data, Updates
from mlops.engine.claiming import Holder
from mlops.engine.marking import ASKED, CLAIMED, PROJECT, WATCHED, Mark, Marks, name
from mlops.engine.triggers import Asked, Trunk
from mlops.errors import MlopsError
from mlops.policy import arrival, schedule
from mlops.policy.arrival import Arrived, Changed, Known
from mlops.policy.schedule import Due
from mlops.ports import GitOps, LostRace, Published
from mlops.ports.upstream import Compared, NewLocks, Upstream

_SHOWN = 20  # changes that a commit message names


@dataclass(frozen=True, slots=True)
class Upkeep:
    """`branch` is the tracked branch that commits of ours are made on."""

    marks: Marks
    upstream: Upstream
    locks: NewLocks
    branch: GitOps
    holder: Holder
    actor: str = ""

    def look(self, project: Project, trunk: Trunk) -> tuple[Asked, ...]:
        """Look at every source and at the locks, where they are due, and bring in what is new. What cannot be
        looked at is told, and holds nothing else."""
        wanted = tuple(_of(project))
        if not wanted:
            return ()
        try:
            marks = self.marks.all()
        except MlopsError as exc:
            return (Asked("", "", f"no source is looked at: {exc}", failed=True),)
        found = (
            self._guarded(owner, trigger, marks.get(name(owner, trigger)), trunk)
            for owner, trigger in wanted
        )
        return tuple(each for each in found if each is not None)

    def _guarded(
        self, owner: str, trigger: Data | Updates, mark: Mark | None, trunk: Trunk
    ) -> Asked | None:
        try:
            mark = self.marks.begun(owner, trigger, mark)
            if isinstance(trigger, Data):
                return self._data(owner, trigger, mark, trunk)
            return self._updates(trigger, mark, trunk)
        except MlopsError as exc:
            model = "" if owner == PROJECT else owner
            return Asked(model, str(trigger), f"{trigger}: {exc}", failed=True)

    # -- data

    def _data(self, model: str, data: Data, mark: Mark | None, trunk: Trunk) -> Asked | None:
        now = self.marks.now()
        if mark is None or mark.taken(self.holder, now):
            return None
        compared = self.upstream.compare(trunk.tip.commit, data.source)
        known = Known(
            mark.text("seen"), mark.time("seen_at"), mark.text("handled"), mark.time("handled_at")
        )
        decided = arrival.decide(now, compared.committed, compared.upstream, known, data)
        if isinstance(decided, Changed):
            seen = {"seen": compared.upstream, "seen_at": now.isoformat()}
            self.marks.put(model, data, mark, state=WATCHED, **seen)
            note = f"{data} changed; it is brought in once it stands still"
            return Asked(model, str(data), note) if data.settle else None
        if not isinstance(decided, Arrived):
            return None
        return self._held(
            model, data, mark, lambda held: self._bring(model, data, held, compared, trunk)
        )

    def _bring(
        self, model: str, data: Data, mark: Mark, compared: Compared, trunk: Trunk
    ) -> Asked | None:
        content, handled = self.upstream.bring(trunk.tip.commit, compared.path)
        message = compose(
            f"Bring in {compared.path} as its source has it now",
            [(MODEL, model), (REASON, str(data)), (ACTOR, self.actor)],
        )
        files = {compared.path: content}
        where = self._commit(trunk, files, message, "" if data.push else f"data/{model}")
        if not where:
            return None
        done = {"handled": handled, "handled_at": self.marks.now().isoformat(), "where": where}
        self.marks.put(model, data, mark, state=ASKED, **done)
        return Asked(model, str(data), f"{data} changed: {compared.path} is brought in by {where}")

    # -- locks

    def _updates(self, updates: Updates, mark: Mark | None, trunk: Trunk) -> Asked | None:
        now = self.marks.now()
        since = mark.time("since") if mark is not None else None
        if mark is None or since is None or mark.taken(self.holder, now):
            return None
        handled = mark.time("moment") if mark.state != CLAIMED else mark.time("before")
        due = schedule.decide(now, since, handled, updates.cron)
        if not isinstance(due, Due):
            return None
        moment = {
            "moment": due.moment.isoformat(),
            "before": handled.isoformat() if handled is not None else None,
        }
        return self._held(
            PROJECT, updates, mark, lambda held: self._lock(updates, held, trunk), **moment
        )

    def _lock(self, updates: Updates, mark: Mark, trunk: Trunk) -> Asked | None:
        files, changes = self.locks.resolve(trunk.tip.commit, updates)
        where = ""
        if files:
            told = "; ".join(changes[:_SHOWN])
            more = f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
            message = compose(
                "Upgrade the locks",
                [(REASON, str(updates)), (ACTOR, self.actor)],
                body=told + more,
            )
            where = self._commit(trunk, files, message, "lock")
            if not where:
                return None
        self.marks.put(PROJECT, updates, mark, state=ASKED, where=where)
        note = (
            f"{updates}: new locks are proposed on {where}"
            if where
            else f"{updates}: nothing is new"
        )
        return Asked("", str(updates), note)

    # -- both

    def _held(
        self,
        owner: str,
        trigger: Data | Updates,
        mark: Mark,
        act: Callable[[Mark], Asked | None],
        **more: Any,
    ) -> Asked | None:
        """Claim the change, and act; None where somebody else has it. What fails is left for the next look."""
        begun = self.marks.now().isoformat()
        held = self.marks.put(
            owner, trigger, mark, state=CLAIMED, holder=dict(self.holder.me()), begun=begun, **more
        )
        if held is None:
            return None
        try:
            asked = act(held)
        except MlopsError:
            self._leave(owner, trigger, held)
            raise
        if asked is None:
            self._leave(owner, trigger, held)
        return asked

    def _leave(self, owner: str, trigger: Data | Updates, held: Mark) -> None:
        """Nobody is at it any more; it stays claimed, so that it is still to be done."""
        self.marks.put(owner, trigger, held, begun=None)

    def _commit(self, trunk: Trunk, files: Mapping[str, bytes], message: str, topic: str) -> str:
        """Push the commit: onto the branch, or with a topic onto one of its own; in words where it is, empty
        where the branch moved meanwhile."""
        base = trunk.tip.commit
        if topic:
            proposed = self.branch.propose(base, files, message, topic)
            if isinstance(proposed, LostRace):
                return ""
            return proposed.branch + (f" ({proposed.url})" if proposed.url else "")
        published = self.branch.publish(base, files, message)
        return f"commit {published.commit.short}" if isinstance(published, Published) else ""


def _of(project: Project) -> Iterator[tuple[str, Data | Updates]]:
    for model in project.models:
        for trigger in model.triggers:
            if isinstance(trigger, Data):
                yield model.name, trigger
    if project.updates is not None:
        yield PROJECT, project.updates
