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
from mlops.tekton.pod import Config, Source, TaskSpec, WorkspaceSpec
from mlops.tekton.values import Param, ParamSpec, PipelineResult, Value, When


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
    parameters are a run's own, in which nothing is replaced. `account` is its service account.
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
    account: str = ""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds; None means without end."""

    pipeline: float | None = 3600.0
    tasks: float | None = None
    final: float | None = None


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """All that there is to carry out; a TaskRun (`kind`) is a run of one task.

    `configs` are the ConfigMaps and Secrets of the files, by kind and name; `accounts` the Secrets of
    each service account. `status` is
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
    configs: Mapping[tuple[str, str], Config] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()
    accounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    documents: tuple[Mapping[str, Any], ...] = ()

    @property
    def all_tasks(self) -> tuple[PipelineTask, ...]:
        return self.tasks + self.final
