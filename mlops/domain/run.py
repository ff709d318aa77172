"""Runs: what is to be carried out, how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mlops.domain.cluster import Pods
from mlops.domain.digest import ImageRef
from mlops.domain.source import Commit


class Phase(StrEnum):
    """How far a run, task or step is."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"

    @property
    def done(self) -> bool:
        return self not in (Phase.PENDING, Phase.RUNNING)


class Ending(StrEnum):
    """How a run is to end before its time, the mildest first: what Tekton's `spec.status` may ask for.

    Run no further task, then `finally`; kill tasks, then `finally`; kill tasks, and no `finally`.
    """

    STOPPED = "StoppedRunFinally"
    RUN_FINALLY = "CancelledRunFinally"
    CANCELLED = "Cancelled"

    @property
    def rank(self) -> int:
        """Which of two orders prevails: the one of higher rank."""
        return tuple(Ending).index(self)


@dataclass(frozen=True, slots=True)
class Resources:
    """What training may use, in Kubernetes quantities; empty where not limited."""

    cpu: str = ""
    memory: str = ""
    gpu: int = 0


@dataclass(frozen=True, slots=True)
class RunSpec:
    """All that the generator needs for one PipelineRun; times in seconds.

    `repository` is an absolute path (local executor) or a URL that the executor can fetch;
    `registry` is `oci:<absolute directory>` or a registry prefix. `baseline` is the digest of the
    release that the run starts from, empty at the first.
    """

    name: str
    attempt: int
    model: str
    source: Commit
    repository: str
    registry: str
    tool: ImageRef
    environment: str  # the first environment; empty: record only
    gitops_path: str
    gitops_branch: str
    gitops_url: str = ""  # empty: the same repository
    baseline: str = ""
    since: str = ""
    train: bool = True
    rebuild: bool = False  # do not reuse a built environment image
    retrain: bool = False  # train also what DVC does not find stale
    pin: bool = True
    actor: str = ""
    plan: str = ""  # the plan's summary, kept in the record
    network: bool = False  # of the user's training commands
    resources: Resources = Resources()
    train_env: tuple[tuple[str, str], ...] = ()
    train_timeout: float = 3600.0
    timeout: float = 7200.0  # of the whole run
    pods: Pods | None = None  # on a cluster; None: on this machine


Value = str | tuple[str, ...] | Mapping[str, str]
"""What a parameter or result holds: Tekton's string, array and object."""


@dataclass(frozen=True, slots=True)
class StepState:
    """One step of an attempt; `image` as the document names it, references replaced."""

    name: str
    phase: Phase
    exit_code: int | None = None
    started: datetime | None = None
    finished: datetime | None = None
    reason: str = ""
    image: str = ""
    results: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """A `when` of a task, references replaced: `(input in values) != negated`."""

    input: str
    negated: bool
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskState:
    """One TaskRun of a run; `runtime` is where its steps ran, `attempts` counts from 1.

    `name` is unique in the run; `task` names the pipeline task where it is another (one combination
    of a matrix), `taskrun` the TaskRun, empty before it has one. `waits` says what a task that could
    start waits for. `earlier` are the attempts before this one, `when` its conditions,
    `combination` the parameters that its matrix gives it. `ignored`: it failed, and that is no failure
    of the run.
    """

    name: str
    phase: Phase
    reason: str = ""
    message: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    attempts: int = 1
    after: tuple[str, ...] = ()  # the pipeline tasks that it waits for
    final: bool = False  # of `finally`
    runtime: str = ""
    network: bool = True
    results: Mapping[str, Value] = field(default_factory=dict)
    steps: tuple[StepState, ...] = ()
    task: str = ""
    taskrun: str = ""
    uid: str = ""
    waits: str = ""
    when: tuple[Condition, ...] = ()
    earlier: tuple[TaskState, ...] = ()
    combination: Mapping[str, str] = field(default_factory=dict)
    ignored: bool = False
    display_name: str = ""

    @property
    def of(self) -> str:
        """The pipeline task that this is, or is one combination of."""
        return self.task or self.name


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run went, or stands; `reason` and `message` as Tekton's Succeeded condition has them.

    `notes` say what the executor did not do, or did otherwise: fields without effect, the runtime.
    `finally_started` is when `finally` began, None where it did not. A TaskRun (`kind`) has one task.
    """

    name: str
    phase: Phase
    reason: str
    message: str
    started: datetime | None
    finished: datetime | None
    tasks: tuple[TaskState, ...] = ()
    results: Mapping[str, Value] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    uid: str = ""
    finally_started: datetime | None = None
    kind: str = "PipelineRun"

    def text(self, result: str) -> str:
        """A result of type string; empty where there is none of that name and type."""
        value = self.results.get(result, "")
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a step wrote, its bytes read as UTF-8 and otherwise as they are: not fit for a
    terminal. `time` is when its first byte came; `partial` says that the line goes on in the next.
    """

    time: datetime | None
    task: str
    step: str
    text: str
    partial: bool = False
