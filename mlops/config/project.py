"""mlops.yaml: text → `Project`, and the JSON schema for editors from the same source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from mlops.config.build import BuildSection
from mlops.config.fields import (
    BranchGlob,
    Command,
    Contract,
    Distinct,
    FilePath,
    GitUrl,
    Glob,
    Name,
    Registry,
    Some,
    TagGlob,
    TaskImage,
    Text,
)
from mlops.config.forge import ForgeSection
from mlops.config.gate import GateSection
from mlops.config.gitops import GitOpsSection
from mlops.config.pulls import PullRequestsSection
from mlops.config.train import TrainSection, WorkspaceSection
from mlops.config.triggers import TriggerSection, UpdatesSection, apart
from mlops.config.validation import Section, schema_of, validate
from mlops.config.watch import WatchSection
from mlops.documents import load
from mlops.domain.cluster import USER, ClusterConfig
from mlops.domain.project import ModelConfig, Project, ServeConfig

# Names of image repositories and of directories below environments/ that are ours already.
_TAKEN_MODELS = ("mlops", "base", "base-host", "wheels")
_TAKEN_ENVIRONMENTS = ("base", "releases")


class ServeSection(Section):
    """How the release image serves."""

    command: Command = Field(
        default=(), description="what the image runs; default: the model server"
    )
    port: int = Field(default=8080, ge=1, le=65535, description="the port that it listens on")


class ModelSection(Section):
    """One model: what it is made of, trained by, judged by and served with."""

    paths: Annotated[tuple[Glob, ...], Some] = Field(
        default=("**",), description="globs of the files that concern the model; default: all"
    )
    build: BuildSection = Field(default=BuildSection(), description="how the images are made")
    train: TrainSection = Field(default=TrainSection(), description="how the model is trained")
    artifact: FilePath | None = Field(
        default=None, description="the output of training that goes into the image"
    )
    metrics: FilePath | None = Field(
        default=None, description="the JSON or YAML file that gates read"
    )
    gates: tuple[GateSection, ...] = Field(
        default=(), description="what a release must pass to enter any environment"
    )
    serve: ServeSection = Field(default=ServeSection(), description="how the release image serves")
    workspace: WorkspaceSection = Field(
        default=WorkspaceSection(), description="the volume that tasks share on a cluster"
    )
    triggers: Annotated[tuple[TriggerSection, ...], AfterValidator(apart)] = Field(
        default=(), description="what asks for a run without a push, such as `cron: 0 3 * * 1`"
    )
    compatibility: dict[Name, Contract] = Field(
        default={},
        description="what callers rely on, such as `input-schema: 3`; kept in the record, and compared"
        " before a rollback",
    )

    @field_validator("gates")
    @classmethod
    def _readable(cls, gates: tuple[GateSection, ...], info: ValidationInfo) -> Any:
        if gates and "metrics" in info.data and info.data["metrics"] is None:
            raise ValueError("gates read a metrics file: name it, such as `metrics: metrics.json`")
        return gates

    def frozen(self, name: str) -> ModelConfig:
        return ModelConfig(
            name,
            self.paths,
            self.build.frozen(),
            self.train.frozen(),
            self.artifact,
            self.metrics,
            tuple(gate.frozen() for gate in self.gates),
            ServeConfig(self.serve.command, self.serve.port),
            tuple(sorted(self.compatibility.items())),
            self.workspace.frozen(),
            tuple(trigger.frozen() for trigger in self.triggers),
        )


class ClusterSection(Section):
    """The cluster that the executor `tekton` uses, and `deploy` and `status --live`."""

    context: Text | None = Field(
        default=None, description="the context of the kubeconfig; default: its current one"
    )
    namespace: Name | None = Field(
        default=None, description="the namespace of runs; default: the context's"
    )

    repository: GitUrl = Field(
        default="", description="this project's URL as pods reach it; default: the remote's"
    )
    user: int = Field(
        default=USER,
        ge=0,
        description="the user that pods run as; 0 leaves it to the cluster, as OpenShift wants it",
    )

    def frozen(self) -> ClusterConfig:
        return ClusterConfig(self.context or "", self.namespace or "", self.user, self.repository)


class ProjectSection(Section):
    """A project: its models, environments and registry."""

    api_version: Literal["mlops/v1"] = Field(alias="apiVersion", description="mlops/v1")
    kind: Literal["Project"] = Field(description="Project")
    name: Name = Field(description="the name of the project")
    registry: Registry = Field(
        default="oci:.mlops/registry",
        description="where images go: oci:DIRECTORY (an OCI image layout) or HOST[:PORT][/PATH]",
    )
    environments: Annotated[tuple[Name, ...], Some, Distinct] = Field(
        default=("dev", "staging", "prod"),
        description="in promotion order; the first receives every release",
    )
    branches: Annotated[tuple[BranchGlob, ...], Some, Distinct] = Field(
        default=("main",), description="globs of the branches that `mlops watch` tracks"
    )
    tags: Annotated[tuple[TagGlob, ...], Distinct] = Field(
        default=(),
        description="globs of the tags that `mlops watch` tracks; never those of releases, `mlops/…`",
    )
    watch: WatchSection = Field(
        default=WatchSection(), description="how `mlops watch` decides what to run"
    )
    gitops: GitOpsSection = Field(
        default=GitOpsSection(), description="where pins and release records live"
    )
    pull_requests: PullRequestsSection = Field(
        default=PullRequestsSection(),
        alias="pull-requests",
        description="what `mlops watch` does with pull requests into the tracked branches",
    )
    forge: ForgeSection = Field(
        default=ForgeSection(), description="the forge that is told of runs, and has pull requests"
    )
    executor: Literal["local", "tekton"] = Field(
        default="local", description="where runs are carried out"
    )
    cluster: ClusterSection = Field(
        default=ClusterSection(), description="the cluster that the executor `tekton` uses"
    )
    runtime: Literal["auto", "sandbox", "podman", "docker", "process"] = Field(
        default="auto", description="where the steps of the local executor run"
    )
    images: Annotated[tuple[TaskImage, ...], Distinct] = Field(
        default=(),
        description="images that Tekton documents name by tag: `mlops lock` pins them, and `mlops runs "
        "submit` takes those digests",
    )
    updates: UpdatesSection | None = Field(
        default=None, description="when new base images and packages are looked for; default: never"
    )
    models: dict[Name, ModelSection] = Field(description="the models of the project, by name")

    @field_validator("environments")
    @classmethod
    def _free(cls, environments: tuple[str, ...]) -> tuple[str, ...]:
        for name in environments:
            if name in _TAKEN_ENVIRONMENTS:
                raise ValueError(f"expected another name than {name!r}: that directory is ours")
        return environments

    @field_validator("models")
    @classmethod
    def _apart(cls, models: dict[str, ModelSection]) -> dict[str, ModelSection]:
        if not models:
            raise ValueError("expected at least one model")
        for name in models:
            if name in _TAKEN_MODELS or name.removesuffix("-env") in models.keys() - {name}:
                raise ValueError(
                    f"expected another name than {name!r}: an image of ours is called so"
                )
        return models

    @field_validator("models")
    @classmethod
    def _locked_apart(cls, models: dict[str, ModelSection]) -> dict[str, ModelSection]:
        builds = [model.build.frozen() for model in models.values() if model.build.requirements]
        inputs = {build.lock: build.requirements for build in builds}
        for build in builds:
            if inputs[build.lock] != build.requirements:
                raise ValueError(
                    f"expected requirements with locks of their own: {inputs[build.lock]} and"
                    f" {build.requirements} would share {build.lock}"
                )
        return models

    def frozen(self) -> Project:
        return Project(
            self.name,
            tuple(model.frozen(name) for name, model in self.models.items()),
            self.registry,
            self.environments,
            self.branches,
            self.gitops.frozen(),
            self.executor,
            self.runtime,
            self.images,
            self.cluster.frozen(),
            self.forge.frozen(),
            self.tags,
            self.watch.frozen(),
            self.pull_requests.frozen(),
            self.updates.frozen() if self.updates is not None else None,
        )


def parse_project(content: bytes, origin: str = "mlops.yaml") -> Project:
    """Read mlops.yaml. Raises ConfigError with every error of the file, each with line and key."""
    return validate(ProjectSection, load(content, origin)).frozen()


def schema() -> dict[str, Any]:
    """The JSON schema of mlops.yaml."""
    return schema_of(ProjectSection, "mlops.yaml")
