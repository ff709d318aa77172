"""A watcher in a real clone, with a stub in place of what trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from mlops.adapters.git import RunClaims
from mlops.adapters.git.sight import RemoteTips
from mlops.adapters.git.standin import StandInClaims
from mlops.adapters.git.steps import FirstParents
from mlops.domain.source import Commit
from mlops.domain.watching import Seen, Tracked, WatchConfig
from mlops.engine import claiming
from mlops.engine.claiming import Holder
from mlops.engine.judging import Judge
from mlops.engine.planning import project_at
from mlops.engine.watch import Watcher

ME = {"host": "here", "pid": 1}


class Watched:
    """One watcher, its clone, and the runs that it made."""

    def __init__(
        self,
        sandbox: Any,
        where: Path,
        *,
        remote: str | None = "origin",
        tracked: Tracked | None = None,
        each: str = "push",
        dead: Callable[[Mapping[str, Any]], bool] = lambda _: False,
    ) -> None:
        self.sandbox = sandbox
        self.where = where
        self.repository = sandbox.open(where)
        self.said: list[str] = []
        self.claims = (
            StandInClaims(self.repository, remote, self.said.append)
            if remote is not None
            else RunClaims(self.repository, None)
        )
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.watcher = Watcher(
            tips=RemoteTips(self.repository, remote, self.claims),
            claims=self.claims,
            reader=self.repository,
            judge=Judge(
                self.repository,
                FirstParents(self.repository),
                partial(project_at, self.repository),
                WatchConfig(each=each),
                "environments",
            ),
            tracked=tracked or Tracked(("main",)),
            holder=Holder(lambda: ME, dead),
            now=self.now,
            actor="Ada",
        )

    def now(self) -> datetime:
        self.clock += timedelta(seconds=1)
        return self.clock

    def look(self) -> tuple[Seen, ...]:
        return self.watcher.look()

    def decided(self) -> list[tuple[str, str, str]]:
        """Model, commit and state of what the next look decides."""
        return [
            (choice.model, choice.source.sha, choice.state)
            for seen in self.look()
            for choice in seen.choices
            if choice.fresh
        ]

    def waiting(self) -> list[str]:
        return [each.source.sha for each in self.watcher.waiting()]

    def finish(self, source: str, model: str = "spam", outcome: str = "succeeded") -> None:
        """Carry a queued decision out."""
        name = claiming.run_name(model, Commit(source), 1)
        claim = self.claims.read(name)
        assert claim is not None
        assert claim.document["state"] == "queued"
        for state, more in (("claimed", {}), ("outcome", {"outcome": outcome})):
            claim = self.claims.put(name, claiming.moved(claim, state, **more), claim)
            assert claim is not None


def claims(
    sandbox: Any, where: Path | None = None, below: str = "refs/mlops/runs/"
) -> dict[str, dict[str, Any]]:
    """Run → document, as they are in a repository (default: the remote), read by git itself."""
    where = where or sandbox.remote
    refs = sandbox.git(where, "for-each-ref", "--format=%(refname)", below).split()
    return {
        ref.rpartition("/")[2]: json.loads(sandbox.git(where, "cat-file", "blob", ref))
        for ref in refs
    }
