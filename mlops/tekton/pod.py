"""What one task needs of a machine, as frozen values: storage, containers, the spec of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops.tekton.place import Place
from mlops.tekton.values import Param, ParamSpec, ResultSpec, When


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
class Config:
    """What a ConfigMap or Secret holds: key → content. `binary` is seen as files alone, never as
    variables. `type` and `annotations` are a Secret's."""

    data: Mapping[str, bytes]
    binary: Mapping[str, bytes] = field(default_factory=dict)
    type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Mapping[str, bytes]:
        return {**self.binary, **self.data}


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
