"""Reads Tasks, pipeline tasks and Pipelines: the graph, with every reference filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mlops.tekton import containers, parts, storage
from mlops.tekton.containers import Overrides
from mlops.tekton.document import Binding, Include, Matrix, PipelineTask
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place
from mlops.tekton.pod import Container, TaskSpec, WorkspaceSpec
from mlops.tekton.values import ParamSpec, PipelineResult

NETWORK_ANNOTATION = "dev.mlops/network"


@dataclass(frozen=True, slots=True)
class Library:
    """The spec of each Task, Pipeline and StepAction of the files, by name, with its place."""

    tasks: Mapping[str, tuple[Raw, Place]] = field(default_factory=dict)
    pipelines: Mapping[str, tuple[Raw, Place]] = field(default_factory=dict)
    actions: Mapping[str, tuple[Raw, Place]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """A Pipeline; `embedded` where it stands in the run itself."""

    at: Place
    embedded: bool
    params: tuple[ParamSpec, ...]
    workspaces: tuple[WorkspaceSpec, ...]
    tasks: tuple[PipelineTask, ...]
    final: tuple[PipelineTask, ...]
    results: tuple[PipelineResult, ...]


def pipeline(
    raw: Raw,
    at: Place,
    library: Library,
    overrides: Mapping[str, Overrides],
    default: Overrides,
    faults: Faults,
    *,
    embedded: bool,
) -> PipelineSpec:
    """A pipeline's spec; `overrides` are the run's own for some of its tasks."""

    def tasks(key: str) -> tuple[PipelineTask, ...]:
        return tuple(
            _task(item, place, library, overrides, default, faults, final=key == "finally")
            for item, place in parts.items(raw, key, at)
        )

    final = tasks("finally")
    for task in final:
        if task.run_after:
            faults.add(task.at / "runAfter", "a finally task runs after all others anyway")
    if not raw.get("tasks"):
        faults.add(at / "tasks", "is missing: a pipeline has one task at least")
    return PipelineSpec(
        at,
        embedded,
        parts.param_specs(raw, at, faults),
        parts.workspace_specs(raw, at, faults),
        tasks("tasks"),
        final,
        _results(raw, at, faults),
    )


def _results(raw: Raw, at: Place, faults: Faults) -> tuple[PipelineResult, ...]:
    found: list[PipelineResult] = []
    for item, place in parts.items(raw, "results", at):
        name = parts.text(item, "name", place, faults)
        if any(name == each.name for each in found):
            faults.add(place / "name", f"{name!r} is there twice")
        if item.get("value") is None:
            faults.add(place / "value", "is missing")
            continue
        value = parts.value_of(item["value"])
        if isinstance(value, str) and not isinstance(item["value"], str):
            faults.add(place / "value", "must hold nothing but texts")
        found.append(PipelineResult(name, value, place, item.get("type") or ""))
    return tuple(found)


def _task(
    raw: Raw,
    at: Place,
    library: Library,
    overrides: Mapping[str, Overrides],
    default: Overrides,
    faults: Faults,
    *,
    final: bool,
) -> PipelineTask:
    name = parts.label(raw.get("name"), at / "name", faults, "pipeline task")
    over = overrides.get(name, default)
    spec, task_name = _spec_of(raw, at, library, over, faults)
    retries = raw.get("retries") or 0
    if retries < 0:
        faults.add(at / "retries", f"must not be negative, and is {retries}")
    on_error = str(raw.get("onError") or "")
    if on_error not in {"", "continue", "stopAndFail"} and not on_error.startswith("$(params"):
        faults.add(at / "onError", f"must be continue or stopAndFail, not {on_error!r}")
    if on_error == "continue" and retries > 0:
        faults.add(at / "onError", "continue cannot stand beside retries")
    return PipelineTask(
        name=name,
        at=at,
        spec=spec,
        embedded=not task_name,
        task_name=task_name,
        params=parts.params(raw, at, faults),
        matrix=_matrix(raw, at, faults),
        run_after=tuple(raw.get("runAfter") or ()),
        when=parts.when(raw, at, faults),
        workspaces=_bindings(raw, at, faults),
        retries=max(0, retries),
        timeout=parts.seconds(raw, "timeout") or None,
        on_error=on_error,
        final=final,
        account=over.account,
        display_name=raw.get("displayName") or "",
    )


def _spec_of(
    raw: Raw, at: Place, library: Library, over: Overrides, faults: Faults
) -> tuple[TaskSpec, str]:
    """The spec of a task, written in it or found by its name."""
    given = [key for key in ("taskRef", "taskSpec") if raw.get(key) is not None]
    if len(given) != 1:
        what = "both taskRef and taskSpec" if given else "neither taskRef nor taskSpec"
        faults.add(at, f"has {what}")
    if raw.get("taskRef") is not None:
        _check_kind(raw["taskRef"], at / "taskRef", faults)
        found, name = referenced(raw["taskRef"], at / "taskRef", library, faults)
        if found is None:
            return nothing(at), name
        return task_spec(*found, library, over, faults), name
    if raw.get("taskSpec") is None:
        return nothing(at), ""
    return task_spec(raw["taskSpec"], at / "taskSpec", library, over, faults), ""


def _check_kind(ref: Raw, at: Place, faults: Faults) -> None:
    """A pipeline task with an apiVersion is a custom task, be it Tekton's own; so is one of another kind."""
    version, kind = ref.get("apiVersion") or "", ref.get("kind") or "Task"
    if version or kind != "Task":
        what = f"{version or 'no apiVersion'}, kind {kind}"
        hint = "Leave apiVersion out where it names a Task" if kind == "Task" else ""
        message = f"not carried out here: a custom task ({what}) needs its own controller"
        faults.add(at, message, hint)


