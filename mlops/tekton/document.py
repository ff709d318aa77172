"""A PipelineRun document as frozen values: what `parse` makes and everything else reads.

`path` fields hold the place in the document, for messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = str | tuple[str, ...] | Mapping[str, str]
"""What a parameter or result holds: Tekton's string, array and object."""


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """A declared parameter; `kind` is string, array or object."""

    name: str
    kind: str
    path: str
    default: Value | None = None
    properties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultSpec:
    name: str
    kind: str = "string"
    properties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PipelineResult:
    name: str
    value: Value
    path: str


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """A workspace that a task declares; `mount_path` is where a container sees it."""

    name: str
    mount_path: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """A pipeline task's workspace → the run's workspace, perhaps a directory in it."""

    name: str
    workspace: str
    sub_path: str
    path: str


@dataclass(frozen=True, slots=True)
class Mount:
    volume: str
    mount_path: str


@dataclass(frozen=True, slots=True)
class Container:
    """A step (stepTemplate laid under it) or a sidecar.

    `workspaces` are those that it lists itself: name → mount path, empty where the task's own
    stands. `memory` is in bytes.
    """

    name: str
    path: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    script: str = ""
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    workspaces: tuple[tuple[str, str], ...] = ()
    memory: int | None = None
    continues: bool = False  # onError: continue


@dataclass(frozen=True, slots=True)
class TaskSpec:
    params: tuple[ParamSpec, ...]
    results: tuple[ResultSpec, ...]
    workspaces: tuple[WorkspaceSpec, ...]
    volumes: tuple[str, ...]
    steps: tuple[Container, ...]
    sidecars: tuple[Container, ...]
    network: bool = True

    @property
    def containers(self) -> tuple[Container, ...]:
        return self.sidecars + self.steps

    @property
    def isolated(self) -> frozenset[str]:
        """Workspaces that some step or sidecar lists: only those that list one see it."""
        return frozenset(name for each in self.containers for name, _ in each.workspaces)

    def visible(self, container: Container) -> tuple[tuple[WorkspaceSpec, str], ...]:
        """The workspaces that a container sees, each with its mount path there."""
        own = dict(container.workspaces)
        isolated = self.isolated
        return tuple(
            (each, own.get(each.name) or each.mount_path)
            for each in self.workspaces
            if each.name in own or each.name not in isolated
        )


@dataclass(frozen=True, slots=True)
class When:
    input: str
    negated: bool
    values: tuple[str, ...]
    path: str


@dataclass(frozen=True, slots=True)
class PipelineTask:
    """A node of the graph; `timeout` in seconds for each attempt, None without one."""

    name: str
    path: str
    spec: TaskSpec
    params: tuple[tuple[str, Value], ...] = ()
    run_after: tuple[str, ...] = ()
    when: tuple[When, ...] = ()
    workspaces: tuple[Binding, ...] = ()
    retries: int = 0
    timeout: float | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds; None means without end."""

    pipeline: float | None = 3600.0
    tasks: float | None = None
    final: float | None = None


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """The whole document. `bound` says what each given workspace is: `claim` or `empty`."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    params: tuple[ParamSpec, ...]
    given: Mapping[str, Value]
    workspaces: tuple[WorkspaceSpec, ...]
    bound: Mapping[str, str]
    tasks: tuple[PipelineTask, ...]
    final: tuple[PipelineTask, ...]
    results: tuple[PipelineResult, ...]
    timeouts: Timeouts
    notes: tuple[str, ...] = field(default=())

    @property
    def all_tasks(self) -> tuple[PipelineTask, ...]:
        return self.tasks + self.final
