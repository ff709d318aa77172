"""What is to be carried out, as frozen values: what reading makes and everything else reads.

References are resolved: a task holds the whole spec of the Task that it names, a step that of its
StepAction. Texts still hold `$(…)`; `substitution` replaces them when a task begins. `at` is the
place in the documents, for messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops.tekton.place import Place

Value = str | tuple[str, ...] | Mapping[str, str]
"""What a parameter or result holds: Tekton's string, array and object."""


def kind_of(value: Value) -> str:
    """Tekton's name for the type of a value."""
    if isinstance(value, Mapping):
        return "object"
    return "array" if isinstance(value, tuple) else "string"


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """A declared parameter; `kind` is string, array or object. `properties` None: not declared."""

    name: str
    kind: str
    at: Place
    default: Value | None = None
    properties: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Param:
    """A value that is handed on, under a name."""

    name: str
    value: Value
    at: Place


@dataclass(frozen=True, slots=True)
class ResultSpec:
    """A result of a task or step; `value` is a task's reference to one of its steps' results."""

    name: str
    kind: str
    at: Place
    properties: tuple[str, ...] | None = None
    value: str = ""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    name: str
    value: Value
    at: Place
    kind: str = ""


@dataclass(frozen=True, slots=True)
class When:
    input: str
    negated: bool
    values: tuple[str, ...]
    at: Place


# -- storage


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A fresh directory; `limit` in bytes, None without one."""

    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A directory that outlives a task: of the run (`name` empty: made from a template), or, under
    its name, of this machine."""

    name: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """Files from a ConfigMap or Secret. `items`: key → path; None for all keys by their names."""

    kind: str
    name: str
    at: Place
    items: tuple[tuple[str, str, int | None], ...] | None = None
    optional: bool = False
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Projected:
    sources: tuple[ConfigFiles, ...]


Source = EmptyDir | Claim | ConfigFiles | Projected


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    source: Source
    at: Place


@dataclass(frozen=True, slots=True)
class Mount:
    volume: str
    mount_path: str
    at: Place
    sub_path: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """A workspace that a task or pipeline declares; `mount_path` is where a container sees it."""

    name: str
    mount_path: str
    at: Place
    optional: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """A pipeline task's workspace → the run's workspace, perhaps a directory in it."""

    name: str
    workspace: str
    sub_path: str
    at: Place


@dataclass(frozen=True, slots=True)
class Bound:
    """What a run gives for a workspace."""

    source: Source
    at: Place
    sub_path: str = ""


# -- containers


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key of a ConfigMap or Secret."""

    kind: str
    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Env:
    """A variable; its value comes from `source`, or from the field `downward` of the pod, or is
    `value`."""

    name: str
    at: Place
    value: str = ""
    source: KeyRef | None = None
    downward: str = ""


@dataclass(frozen=True, slots=True)
class EnvFrom:
    """All keys of a ConfigMap or Secret as variables."""

    kind: str
    name: str
    at: Place
    prefix: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory` and `disk` in bytes, `cpu` in cores; None without a limit."""

    memory: int | None = None
    cpu: float | None = None
    disk: int | None = None


@dataclass(frozen=True, slots=True)
class Security:
    """Who a container runs as; None where the image says."""

    user: int | None = None
    group: int | None = None
    non_root: bool = False
    read_only_root: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """When a sidecar is ready. One of `command`, `port` (with `path` for http) is set; times in
    seconds."""

    at: Place
    command: tuple[str, ...] = ()
    port: int = 0
    http: bool = False
    scheme: str = "http"
    host: str = ""
    path: str = "/"
    delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    failures: int = 3
    successes: int = 1


@dataclass(frozen=True, slots=True)
class Action:
    """The parameters of a StepAction, and what the step at `at` hands it."""

    name: str
    at: Place
    params: tuple[ParamSpec, ...]
    given: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class Container:
    """A step (stepTemplate laid under it, its StepAction filled in) or a sidecar.

    `workspaces` are those that it lists itself: name → mount path, empty where the task's own
    stands. `timeout` in seconds. `on_error` may hold a reference.
    """

    name: str
    at: Place
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    script: str = ""
    env: tuple[Env, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    workspaces: tuple[tuple[str, str], ...] = ()
    limits: Limits = field(default_factory=Limits)
    security: Security = field(default_factory=Security)
    on_error: str = ""
    timeout: float | None = None
    results: tuple[ResultSpec, ...] = ()
    when: tuple[When, ...] = ()
    action: Action | None = None
    probes: tuple[Probe, ...] = ()
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    at: Place
    params: tuple[ParamSpec, ...]
    results: tuple[ResultSpec, ...]
    workspaces: tuple[WorkspaceSpec, ...]
    volumes: tuple[Volume, ...]
    steps: tuple[Container, ...]
    sidecars: tuple[Container, ...]
    display_name: str = ""
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


# -- pipelines and runs


@dataclass(frozen=True, slots=True)
class Include:
    """A combination that a matrix names itself."""

    name: str
    params: tuple[Param, ...]
    at: Place


@dataclass(frozen=True, slots=True)
class Matrix:
    at: Place
    params: tuple[Param, ...] = ()
    include: tuple[Include, ...] = ()

    @property
    def all_params(self) -> tuple[Param, ...]:
        return self.params + tuple(param for each in self.include for param in each.params)


@dataclass(frozen=True, slots=True)
class PipelineTask:
    """A node of the graph, or several where it has a matrix.

    `embedded` tells that the spec stands in the run's own document, so that parameters and
    workspaces reach it without being handed on; else `task_name` is the Task's name. `timeout` in
    seconds for each attempt, None without one. `on_error` may hold a reference. `literal`: its
    parameters are a run's own, in which nothing is replaced.
    """

    name: str
    at: Place
    spec: TaskSpec
    embedded: bool = True
    task_name: str = ""
    params: tuple[Param, ...] = ()
    matrix: Matrix | None = None
    run_after: tuple[str, ...] = ()
    when: tuple[When, ...] = ()
    workspaces: tuple[Binding, ...] = ()
    retries: int = 0
    timeout: float | None = None
    on_error: str = ""
    final: bool = False
    display_name: str = ""
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds; None means without end."""

    pipeline: float | None = 3600.0
    tasks: float | None = None
    final: float | None = None


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """All that there is to carry out; a TaskRun (`kind`) is a run of one task.

    `configs` are the ConfigMaps and Secrets of the files: (kind, name) → key → content. `status` is
    `spec.status` as submitted, `status_message` what a TaskRun says to it. `documents` are the run,
    name filled in, and whatever it refers to.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    params: tuple[ParamSpec, ...]
    given: Mapping[str, Value]
    workspaces: tuple[WorkspaceSpec, ...]
    bound: Mapping[str, Bound]
    tasks: tuple[PipelineTask, ...]
    final: tuple[PipelineTask, ...]
    results: tuple[PipelineResult, ...]
    timeouts: Timeouts
    kind: str = "PipelineRun"
    pipeline_name: str = ""
    embedded: bool = True
    at: Place = field(default_factory=Place)
    status: str = ""
    status_message: str = ""
    configs: Mapping[tuple[str, str], Mapping[str, bytes]] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    documents: tuple[Mapping[str, Any], ...] = ()

    @property
    def all_tasks(self) -> tuple[PipelineTask, ...]:
        return self.tasks + self.final