def referenced(
    ref: Raw, at: Place, library: Library, faults: Faults
) -> tuple[tuple[Raw, Place] | None, str]:
    """The Task that a taskRef names, and its name."""
    name = parts.text(ref, "name", at, faults)
    found = library.tasks.get(name)
    if found is None and name:
        known = ", ".join(sorted(library.tasks)) or "none"
        faults.add(
            at / "name",
            f"there is no Task {name!r} in the files",
            f"They hold: {known}. Name its file too: -f FILE",
        )
    return found, name or "missing"


def nothing(at: Place) -> TaskSpec:
    """What stands in for a spec that is missing."""
    return TaskSpec(at, (), (), (), (), (), ())


def task_spec(raw: Raw, at: Place, library: Library, over: Overrides, faults: Faults) -> TaskSpec:
    """A task's spec."""
    template = raw.get("stepTemplate") or {}
    annotations = (raw.get("metadata") or {}).get("annotations") or {}
    network = annotations.get(NETWORK_ANNOTATION)
    if network not in {None, "none"}:
        where = at / "metadata" / "annotations" / NETWORK_ANNOTATION
        faults.add(where, f"must be none, not {network!r}")
    if not raw.get("steps"):
        faults.add(at / "steps", "is missing: a task has one step at least")
    found = TaskSpec(
        at=at,
        params=parts.param_specs(raw, at, faults),
        results=parts.results(raw, at, faults),
        workspaces=parts.workspace_specs(raw, at, faults),
        volumes=storage.volumes(raw, at, faults) + over.volumes,
        steps=tuple(
            containers.step(item, template, place, index, library.actions, over, faults)
            for index, (item, place) in enumerate(parts.items(raw, "steps", at))
        ),
        sidecars=tuple(
            containers.sidecar(item, place, index, over, faults)
            for index, (item, place) in enumerate(parts.items(raw, "sidecars", at))
        ),
        display_name=raw.get("displayName") or "",
        network=network is None,
    )
    _unique_names(found, faults)
    _listed(found, faults)
    return _apart(found)


def _apart(spec: TaskSpec) -> TaskSpec:
    """A sidecar that has the name of a step is told apart by a prefix: both have files and logs."""
    steps = {step.name for step in spec.steps}
    if not any(sidecar.name in steps for sidecar in spec.sidecars):
        return spec
    taken = steps | {sidecar.name for sidecar in spec.sidecars}

    def renamed(sidecar: Container) -> Container:
        name = sidecar.name
        while name in steps or (name != sidecar.name and name in taken):
            name = f"sidecar-{name}"
        return replace(sidecar, name=name)

    return replace(spec, sidecars=tuple(map(renamed, spec.sidecars)))


def _listed(spec: TaskSpec, faults: Faults) -> None:
    """What a container lists must be declared here: a workspace of the run's does not count."""
    declared = {each.name for each in spec.workspaces}
    for container in spec.containers:
        for name, _ in container.workspaces:
            if name not in declared:
                faults.add(container.at / "workspaces", f"the task has no workspace {name!r}")


def _unique_names(spec: TaskSpec, faults: Faults) -> None:
    for each, kind in ((spec.steps, "step"), (spec.sidecars, "sidecar")):
        seen: set[str] = set()
        for container in each:
            if container.name in seen:
                faults.add(container.at / "name", f"the {kind} {container.name!r} is there twice")
            seen.add(container.name)
    names_seen: set[str] = set()
    for result in spec.results:
        if result.name in names_seen:
            faults.add(result.at / "name", f"{result.name!r} is there twice")
        names_seen.add(result.name)


def _matrix(raw: Raw, at: Place, faults: Faults) -> Matrix | None:
    matrix, place = raw.get("matrix"), at / "matrix"
    if matrix is None:
        return None
    return Matrix(
        place,
        parts.params(matrix, place, faults),
        tuple(
            Include(item.get("name") or "", parts.params(item, here, faults), here)
            for item, here in parts.items(matrix, "include", place)
        ),
    )


def _bindings(raw: Raw, at: Place, faults: Faults) -> tuple[Binding, ...]:
    found: list[Binding] = []
    for item, place in parts.items(raw, "workspaces", at):
        name = parts.workspace_name(item, place, faults)
        if any(name == each.name for each in found):
            faults.add(place / "name", f"{name!r} is there twice")
        sub_path = item.get("subPath") or ""
        storage.check_sub_path(sub_path, place / "subPath", faults)
        found.append(Binding(name, item.get("workspace") or name, sub_path, place))
    return tuple(found)


def with_timeout(task: PipelineTask, limit: float | None) -> PipelineTask:
    """The task with the timeout that its run sets for it."""
    return task if limit is None else replace(task, timeout=limit or None)
