"""From two sources to a plan: gathers what impact is judged on, and asks policy."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from mlops.config.lockfile import parse_lock
from mlops.config.project import parse_project
from mlops.domain.cluster import Pods
from mlops.domain.digest import ImageRef
from mlops.domain.lock import TOOL, ProjectLock
from mlops.domain.plan import Plan
from mlops.domain.project import ModelConfig, Project
from mlops.domain.release import ReleaseRecord
from mlops.domain.run import RunSpec
from mlops.domain.source import Commit, DataObject
from mlops.domain.view import Pipeline, SourceView, Tree
from mlops.engine.baseline import baseline as last_release
from mlops.engine.lock import requirement_faults
from mlops.errors import ConfigError, GitError, RefusedError, UsageError
from mlops.policy import impact, plan, sides
from mlops.policy.hashes import overlaps
from mlops.policy.stale import in_scope
from mlops.ports import DataStore, GitOps, SourceReader

PROJECT_FILE = "mlops.yaml"
LOCK_FILE = "mlops.lock"


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs of this project happen: what is no part of a source.

    `repository` is an absolute path or a URL; `registry` is `oci:<absolute directory>` or a prefix;
    `cluster` says whether they are carried out on one.
    """

    repository: str
    registry: str
    gitops_url: str
    gitops_branch: str
    gitops_path: str
    cluster: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it was made from."""

    plan: Plan
    project: Project
    model: ModelConfig
    lock: ProjectLock | None
    baseline: ReleaseRecord | None
    needs: tuple[str, ...] | None  # DVC-tracked paths that training reads; None: all of them


def retrained(planned: Planned, why: str) -> Planned:
    """The plan with training in it, whatever the impact; `why` is the reason."""
    made = plan.retrained(planned.plan, why, environment=planned.project.environments[0])
    return replace(planned, plan=made)


def project_at(reader: SourceReader, source: Commit) -> Project:
    """mlops.yaml at a source. Raises UsageError where there is none, ConfigError where it is wrong."""
    content = reader.read(source, PROJECT_FILE)
    if content is None:
        raise UsageError(
            f"no mlops.yaml in commit {source.short}",
            hint="Run mlops init, and commit what it wrote",
        )
    return _parsed(content)


@lru_cache(maxsize=64)
def _parsed(content: bytes) -> Project:
    """Most commits leave mlops.yaml as it is, and a push may be of a thousand."""
    return parse_project(content, PROJECT_FILE)


@dataclass(frozen=True, slots=True)
class Planner:
    """Reads sources and plans; writes nothing."""

    reader: SourceReader
    data: DataStore
    place: Place

    def project(self, source: Commit) -> Project:
        """mlops.yaml at a source. Raises UsageError where there is none, ConfigError where it is wrong."""
        return project_at(self.reader, source)

    def lock(self, source: Commit) -> ProjectLock | None:
        content = self.reader.read(source, LOCK_FILE)
        return parse_lock(content, LOCK_FILE) if content is not None else None

    def plan(
        self,
        model: str,
        source: Commit,
        known: Sequence[ReleaseRecord],
        since: Commit | None = None,
        *,
        from_release: bool = False,
    ) -> Planned:
        """The plan for one model at one source.

        `known` are the model's release records; `since` overrides the last release as what the impact is
        taken against. With `from_release` DVC goes on all the same from what that release recorded, as a run
        would.
        """
        project = self.project(source)
        config = project.model(model)
        record = last_release(self.reader, known, source)
        against = since or (record.source if record is not None else None)
        tree = self._tree(source)
        old = self._tree(against) if against is not None else None
        laid = sides.overlay(tree, old, self._recorded(record) if since is None else {})
        if from_release and since is not None and record is not None:
            laid = sides.overlay(tree, self._tree(record.source), self._recorded(record))
        pipeline = self._pipeline(source, laid, config)
        view = SourceView(
            model=model,
            source=sides.side(source, tree, config, self.lock(source)),
            since=None if old is None or against is None else self._side(against, old, model),
            pipeline=pipeline,
            paths=config.paths,
            code=config.build.code,
            lock=config.build.lock,
            base_name=config.build.base,
            command=bool(config.train.command),
            artifact=config.artifact or "",
            recorded=(record.artifact or "") if record is not None else "",
        )
        decided = _decided(view, against, project)
        if not decided.nothing and not decided.has("train"):
            absent = self._absent(source, pipeline)
            if absent:
                view = replace(view, pipeline=replace(pipeline, absent=absent))
                decided = _decided(view, against, project)
        return Planned(
            decided, project, config, self.lock(source), record, _needs(pipeline, config)
        )

    def _tree(self, commit: Commit) -> Tree:
        return Tree.of(self.reader.files(commit), self.reader.blob, self.place.gitops_path)

    def _side(self, commit: Commit, tree: Tree, model: str) -> Any:
        """The older side; what it says wrongly, or not at all, counts as absent."""
        try:
            project = self.project(commit)
        except (UsageError, ConfigError):
            return sides.side(commit, tree, None, None)
        config = next((found for found in project.models if found.name == model), None)
        try:
            return sides.side(commit, tree, config, self.lock(commit))
        except ConfigError:
            return sides.side(commit, tree, config, None)

    def _pipeline(self, source: Commit, tree: Tree, config: ModelConfig) -> Pipeline:
        if config.train.command or "dvc.yaml" not in {p.rpartition("/")[2] for p in tree.blobs}:
            return Pipeline()
        return sides.pipeline(tree, self.data.stages(source), config.train.stages)

    def _absent(self, source: Commit, pipeline: Pipeline) -> frozenset[str]:
        """Outputs that dvc.lock records, as if nothing had to be trained, and that the remote lacks."""
        objects = []
        for stage in in_scope(pipeline):
            locked = pipeline.locks.get(stage.name)
            cached = {out.path for out in stage.outs if out.cached}
            for path, entry in (locked.outs if locked is not None else {}).items():
                whole = posixpath.normpath(posixpath.join(stage.wdir, path))
                if whole in cached:
                    objects.append(DataObject(whole, entry.md5, entry.size, entry.nfiles))
        return frozenset(self.data.absent(source, objects))

    def _recorded(self, record: ReleaseRecord | None) -> Mapping[str, bytes]:
        """What the release's tag holds beyond its source: dvc.lock and `cache: false` outputs."""
        tag = (record.document.get("dvc") or {}).get("tag") if record is not None else None
        if record is None or not tag:
            return {}
        try:
            kept = self.reader.resolve(f"refs/tags/{tag}")
            before = {entry.path: entry.blob for entry in self.reader.files(record.source)}
            return {
                entry.path: self.reader.blob(entry.blob)
                for entry in self.reader.files(kept)
                if before.get(entry.path) != entry.blob and entry.mode.startswith("100")
            }
        except (GitError, UsageError):
            return {}  # the tag was never fetched, or is gone: the source's own dvc.lock is what there is

    def require_locks(self, planned: Planned, say: Callable[[str], None] | None = None) -> None:
        """Raises ConfigError where requirements changed since they were locked, or have no lock.

        With `say` a stale lock is told, not refused: what was released once may be built again.
        """
        source = planned.plan.source
        if planned.lock is None:
            return  # `spec` says so
        read = partial(self.reader.read, source)
        for path, fault in requirement_faults(planned.project, planned.lock, read):
            if path != planned.model.build.lock:
                continue
            if say is None or read(path) is None:
                raise ConfigError(
                    f"{fault} (commit {source.short})",
                    hint="Run mlops lock, and commit what it wrote",
                )
            say(f"warning: {fault}")

    def require_overlay(self, planned: Planned, gitops: GitOps, tip: Commit | None) -> None:
        """Raises ConfigError where the first environment is not on the GitOps branch yet."""
        path = f"{gitops.path}/{planned.project.environments[0]}/kustomization.yaml"
        if tip is None or gitops.read(tip, path) is None:
            raise ConfigError(
                f"{path} is not on the GitOps branch {self.place.gitops_branch} yet",
                hint="Commit what mlops init wrote, and push it: git push",
            )

    def require_data(self, planned: Planned) -> None:
        """Raises RefusedError, with the list, where data that the source needs is not on the remote."""
        source = planned.plan.source
        if planned.model.train.command:
            return
        missing = self.data.missing(source, planned.needs)
        if missing:
            remote = (
                "the DVC remote"
                if self.data.has_remote(source)
                else "a DVC remote: none is configured"
            )
            raise RefusedError(
                f"{source.short} needs data that is not on {remote}\n  " + "\n  ".join(missing),
                hint="Send it: mlops data push",
            )

    def spec(self, planned: Planned, name: str, attempt: int) -> RunSpec:
        """What the generator needs. Raises ConfigError where the source has no locks."""
        lock, model, source = planned.lock, planned.model, planned.plan.source
        tool = lock.image(TOOL) if lock is not None else None
        if lock is None or tool is None or lock.image(model.build.base) is None:
            what = (
                "no mlops.lock"
                if lock is None
                else f"no locked {TOOL if tool is None else model.build.base}"
            )
            raise ConfigError(
                f"{what} in commit {source.short}", hint="Run mlops lock, and commit what it wrote"
            )
        record = planned.baseline
        return RunSpec(
            name=name,
            attempt=attempt,
            model=model.name,
            source=source,
            repository=self.place.repository,
            registry=self.place.registry,
            tool=ImageRef(tool.ref, tool.digest),
            environment=planned.project.environments[0],
            gitops_path=self.place.gitops_path,
            gitops_branch=self.place.gitops_branch,
            gitops_url=self.place.gitops_url,
            baseline=str(record.release.digest) if record else "",
            since=record.source.sha if record else "",
            train=planned.plan.has("train"),
            plan=planned.plan.summary,
            network=model.train.network,
            resources=model.train.resources,
            train_env=model.train.env,
            train_timeout=model.train.timeout,
            pods=self._pods(planned) if self.place.cluster else None,
        )

    def _pods(self, planned: Planned) -> Pods:
        model = planned.model
        return Pods(
            model.workspace.size,
            model.workspace.storage_class,
            model.train.node_selector,
            model.train.tolerations,
            planned.project.cluster.user,
        )


def _decided(view: SourceView, since: Commit | None, project: Project) -> Plan:
    return plan.decide(
        view.model,
        view.source.commit,
        since,
        impact.assess(view),
        environment=project.environments[0],
        stages=bool(in_scope(view.pipeline)),
    )


def _needs(pipeline: Pipeline, config: ModelConfig) -> tuple[str, ...] | None:
    """The paths that the model's stages read, and its artifact; None where nothing says so."""
    stages = in_scope(pipeline)
    if not stages:
        return None
    made = {out.path for stage in stages for out in stage.outs}
    read = {
        dep for stage in stages for dep in stage.deps if not any(overlaps(dep, o) for o in made)
    }
    kept = {config.artifact} if config.artifact and config.artifact not in made else set()
    return tuple(sorted(read | kept))
