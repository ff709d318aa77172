"""What a pull request would do, and what became of it: read from git alone, nothing of it is carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops.domain.source import Commit
from mlops.engine import baseline
from mlops.engine.planning import Planner
from mlops.errors import MlopsError
from mlops.manifests.pullcomment import Told, compose
from mlops.policy import metrics
from mlops.ports import GitOps, SourceReader

_MOST_MODELS = 100


@dataclass(frozen=True, slots=True)
class Change:
    """A pull request in git: its head, the commit of its target that it started from, the commit that
    merged it, and the one that is run of it while it is open."""

    head: Commit
    base: Commit
    merged: Commit | None = None
    ran: Commit | None = None


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Plans pull requests. `planner` has the data store of strangers' commits; `transparent` as for
    the watcher. Writes nothing."""

    reader: SourceReader
    planner: Planner
    gitops: GitOps
    transparent: str
    project: str

    def text(self, change: Change, told: Sequence[Told], note: str = "") -> str:
        """The comment on it."""
        return compose(self.project, change.head, change.base, told, note)

    def told(self, change: Change, model: str = "") -> tuple[Told, ...]:
        """What there is to say of each model (or of one), at the pull request's own mlops.yaml."""
        tip = self.gitops.tip()
        try:
            source = self.reader.source_of(change.head, self.transparent)
            project = self.planner.project(source)
            names = (project.model(model).name,) if model else project.names
        except MlopsError as exc:
            return (Told(model or "every model", fault=str(exc)),)
        return tuple(self._model(change, source, tip, name) for name in names[:_MOST_MODELS])

    def _model(self, change: Change, source: Commit, tip: Commit | None, name: str) -> Told:
        try:
            since = self.reader.source_of(change.base, self.transparent)
            known = baseline.records(self.gitops, tip, name)
            sources = [source] if source != since else []
            if change.ran is not None:
                sources.append(change.ran)
            if change.merged is not None:
                sources.append(self.reader.source_of(change.merged, self.transparent))
            found = (baseline.of_source(known, each) for each in sources)
            record = next((each for each in found if each is not None), None)
            if record is None:
                planned = self.planner.plan(name, source, known, since, from_release=True)
                return Told(name, planned.plan)
            before = baseline.of_source(known, since) or baseline.baseline(
                self.reader, known, since
            )
            old = before.metrics if before is not None else {}
            return Told(name, None, "", record, before, metrics.changes(old, record.metrics))
        except MlopsError as exc:
            return Told(name, fault=str(exc))
