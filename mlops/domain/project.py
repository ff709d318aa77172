"""The project: what mlops.yaml says, as frozen values.

Paths are relative to the repository's root, with `/`, and stay inside it; `mlops.config.project`
checks that once, so nothing else has to.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mlops.domain.cluster import SIZE, ClusterConfig
from mlops.domain.environment import GateRule
from mlops.domain.forge import ForgeConfig
from mlops.domain.pulls import PullsConfig
from mlops.domain.run import Resources
from mlops.domain.trigger import Trigger, Updates
from mlops.domain.watching import WatchConfig
from mlops.errors import UsageError

LOCK = "requirements.lock"
_OTHERS = ("uv.lock", "Pipfile.lock", "poetry.lock", "pdm.lock", "pixi.lock")  # other tools' own


@dataclass(frozen=True, slots=True)
class GitOpsConfig:
    """Where pins and records live; an empty `url` is this repository, an empty `branch` this branch.

    `mode` and `rollback` are `push` or `pull-request`: how commits of ours reach the branch.
    """

    url: str = ""
    branch: str = ""
    path: str = "environments"
    mode: str = "push"
    rollback: str = "push"
    auto_merge: bool = False

    @property
    def proposes(self) -> bool:
        """Whether anything goes by pull requests."""
        return "pull-request" in (self.mode, self.rollback)


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """How the environment image and the release image are made.

    `base` is `host`, an image name, `oci:DIRECTORY[:TAG]` or `oci-archive:FILE`, as written. An
    empty `requirements` means that `mlops lock` finds it. `allow_sdist` names (PEP 503) the packages
    that are built from source. `compression` is `gzip` or `zstd`; `labels` are pairs, sorted.
    """

    strategy: str = "layers"
    base: str = "host"
    requirements: str = ""
    code: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ("linux/amd64",)
    allow_sdist: tuple[str, ...] = ()
    bytecode: bool = True
    compression: str = "gzip"
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def lock(self) -> str:
        """Where the lock of these requirements stands: `requirements.lock` beside its input, or
        the input's own name with `.lock` (`gpu.txt` → `gpu.lock`); never over another tool's lock."""
        path = PurePosixPath(self.requirements or LOCK)
        own = path.with_suffix(".lock")
        if path.suffix in (".txt", ".in", ".lock") and own.name not in _OTHERS:
            return str(own)
        return str(path.with_name(LOCK))


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How the model is trained: DVC stages (none named: the whole pipeline), or one command.

    `command` is an argument vector, for projects without DVC; empty otherwise. `timeout` is in
    seconds, `env` holds the variables that reach the commands, in the file's order.
    """

    stages: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    timeout: float = 3600.0
    network: bool = False
    env: tuple[tuple[str, str], ...] = ()
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[tuple[tuple[str, str], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """The claim that the tasks of a run share on a cluster; an empty class is the cluster's default."""

    size: str = SIZE
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How the release image serves; an empty `command` is the built-in model server."""

    command: tuple[str, ...] = ()
    port: int = 8080


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model: `paths` are the globs of the files that concern it.

    `artifact` is the output that goes into the image, `metrics` the file that gates read; None
    where there is none. `compatibility` is contract → value: what callers rely on.
    """

    name: str
    paths: tuple[str, ...] = ("**",)
    build: BuildConfig = BuildConfig()
    train: TrainConfig = TrainConfig()
    artifact: str | None = None
    metrics: str | None = None
    gates: tuple[GateRule, ...] = ()
    serve: ServeConfig = ServeConfig()
    compatibility: tuple[tuple[str, str], ...] = ()
    workspace: WorkspaceConfig = WorkspaceConfig()
    triggers: tuple[Trigger, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """mlops.yaml. `registry` is `oci:DIRECTORY` or `host[:port]/prefix`; `environments` stand in
    promotion order; `branches` and `tags` are the globs of the tracked branches and tags, `images` those that
    Tekton documents name by tag."""

    name: str
    models: tuple[ModelConfig, ...]
    registry: str = "oci:.mlops/registry"
    environments: tuple[str, ...] = ("dev", "staging", "prod")
    branches: tuple[str, ...] = ("main",)
    gitops: GitOpsConfig = GitOpsConfig()
    executor: str = "local"
    runtime: str = "auto"
    images: tuple[str, ...] = ()
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    forge: ForgeConfig = field(default_factory=ForgeConfig)
    tags: tuple[str, ...] = ()
    watch: WatchConfig = field(default_factory=WatchConfig)
    pull_requests: PullsConfig = field(default_factory=PullsConfig)
    updates: Updates | None = None

    @property
    def layout(self) -> str | None:
        """The directory of the embedded OCI layout, None where a registry is used."""
        scheme, colon, directory = self.registry.partition(":")
        return directory if colon and scheme == "oci" else None

    @property
    def forge_of_gitops(self) -> ForgeConfig:
        """`forge:` as it holds for the repository of the GitOps branch."""
        return self.forge.elsewhere(self.gitops.url) if self.gitops.url else self.forge

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models, in the file's order."""
        return tuple(model.name for model in self.models)

    def model(self, name: str) -> ModelConfig:
        """Raises UsageError that lists the models where there is none of that name."""
        for model in self.models:
            if model.name == name:
                return model
        raise UsageError(f"no model {name!r} in mlops.yaml", hint=_nearest(name, self.names))

    def environment(self, name: str) -> str:
        """`name` itself. Raises UsageError that lists the environments where it is none."""
        if name in self.environments:
            return name
        raise UsageError(
            f"no environment {name!r} in mlops.yaml", hint=_nearest(name, self.environments)
        )

    def after(self, environment: str) -> str | None:
        """The next environment in promotion order; None after the last."""
        place = self.environments.index(environment) + 1
        return self.environments[place] if place < len(self.environments) else None


def _nearest(name: str, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    there = "It has: " + ", ".join(names)
    return f"Did you mean {near[0]}? {there}" if near else there
