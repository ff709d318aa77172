"""`mlops trigger`: another attempt at a commit is queued, for whoever watches to carry out."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.domain.source import Commit
from mlops.domain.watching import Tip
from mlops.engine import claiming
from mlops.ports import Claims, Clock


@dataclass(frozen=True, slots=True)
class Asked:
    """The run that answers; `fresh`: it was queued just now, or would be. Else it waits, or is under way."""

    model: str
    source: Commit
    run: str
    state: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Asking:
    """Queues attempts that `actor` asks for by hand."""

    claims: Claims
    now: Clock
    actor: str

    def ask(self, model: str, source: Commit, tip: Tip, reason: str, *, dry_run: bool) -> Asked:
        """Queue the next attempt, unless the last one is still to be carried out. Raises GitError."""
        last = claiming.newest(self.claims, model, source)
        if last is not None and last.state != claiming.SETTLED:
            return Asked(model, source, last.run, last.stands, fresh=False)
        attempt = last.attempt + 1 if last is not None else 1
        why = f"{self.actor} asked for it" + (f": {reason}" if reason else "")
        document = claiming.queue(model, source, tip, why, self.actor, self.now(), attempt)
        run = str(document["run"])
        if dry_run:
            return Asked(model, source, run, claiming.QUEUED, fresh=True)
        won = self.claims.put(run, {**document, "trigger": why}, None)
        return Asked(model, source, run, claiming.QUEUED, fresh=won is not None)
