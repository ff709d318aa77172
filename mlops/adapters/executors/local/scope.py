"""The values that references stand for, at each moment of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops.errors import ConfigError
from mlops.tekton import defaults, fitting, names, substitution
from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.place import refuse
from mlops.tekton.pod import Action
from mlops.tekton.substitution import Parts, Scope, UnresolvedError
from mlops.tekton.values import Param, Value


@dataclass(frozen=True, slots=True)
class TaskScope:
    """What a task's containers may refer to.

    `late` are parameters whose text names a workspace's path, which only each container knows; they
    are replaced there, with `outer` for all else.
    """

    values: Mapping[Parts, Value]
    late: tuple[Param, ...] = ()
    outer: Mapping[Parts, Value] = field(default_factory=dict)


def of_run(run: PipelineRun, uid: str) -> dict[Parts, Value]:
    """What holds throughout a run: parameters, its context, which workspaces are bound."""
    scope: dict[Parts, Value] = {
        ("context", "pipelineRun", "name"): run.name,
        ("context", "pipelineRun", "namespace"): run.namespace,
        ("context", "pipelineRun", "uid"): uid,
        ("context", "pipeline", "name"): run.pipeline_name,
    }
    given = {name: _in_context(value, scope) for name, value in run.given.items()}
    for name, value in defaults.completed(run.params, given, scope).items():
        scope["params", name] = value
    if run.embedded:
        for name, value in given.items():
            scope.setdefault(("params", name), value)
    for workspace in run.workspaces:
        bound = workspace.name in run.bound
        scope["workspaces", workspace.name, "bound"] = "true" if bound else "false"
    return scope


def _in_context(value: Value, scope: Scope) -> Value:
    """A run's own parameter: it may name the run's context."""
    try:
        return substitution.value(value, scope)
    except UnresolvedError:
        return value


def of_task(
    task: PipelineTask,
    run: PipelineRun,
    scope: Mapping[Parts, Value],
    uid: str,
    *,
    place: tuple[int, int] = (0, 1),
    combination: Mapping[str, str] | None = None,
    partial: bool = False,
) -> TaskScope:
    """What a task's containers may refer to; `retry-count` comes with each attempt.

    `place`, which of how many, and `combination` are those of its matrix. What the task is handed wins over
    what the run has, and that over the task's own defaults (Tekton: docs/pipelineruns.md, propagated parameters).
    Raises ConfigError where a value is of the wrong type, UnresolvedError where a result is missing;
    with `partial`, parameters that wait for results are left out.
    """
    own = {**scope, ("context", "pipelineTask", "retries"): str(task.retries)}
    handed, late, waiting = _handed(task, own, partial=partial)
    if task.embedded:
        handed = {name: _over(scope.get(("params", name)), value) for name, value in handed.items()}
    handed |= combination or {}
    for spec in task.spec.params:
        if spec.name in handed:
            refuse(fitting.type_faults(spec, handed[spec.name], task.at / "params"))
    inherited: dict[str, Value] = {}
    if task.embedded:
        inherited = {parts[1]: value for parts, value in scope.items() if parts[0] == "params"}
    values = {**inherited, **handed}
    values |= defaults.completed(task.spec.params, values, scope)
    for name in (*waiting, *(param.name for param in late)):
        values.pop(name, None)
    name = taskrun_name(run, task.name, place)
    outer = {key: value for key, value in own.items() if key[0] in {"context", "tasks"}}
    found: dict[Parts, Value] = {
        **(outer if task.embedded else {k: v for k, v in outer.items() if k[0] == "context"}),
        **{("params", key): value for key, value in values.items()},
        ("context", "taskRun", "name"): name,
        ("context", "taskRun", "namespace"): run.namespace,
        ("context", "taskRun", "uid"): uid,
        ("context", "task", "name"): task.task_name or name,
    }
    return TaskScope(found, late, own if late else {})


def _over(outer: Value | None, value: Value) -> Value:
    """An object that is handed on lies over the outer one of its name, key by key."""
    both = isinstance(outer, Mapping) and isinstance(value, Mapping)
    return {**outer, **value} if both else value  # type: ignore[dict-item]


def _handed(
    task: PipelineTask, scope: Scope, *, partial: bool
) -> tuple[dict[str, Value], tuple[Param, ...], set[str]]:
    handed: dict[str, Value] = {}
    late: list[Param] = []
    waiting: set[str] = set()
    for param in task.params:
        if task.literal:
            handed[param.name] = param.value
            continue
        if _names_a_workspace(param.value):
            late.append(param)
            continue
        try:
            handed[param.name] = replaced(param, scope)
        except UnresolvedError:
            if not partial:
                raise
            waiting.add(param.name)
    return handed, tuple(late), waiting


def _names_a_workspace(value: Value) -> bool:
    return any(
        reference.parts[0] == "workspaces" and reference.parts[-1] != "bound"
        for reference in substitution.all_references(value)
    )


def replaced(param: Param, scope: Scope) -> Value:
    """A parameter's value, references replaced. Raises ConfigError where one does not fit."""
    try:
        return substitution.value(param.value, scope)
    except substitution.SubstitutionError as exc:
        raise ConfigError((param.at / "value").complaint(str(exc))) from exc


def of_action(action: Action, scope: Mapping[Parts, Value]) -> dict[Parts, Value]:
    """The scope of a step that is a StepAction: its own parameters, none of the task's."""
    given = {param.name: replaced(param, scope) for param in action.given}
    for spec in action.params:
        if spec.name in given:
            refuse(fitting.type_faults(spec, given[spec.name], spec.at))
    found = {parts: value for parts, value in scope.items() if parts[0] != "params"}
    nothing: dict[Parts, Value] = {}
    for name, value in defaults.completed(action.params, given, nothing).items():
        found["params", name] = value
    return found


def taskrun_name(run: PipelineRun, task: str, place: tuple[int, int]) -> str:
    """The name of the TaskRun that carries a task out; `place` within its matrix: which of how many."""
    return run.name if run.kind == "TaskRun" else names.child(run.name, task, *place)
