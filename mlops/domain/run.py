"""Runs: what is to be carried out, how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

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
    pin: bool = True
    actor: str = ""
    plan: str = ""  # the plan's summary, kept in the record
    network: bool = False  # of the user's training commands
    resources: Resources = Resources()
    train_env: tuple[tuple[str, str], ...] = ()
    train_timeout: float = 3600.0
    timeout: float = 7200.0  # of the whole run


@dataclass(frozen=True, slots=True)
class StepState:
    name: str
    phase: Phase
    exit_code: int | None = None
    started: datetime | None = None
    finished: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task of a run; `runtime` is where its steps ran, `attempts` counts from 1."""

    name: str
    phase: Phase
    reason: str = ""
    message: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    attempts: int = 1
    runtime: str = ""
    network: bool = True
    results: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepState, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run went, or stands; `reason` and `message` as Tekton's Succeeded condition has them.

    `notes` say what the executor did not do, or did otherwise: fields without effect, the runtime.
    """

    name: str
    phase: Phase
    reason: str
    message: str
    started: datetime | None
    finished: datetime | None
    tasks: tuple[TaskState, ...] = ()
    results: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
