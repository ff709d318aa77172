"""The only place that builds adapters and hands them to use cases.

Heavy libraries load here, inside the factories, when a command first needs them: this keeps
`mlops --help`, `status` and `history` fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlops import __version__
from mlops.adapters import holder, workfiles
from mlops.adapters.git import GitOpsBranch, Repository, RunClaims
from mlops.adapters.git.standin import StandInClaims
from mlops.adapters.git.tips import fetch_release_tags
from mlops.cli import wiring_cluster
from mlops.cli.waiting import ToldBranch
from mlops.domain.digest import ImageRef
from mlops.domain.imagename import ImageMap
from mlops.domain.lock import TOOL, ProjectLock
from mlops.domain.project import Project
from mlops.domain.release import ReleaseRecord
from mlops.domain.source import Commit
from mlops.errors import (
    RefusedError,
    UsageError,
)

if TYPE_CHECKING:
    from mlops.adapters.dvc import DvcStore
    from mlops.adapters.executors.local import LocalExecutor
    from mlops.adapters.layout import OciLayout
    from mlops.adapters.registry.store import RegistryStore
    from mlops.engine.planning import Planner
    from mlops.engine.run import Runner
    from mlops.ports import ImageCopies, ImageReader, ImageStore, RunObserver

PROJECT_FILE = "mlops.yaml"
_NO_MAP = ImageMap()
_MOST_AT_ONCE = 10_000


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass
class Opened:
    """A project, opened: what use cases are handed. Adapters are built when first asked for."""

    root: Path
    repository: Repository
    project: Project
    now: Callable[[], datetime] = field(default=now)
    chosen: str = ""  # the executor that the command line says, instead of the project's

    @property
    def on_cluster(self) -> bool:
        """Whether runs are carried out on a cluster."""
        return (self.chosen or self.project.executor) == "tekton"

    @property
    def state(self) -> Path:
        """What belongs to this clone alone, ignored by git: registry, runs, caches."""
        return self.root / ".mlops"

    @cached_property
    def branch(self) -> str:
        """The GitOps branch: as configured, else the first tracked branch that is no pattern."""
        return self.project.gitops.branch or self.main

    @property
    def main(self) -> str:
        """The branch that work is merged into: the first tracked one that is no pattern."""
        plain = [name for name in self.project.branches if not set(name) & set("*?[")]
        return plain[0] if plain else (self.repository.default_branch() or "main")

    @cached_property
    def gitops(self) -> GitOpsBranch:
        home = self.deployment
        project = self.project
        path, forge = project.gitops.path, project.forge_of_gitops
        return ToldBranch(home, self.branch, path, home.remote_name(), forge)

    @cached_property
    def deployment(self) -> Repository:
        """The repository of the GitOps branch: this one, or a bare clone of `gitops.url`."""
        url = self.project.gitops.url
        if not url:
            return self.repository
        from mlops.steps.sources import open_repository  # noqa: PLC0415

        return open_repository(url, self.state / "gitops", fetch=True)

    @cached_property
    def claims(self) -> RunClaims | StandInClaims:
        from mlops.cli import render  # noqa: PLC0415

        remote = self.repository.remote_name()
        if remote is None:
            return RunClaims(self.repository, None)
        return StandInClaims(self.repository, remote, render.note)

    @cached_property
    def data(self) -> DvcStore:
        from mlops.adapters.dvc import DvcStore  # noqa: PLC0415

        return DvcStore(self.repository, self.root, self.state / "cache" / "dvc")

    @cached_property
    def strangers_data(self) -> DvcStore:
        """The data of commits that strangers wrote: read where nothing of this machine is seen."""
        from mlops.adapters.dvc import DvcStore  # noqa: PLC0415

        return DvcStore(self.repository, self.root, self.state / "cache" / "dvc", confined=True)

    @cached_property
    def local_images(self) -> OciLayout:
        """The images on this machine: the embedded layout, else the machine's cache."""
        from mlops.adapters.layout import OciLayout  # noqa: PLC0415
        from mlops.adapters.rootfs import machine_cache  # noqa: PLC0415

        layout = self.project.layout
        return OciLayout(machine_cache() / "images" if layout is None else self.root / layout)

    @cached_property
    def images(self) -> ImageStore:
        """Where bases are kept, and the tool image."""
        from mlops.adapters import bases  # noqa: PLC0415
        from mlops.build import host  # noqa: PLC0415

        return self._store(host.REPOSITORY, bases.REPOSITORY, TOOL)

    def images_of(self, model: str) -> ImageStore:
        """Where the images of a model are kept."""
        return self._store(model, f"{model}-env")

    def _store(self, *names: str) -> ImageStore:
        if self.project.layout is not None:
            return self.local_images
        from mlops.adapters.registry.store import RegistryStore  # noqa: PLC0415
        from mlops.cli import render  # noqa: PLC0415

        return RegistryStore(self.project.registry, self.local_images, names, render.note)

    @property
    def registry_host(self) -> str:
        """The host of the project's own registry; empty with the embedded layout."""
        return self.project.registry.partition("/")[0] if self.project.layout is None else ""

    def reader(self, model: str, registry: str = "") -> ImageReader:
        """Where the images of a model can be asked for: the project's store, or an environment's
        registry."""
        return self.in_registry(registry, model) if registry else self.images_of(model)

    def copies(self) -> ImageCopies:
        """What brings images into the registries of environments."""
        from mlops.adapters.registry.copies import Copies  # noqa: PLC0415
        from mlops.cli import render  # noqa: PLC0415

        return Copies(self.images_of, self.in_registry, render.note)

    def in_registry(self, registry: str, model: str) -> RegistryStore:
        """The images of a model in any registry; ours alone is told our credentials."""
        from mlops.adapters.layout import OciLayout  # noqa: PLC0415
        from mlops.adapters.registry.store import RegistryStore  # noqa: PLC0415
        from mlops.adapters.rootfs import machine_cache  # noqa: PLC0415
        from mlops.cli import render  # noqa: PLC0415

        ours = registry.partition("/")[0] == self.registry_host
        local = OciLayout(machine_cache() / "images")
        return RegistryStore(registry, local, (model,), render.note, ours=ours)

    @property
    def apart(self) -> bool:
        """Whether the GitOps branch is none of the source's: no work tree of ours has its files."""
        gitops = self.project.gitops
        return bool(gitops.url) or gitops.branch not in ("", *self.project.branches)

    @cached_property
    def planner(self) -> Planner:
        from mlops.engine.planning import Place, Planner  # noqa: PLC0415

        registry = self.project.registry
        if self.project.layout is not None:
            registry = f"oci:{self.root / self.project.layout}"
        if self.on_cluster:
            wiring_cluster.require_reach(self.project, self.repository.remote_url() or "")
        place = Place(
            repository=wiring_cluster.address(self.project, self.repository.remote_url() or "")
            if self.on_cluster
            else str(self.root),
            registry=registry,
            cluster=self.on_cluster,
            gitops_url=self.project.gitops.url,
            gitops_branch=self.branch,
            gitops_path=self.project.gitops.path,
        )
        fetch_release_tags(self.repository)
        return Planner(self.repository, self.data, place)

    def executor_for(
        self,
        lock: ProjectLock | None,
        runtime: str = "",
        jobs: int = 0,
        mapping: ImageMap = _NO_MAP,
    ) -> LocalExecutor:
        """The local executor; the lock's tool image runs as the installed mlops, if it is that version.

        `runtime` instead of the project's, `jobs` at once instead of the usual number of tasks;
        `mapping` says which images stand for others.
        """
        from mlops.adapters.executors.local import HostTool, LocalExecutor  # noqa: PLC0415
        from mlops.adapters.rootfs import machine_cache  # noqa: PLC0415

        tool = lock.image(TOOL) if lock is not None else None
        host = None
        if lock is not None and tool is not None and lock.tool(TOOL) == __version__:
            host = HostTool(ImageRef(tool.ref, tool.digest), (sys.executable, "-m", "mlops"), {})
        runtime = runtime or self.project.runtime
        runs, cache = self.state / "runs", machine_cache()
        return LocalExecutor(
            runs,
            self.local_images,
            runtime,
            cache,
            host,
            at_once(jobs),
            mapping,
            ours=self.registry_host,
        )

    @cached_property
    def executor(self) -> LocalExecutor:
        return self.executor_for(None)

    def runner(self, observer: RunObserver, source: Commit) -> Runner:
        from mlops.cli import render  # noqa: PLC0415
        from mlops.engine.claiming import Holder  # noqa: PLC0415
        from mlops.engine.run import Runner  # noqa: PLC0415

        return Runner(
            planner=self.planner,
            gitops=self.gitops,
            claims=self.claims,
            executor=wiring_cluster.executor(
                wiring_cluster.access(self.project), wiring_cluster.installs(self.root), ours=True
            )
            if self.on_cluster
            else self.executor_for(self.planner.lock(source)),
            holder=Holder(holder.me, holder.dead),
            now=self.now,
            observer=observer,
            say=render.note,
        )

    def under_way(self) -> tuple[str, ...]:
        """The runs of this project that began and are not over, whoever carries them out. Raises GitError."""
        from mlops.engine import claiming  # noqa: PLC0415

        known = claiming.Holder(holder.me, holder.dead)
        return claiming.under_way(self.claims.list(), known, self.now())

    def source(self, rev: str) -> Commit:
        """The source of a revision: its nearest ancestor that changes more than environments."""
        commit = self.repository.resolve(rev)
        shared = not self.project.gitops.url
        return self.repository.source_of(commit, self.project.gitops.path if shared else "")

    def revision(self, text: str) -> Commit:
        """The commit whose data a reference or revision means: that of a release's tag, where it has one."""
        if "@" not in text or text.startswith("@"):
            return self.repository.resolve(text)
        record = self.record(text)
        fetch_release_tags(self.repository)
        tag = (record.document.get("dvc") or {}).get("tag")
        return self.repository.resolve(f"refs/tags/{tag}") if tag else record.source

    def record(self, text: str) -> ReleaseRecord:
        """The record of the release that a reference names. Raises RefusedError where it has none."""
        from mlops.engine.references import release  # noqa: PLC0415
        from mlops.engine.state import Environments  # noqa: PLC0415

        tip = self.gitops.refresh()
        environments = Environments.load(self.gitops, tip, self.project, self.now())
        record = environments.record(release(environments, text))
        if record is None:
            raise RefusedError(f"{text} has no record", hint="See what was pinned: mlops history")
        return record

    def records(self, model: str) -> tuple[ReleaseRecord, ...]:
        from mlops.engine.baseline import records  # noqa: PLC0415

        return records(self.gitops, self.gitops.tip(), model)

    def write(self, path: str, content: bytes) -> None:
        """Write a file of the work tree, whole. Raises UsageError, OutsideError."""
        workfiles.write(self.root, path, content)

    def models_at(self, source: Commit, model: str = "") -> tuple[str, ...]:
        """The models of mlops.yaml at a source, or the one named. Raises UsageError on a wrong name."""
        project = self.planner.project(source)
        return (project.model(model).name,) if model else project.names

    def inside(self, paths: list[str]) -> list[str]:
        """Paths as typed, seen from the root. Raises UsageError for one outside the project."""
        found = []
        for path in paths:
            absolute = Path(os.path.abspath(path))  # noqa: PTH100 - a symlink is added as itself
            if not absolute.is_relative_to(self.root):
                raise UsageError(f"{path} is not inside {self.root}")
            found.append(str(absolute.relative_to(self.root)))
        return found

    @cached_property
    def actor(self) -> str:
        """Who acts: MLOPS_ACTOR, else git's user, else the login name."""
        return (
            os.environ.get("MLOPS_ACTOR")
            or self.repository.identity()
            or os.environ.get("USER", "unknown")
        )


def at_once(given: int = 0) -> int:
    """How many tasks work at once: what was `given`, else MLOPS_JOBS, else 0 for the usual number."""
    text = os.environ.get("MLOPS_JOBS", "")
    if given or not text:
        return given
    if not text.isdecimal() or not 0 < int(text) <= _MOST_AT_ONCE:
        raise UsageError(f"MLOPS_JOBS must be a number from 1 to {_MOST_AT_ONCE}, not {text!r}")
    return int(text)


def read_file(root: Path, name: str) -> bytes | None:
    """A regular file of the work tree; None where there is none, or a link."""
    path = root / name
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None
