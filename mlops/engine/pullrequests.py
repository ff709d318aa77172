"""What a pull request would do: read from git alone, nothing of it is carried out."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    """A pull request in git: its head, and the commit of its target that it started from."""

    head: Commit
    base: Commit


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Plans pull requests. `planner` has the data store of strangers' commits; `transparent` as for
    the watcher. Writes nothing."""

    reader: SourceReader
    planner: Planner
    gitops: GitOps
    transparent: str
    project: str

    def text(self, change: Change, models: str = "", note: str = "") -> str:
        """The comment on it."""
        return compose(self.project, change.head, change.base, self.told(change, models), note)

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
            known = baseline.records(self.gitops, tip, name)
            record = baseline.of_source(known, source)
            since = self.reader.source_of(change.base, self.transparent)
            if record is not None and source != since:
                before = baseline.baseline(self.reader, known, source)
                told = Told(name, released=record, base=before)
                old = before.metrics if before is not None else {}
                return replace(told, metrics=metrics.changes(old, record.metrics))
            return Told(name, self.planner.plan(name, source, known, since).plan)
        except MlopsError as exc:
            return Told(name, fault=str(exc))
