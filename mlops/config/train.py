"""`train:` and `workspace:` of a model in mlops.yaml: how it is trained, and on what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from mlops.config.fields import (
    Command,
    Distinct,
    Label,
    Name,
    Quantity,
    Text,
    Timeout,
    Variable,
    seconds,
)
from mlops.config.validation import Section
from mlops.domain.cluster import SIZE
from mlops.domain.project import TrainConfig, WorkspaceConfig
from mlops.domain.run import Resources


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
