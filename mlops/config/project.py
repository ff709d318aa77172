"""mlops.yaml: text → `Project`, and the JSON schema for editors from the same source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from mlops.config.fields import (
    BaseImage,
    Branch,
    BranchGlob,
    Command,
    Contract,
    Distinct,
    FilePath,
    GitUrl,
    Glob,
    Label,
    Name,
    Platform,
    Quantity,
    Registry,
    Single,
    Some,
    TagGlob,
    TaskImage,
    Text,
    Timeout,
    TreePath,
    Variable,
    seconds,
)
from mlops.config.forge import ForgeSection
from mlops.config.gate import GateSection
from mlops.config.pulls import PullRequestsSection
from mlops.config.triggers import TriggerSection, UpdatesSection, apart
from mlops.config.validation import Section, schema_of, validate
from mlops.config.watch import WatchSection
from mlops.documents import load
from mlops.domain.cluster import SIZE, USER, ClusterConfig
from mlops.domain.project import (
    BuildConfig,
    GitOpsConfig,
    ModelConfig,
    Project,
    ServeConfig,
    TrainConfig,
    WorkspaceConfig,
)
from mlops.domain.run import Resources

# Names of image repositories and of directories below environments/ that are ours already.
_TAKEN_MODELS = ("mlops", "base", "base-host", "wheels")
_TAKEN_ENVIRONMENTS = ("base", "releases")

_Way = Literal["push", "pull-request"]


class GitOpsSection(Section):
    """Where pins and release records live."""

    url: GitUrl = Field(default="", description="the GitOps repository; default: this one")
    branch: Branch = Field(default="", description="its branch; default: the branch of the source")
    path: FilePath = Field(
        default="environments", description="the directory that holds the environments"
    )
    mode: _Way = Field(default="push", description="how commits of ours reach that branch")
    rollback: _Way | None = Field(
        default=None, description="how rollbacks reach it; default: as `mode`"
    )
    auto_merge: bool = Field(
        default=False,
        alias="auto-merge",
        description="whether the forge is asked to merge pull requests of pins once it may",
    )

    def frozen(self) -> GitOpsConfig:
        rollback = self.rollback or self.mode
        return GitOpsConfig(self.url, self.branch, self.path, self.mode, rollback, self.auto_merge)


class BuildSection(Section):
    """How the images of the model are made."""

    strategy: Literal["layers"] = Field(default="layers", description="how images are assembled")
    base: BaseImage = Field(
        default="host",
        description="the base image, pinned in mlops.lock; `host` packs this machine's interpreter",
    )
    requirements: FilePath = Field(
        default="",
        description="what `mlops lock` resolves: requirements.txt, pyproject.toml, uv.lock, pylock.toml"
        " or Pipfile.lock; default: the one that is there",
    )
    code: Annotated[tuple[TreePath, ...], Distinct] = Field(
        default=(), description="files and directories of application code that go into the image"
    )
    platforms: Annotated[tuple[Platform, ...], Some, Single] = Field(
        default=("linux/amd64",),
        description="the platform that images are built for, linux/amd64 or linux/arm64; one, for now",
        json_schema_extra={"minItems": 1, "maxItems": 1},
    )
    allow_sdist: Annotated[tuple[Text, ...], Distinct] = Field(
        default=(),
        description="packages that are built from source, in the base, and not taken as wheels",
    )
    bytecode: bool = Field(
        default=True,
        description="whether packages stand in the image compiled: it is larger, and starts sooner",
    )
    compression: Literal["gzip", "zstd"] = Field(
        default="gzip",
        description="how layers are packed; zstd is smaller and sooner unpacked, and needs docker 23, "
        "containerd 1.5 or podman 4; umoci reads gzip alone",
    )
    labels: dict[Label, Text] = Field(
        default={}, description="labels of the release image, beside those of mlops"
    )

    def frozen(self) -> BuildConfig:
        return BuildConfig(
            self.strategy,
            self.base,
            self.requirements,
            self.code,
            self.platforms,
            self.allow_sdist,
            self.bytecode,
            self.compression,
            tuple(sorted(self.labels.items())),
        )


class ResourcesSection(Section):
    """What training may use; without effect on the local executor."""

    cpu: Quantity = Field(default="", description='processors, as a Kubernetes quantity: "2", 500m')
    memory: Quantity = Field(default="", description="memory, as a Kubernetes quantity: 4Gi")
    gpu: int = Field(default=0, ge=0, description="how many GPUs")


class TolerationSection(Section):
    """A taint of nodes that pods of a run bear, as Kubernetes has it."""

    key: Text | None = Field(default=None, description="the taint's key; default: every taint")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="how it is compared")
    value: str = Field(default="", description="the taint's value, for Equal")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="the taint's effect; default: every one"
    )

    def frozen(self) -> tuple[tuple[str, str], ...]:
        given = {"operator": self.operator, "effect": self.effect, "value": self.value}
        key = (("key", self.key),) if self.key is not None else ()
        return key + tuple((name, text) for name, text in given.items() if text)


class WorkspaceSection(Section):
    """The volume that the tasks of a run share on a cluster."""

    size: Quantity = Field(default=SIZE, description="its size, as a Kubernetes quantity: 20Gi")
    storage_class: Name | None = Field(
        default=None,
        alias="storageClass",
        description="its StorageClass; default: the cluster's own",
    )

    def frozen(self) -> WorkspaceConfig:
        return WorkspaceConfig(self.size or SIZE, self.storage_class or "")


class TrainSection(Section):
    """How the model is trained."""

    stages: Annotated[tuple[Text, ...], Distinct] = Field(
        default=(), description="the DVC stages to reproduce; default: the whole pipeline"
    )
    command: Command = Field(
        default=(), description="the training command of a project without DVC"
    )
    resources: ResourcesSection = Field(
        default=ResourcesSection(), description="what training may use"
    )
    timeout: Timeout = Field(default="1h", description="how long training may take")
    network: bool = Field(default=False, description="whether training may use the network")
    env: dict[Variable, str] = Field(
        default={}, description="environment variables of the training commands, kept in the record"
    )

    node_selector: dict[Label, str] = Field(
        default={}, description="labels of the nodes that a run's pods may be on, on a cluster"
    )
    tolerations: tuple[TolerationSection, ...] = Field(
        default=(), description="taints of nodes that a run's pods bear, on a cluster"
    )

    @field_validator("command")
    @classmethod
    def _one_way(cls, command: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("stages"):
            raise ValueError("expected stages (with DVC) or command (without), not both")
        return command

    def frozen(self) -> TrainConfig:
        limits = self.resources
        return TrainConfig(
            self.stages,
            self.command,
            Resources(limits.cpu, limits.memory, limits.gpu),
            seconds(self.timeout),
            self.network,
            tuple(self.env.items()),
            tuple(sorted(self.node_selector.items())),
            tuple(each.frozen() for each in self.tolerations),
        )


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
