"""Runs of pull requests: the commit that may run is queued as a claim, and carried out as any other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from mlops.domain.pulls import MARK, PULLS, Contribution, Remark, mark
from mlops.domain.source import Commit
from mlops.domain.watching import Tip
from mlops.engine import claiming
from mlops.engine.planning import Planner
from mlops.policy.forks import Allowed, Waits, decide
from mlops.ports import Claims, Clock, SourceReader
from mlops.ports.pulls import PullRefs


def of_pull(reader: SourceReader, source: Commit) -> bool:
    """Whether a commit is what is run of a pull request: such a run pins nothing, whoever carries it out."""
    content = reader.read(source, MARK)
    if content is None:
        return False
    parent = next(islice(reader.ancestors(source), 1, 2), None)
    return parent is not None and content == mark(parent.sha)


@dataclass(frozen=True, slots=True)
class PullRuns:
    """Queues what may run, for each model of the target's mlops.yaml, once on the remote."""

    refs: PullRefs
    planner: Planner
    claims: Claims
    now: Clock
    actor: str

    def ask(self, pull: Contribution, remarks: Iterable[Remark], tip: Commit) -> Commit | Waits:
        """Queue the head of a pull request where it may run: the commit that is run of it. `tip` is where its
        target stands. Raises GitError, and ConfigError where the target's mlops.yaml cannot be read."""
        allowed = decide(pull, remarks)
        if isinstance(allowed, Waits):
            return allowed
        return self._queue(pull, allowed, tip)

    def _queue(self, pull: Contribution, allowed: Allowed, tip: Commit) -> Commit:
        head = Commit.parse(allowed.sha)
        commit = self.refs.settle(head, tip)
        at = Tip(f"{PULLS}{pull.number}/head", head)
        why = f"pull request {pull.number} is at {allowed.sha[:7]}: {allowed.why}"
        for model in self.planner.project(tip).names:
            if claiming.newest(self.claims, model, commit) is None:
                queued = claiming.queue(model, commit, at, why, self.actor, self.now())
                self.claims.put(str(queued["run"]), queued, None)
        return commit
