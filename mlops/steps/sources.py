"""The project at the source of a run: repository, configuration, locks, stage graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlops.adapters.dvc import DvcStore
from mlops.adapters.git import Git, Repository, mirror
from mlops.config.lockfile import parse_lock
from mlops.config.project import parse_project
from mlops.domain.dvcfiles import LockedStage, lock_path_of
from mlops.domain.dvcfiles import parse_lock as parse_dvc_lock
from mlops.domain.lock import ProjectLock
from mlops.domain.pipeline import Stage
from mlops.domain.project import ModelConfig, Project
from mlops.domain.source import Commit
from mlops.domain.view import Pipeline
from mlops.errors import ConfigError, GitError
from mlops.policy.stale import in_scope
from mlops.steps.inputs import Inputs
from mlops.steps.state import State


@dataclass
class Source:
    """What steps ask of the source; everything comes from git's objects, nothing from the tree
    that training can write to."""

    inputs: Inputs
    repository: Repository
    commit: Commit
    state: State

    @cached_property
    def home(self) -> Path | None:
        """The user's own directory, where the repository is one here; None for a URL."""
        text = self.inputs.text("repository")
        return Path(text) if text.startswith("/") else None

    @cached_property
    def project(self) -> Project:
        content = self.repository.read(self.commit, "mlops.yaml")
        if content is None:
            raise ConfigError(
                f"no mlops.yaml in commit {self.commit.short}",
                hint="Run mlops init, and commit what it wrote",
            )
        return parse_project(content)

    @cached_property
    def model(self) -> ModelConfig:
        return self.project.model(self.inputs.text("model"))

    @cached_property
    def lock(self) -> ProjectLock:
        content = self.repository.read(self.commit, "mlops.lock")
        if content is None:
            raise ConfigError(
                f"no mlops.lock in commit {self.commit.short}",
                hint="Run mlops lock, and commit what it wrote",
            )
        return parse_lock(content)

    # -- DVC

    @cached_property
    def dvc(self) -> DvcStore:
        # the stage graph was resolved by whoever planned this run here
        graphs = self.home / ".mlops/cache/dvc" if self.home else self.state.root / "graphs"
        return DvcStore(self.repository, self.home or self.state.root, graphs)

    @cached_property
    def dvc_config(self) -> bytes | None:
        return self.repository.read(self.commit, ".dvc/config")

    @cached_property
    def has_dvc(self) -> bool:
        """Whether the source has a DVC project."""
        return bool(self.repository.files(self.commit, ".dvc"))

    @cached_property
    def scope(self) -> tuple[Stage, ...]:
        """The model's stages and what they need, in execution order; empty without DVC stages."""
        if self.model.train.command or not self.has_dvc:
            return ()
        return in_scope(Pipeline(self.dvc.stages(self.commit), self.model.train.stages))

    @property
    def lock_paths(self) -> tuple[str, ...]:
        """The dvc.lock files that record the model's stages."""
        return tuple(sorted({lock_path_of(stage.name) for stage in self.scope}))

    def recorded(self) -> dict[str, LockedStage]:
        """The model's stages as the recorded dvc.lock files have them, by address."""
        found: dict[str, LockedStage] = {}
        for path, content in self.recorded_locks().items():
            found |= parse_dvc_lock(content, path)
        names = {stage.name for stage in self.scope}
        return {name: stage for name, stage in found.items() if name in names}

    def recorded_locks(self) -> Mapping[str, bytes]:
        """The dvc.lock files that `validate` took, by path."""
        paths = [path for path in self.lock_paths if (self.state.lock / path).is_file()]
        return {path: (self.state.lock / path).read_bytes() for path in paths}


def open_source(env: Mapping[str, str], *, fetch: bool = False) -> Source:
    """The source that a step's environment names; `fetch` brings it here where it is a URL.

    Raises GitError where the repository or the commit is not there.
    """
    inputs = Inputs(env)
    state = State(inputs.directory("state"))
    repository = open_repository(inputs.text("repository"), state.git, fetch=fetch)
    if not repository.has(inputs.source):
        raise GitError(
            f"commit {inputs.source.short} is not in {inputs.text('repository')}",
            hint="Push it, then run again",
        )
    return Source(inputs, repository, inputs.source, state)


def open_repository(address: str, clone: Path, *, fetch: bool) -> Repository:
    """The repository at an absolute path, read where it is; or the bare clone of a URL at `clone`."""
    if address.startswith("/"):
        return Repository(Git.open(Path(address)))
    if fetch:
        mirror.refresh(address, clone)
    return Repository(Git.open(clone))
