"""Upkeep: changed data at its source, new base images and packages, each brought in by a commit.

Never is anything trained that git does not name: what changed becomes a commit of ours, on a branch `mlops/…` for a
pull request or on the tracked branch itself, and that commit is decided as any other. What it is about stands
in the trigger's mark (`engine.marking`), so that any number of watchers make one commit of one change.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops.domain.forge import shortened
from mlops.domain.message import ACTOR, MODEL, REASON, compose, one_line
from mlops.domain.project import Project
from mlops.domain.trigger import LOCK_TOPIC, Data, Updates, data_topic
from mlops.engine.claiming import Holder
from mlops.engine.marking import ASKED, CLAIMED, PROJECT, WATCHED, Mark, Marks, name
from mlops.engine.retrying import moment
from mlops.engine.triggers import Asked, Trunk
from mlops.errors import MlopsError
from mlops.policy import arrival, backoff, schedule
from mlops.policy.arrival import Arrived, Changed, Known
from mlops.policy.schedule import Due
from mlops.ports import GitOps, LostRace, Published
from mlops.ports.upstream import Compared, NewLocks, Upstream

_SHOWN = 20  # changes that a commit message names
_FINGERPRINT = 12  # of 64 digits, that one names
_LONGEST_WHY = 500  # characters of a failure that a mark keeps


@dataclass(frozen=True, slots=True)
class Upkeep:
    """`branch` is the tracked branch that commits of ours are made on."""

    marks: Marks
    upstream: Upstream
    locks: NewLocks
    branch: GitOps
    holder: Holder
    actor: str = ""
    luck: Callable[[], float] = random.random

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
            now = self.marks.now()
            if mark is None or mark.taken(self.holder, now):
                return None
            if due := backoff.due(mark.time("after"), now):
                return _put_off(owner, trigger, mark.text("why"), due)
            if isinstance(trigger, Data):
                return self._data(owner, trigger, mark, trunk)
            return self._updates(trigger, mark, trunk)
        except MlopsError as exc:
            return Asked(_model(owner), str(trigger), f"{trigger}: {exc}", failed=True)

    # -- data

    def _data(self, model: str, data: Data, mark: Mark, trunk: Trunk) -> Asked | None:
        now = self.marks.now()
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
            body=f"Fingerprint of the source: {_short(compared.committed)} → {_short(handled)}",
        )
        files = {compared.path: content}
        where = self._commit(trunk, files, message, "" if data.push else data_topic(model))
        if not where:
            return None
        done = {"handled": handled, "handled_at": self.marks.now().isoformat(), "where": where}
        self.marks.put(model, data, mark, state=ASKED, failures=None, **done)
        return Asked(model, str(data), f"{data} changed: {compared.path} is brought in by {where}")

    # -- locks

    def _updates(self, updates: Updates, mark: Mark, trunk: Trunk) -> Asked | None:
        now = self.marks.now()
        since = mark.time("since") or now
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
            where = self._commit(trunk, files, message, LOCK_TOPIC)
            if not where:
                return None
        self.marks.put(PROJECT, updates, mark, state=ASKED, failures=None, where=where)
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
        """Claim the change, and act; None where somebody else has it. What fails is tried again later and later:
        nothing tells whether it can heal by itself."""
        me, begun = dict(self.holder.me()), self.marks.now().isoformat()
        claimed = {"state": CLAIMED, "holder": me, "begun": begun, "after": None, "why": None}
        held = self.marks.put(owner, trigger, mark, **claimed, **more)
        if held is None:
            return None
        try:
            asked = act(held)
        except MlopsError as exc:
            return self._failed(owner, trigger, held, str(exc))
        if asked is None:
            self._leave(owner, trigger, held)
        return asked

    def _failed(self, owner: str, trigger: Data | Updates, held: Mark, why: str) -> Asked:
        failures = held.failures + 1
        due = self.marks.now() + backoff.pause(failures, self.luck())
        kept = {"why": shortened(one_line(why), _LONGEST_WHY), "after": due.isoformat()}
        self._leave(owner, trigger, held, failures=failures, **kept)
        return _put_off(owner, trigger, why, due)

    def _leave(self, owner: str, trigger: Data | Updates, held: Mark, **more: Any) -> None:
        """Nobody is at it any more; it stays claimed, so that it is still to be done."""
        self.marks.put(owner, trigger, held, begun=None, **more)

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


def _put_off(owner: str, trigger: Data | Updates, why: str, due: datetime) -> Asked:
    note = f"{trigger}: {why.rstrip('.')}. The next attempt is due {moment(due)}"
    return Asked(_model(owner), str(trigger), note, failed=True)


def _model(owner: str) -> str:
    return "" if owner == PROJECT else owner


def _short(fingerprint: str) -> str:
    return fingerprint[:_FINGERPRINT]


def _of(project: Project) -> Iterator[tuple[str, Data | Updates]]:
    for model in project.models:
        for trigger in model.triggers:
            if isinstance(trigger, Data):
                yield model.name, trigger
    if project.updates is not None:
        yield PROJECT, project.updates
