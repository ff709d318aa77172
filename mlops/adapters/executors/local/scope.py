"""The values that references stand for, at each moment of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from mlops.tekton import substitution
from mlops.tekton.document import ParamSpec, PipelineRun, PipelineTask, Value
from mlops.tekton.substitution import Parts
from mlops.tekton.validate import check_type

_LONGEST = 63  # characters of a Kubernetes name


def of_run(run: PipelineRun, uid: str) -> dict[Parts, Value]:
    """What holds throughout a run: parameters, its context, which workspaces are bound."""
    scope: dict[Parts, Value] = {
        ("context", "pipelineRun", "name"): run.name,
        ("context", "pipelineRun", "namespace"): run.namespace,
        ("context", "pipelineRun", "uid"): uid,
        ("context", "pipeline", "name"): run.name,  # Tekton: an embedded pipeline has the run's
    }
    for name, value in _with_defaults(run.params, run.given).items():
        scope["params", name] = value
    for workspace in run.workspaces:
        bound = workspace.name in run.bound
        scope["workspaces", workspace.name, "bound"] = "true" if bound else "false"
    return scope


def of_task(
    task: PipelineTask,
    run: PipelineRun,
    scope: Mapping[Parts, Value],
    uid: str,
    *,
    partial: bool = False,
) -> dict[Parts, Value]:
    """What a task's containers may refer to; `retry-count` comes with each attempt.

    Inner values win over outer ones, given ones over defaults (Tekton: docs/pipelineruns.md,
    propagated parameters). Raises ConfigError where a value is of the wrong type, UnresolvedError
    where a result is missing; with `partial`, parameters that wait for results are left out.
    """
    handed: dict[str, Value] = {}
    waiting: set[str] = set()
    for index, (name, template) in enumerate(task.params):
        path = f"{task.path}.params[{index}].value"
        try:
            handed[name] = substitution.value(template, scope, path)
        except substitution.UnresolvedError:
            if not partial:
                raise
            waiting.add(name)
    for spec in task.spec.params:
        if spec.name in handed:
            check_type(spec, handed[spec.name], f"{task.path}.params")
    inherited = {parts[1]: value for parts, value in scope.items() if parts[0] == "params"}
    outer = {name: value for name, value in inherited.items() if name in run.given}
    declared = _with_defaults(task.spec.params, {**outer, **handed})
    values = {**inherited, **handed, **declared}
    for name in waiting:
        values.pop(name, None)
    name = child_name(run.name, task.name)
    found: dict[Parts, Value] = {
        **{parts: value for parts, value in scope.items() if parts[0] == "context"},
        **{("params", key): value for key, value in values.items()},
        ("context", "taskRun", "name"): name,
        ("context", "taskRun", "namespace"): run.namespace,
        ("context", "taskRun", "uid"): uid,
        ("context", "task", "name"): name,  # Tekton: an embedded task has the TaskRun's
    }
    return found


def _with_defaults(specs: Iterable[ParamSpec], given: Mapping[str, Value]) -> dict[str, Value]:
    """Declared parameters with what was given; objects are completed key by key."""
    found: dict[str, Value] = {}
    for spec in specs:
        value = given.get(spec.name, spec.default)
        if isinstance(value, Mapping) and isinstance(spec.default, Mapping):
            value = {**spec.default, **value}
        if value is not None:
            found[spec.name] = value
    return found


def child_name(parent: str, child: str) -> str:
    """A TaskRun's name: both, or where that is too long, a part of them and a hash."""
    name = f"{parent}-{child}"
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: _LONGEST - 17].rstrip('-')}-{digest}"
