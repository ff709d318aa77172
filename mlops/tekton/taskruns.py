"""A submitted TaskRun: a run of one task."""

from __future__ import annotations

from dataclasses import replace

from mlops.tekton import graph, names, overrides, parts, propagation, storage, tasks
from mlops.tekton.bundle import Bundle
from mlops.tekton.containers import Overrides
from mlops.tekton.document import Binding, PipelineRun, PipelineTask, Timeouts
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place

HOUR = 3600.0  # seconds: what Tekton gives a run, and a task, that names no timeout


_TASK_STATES = {
    "": "",
    "TaskRunCancelled": "Cancelled",
    "TaskRunPending": "PipelineRunPending",
}


def namespace(metadata: Raw, at: Place, faults: Faults) -> str:
    name = metadata.get("namespace") or "default"
    return parts.label(name, at / "metadata" / "namespace", faults, "namespace")


def task_run(raw: Raw, at: Place, bundle: Bundle, faults: Faults) -> PipelineRun:
    spec, place = raw.get("spec") or {}, at / "spec"
    default = overrides.of_pod(spec.get("podTemplate") or {}, place / "podTemplate", faults)
    over = overrides.of_task(spec, place, default, faults)
    task = _the_task(spec, place, bundle, over, faults)
    status = str(spec.get("status") or "")
    if status not in _TASK_STATES:
        faults.add(place / "status", f"must be one of {', '.join(filter(None, _TASK_STATES))}")
    if spec.get("statusMessage") and not status:
        faults.add(place / "statusMessage", "stands without status")
    metadata = raw["metadata"]
    bound = storage.bound(spec, place, faults)
    declared = {each.name for each in task.spec.workspaces}
    bindings = tuple(
        Binding(name, name, "", each.at) for name, each in bound.items() if name in declared
    )
    if not task.embedded:  # one that stands in the run is not handed what it lacks
        for name, each in bound.items():
            if name not in declared:
                hint = graph.near(name, declared)
                faults.add(each.at / "name", f"the task has no workspace {name!r}", hint)
    run = PipelineRun(
        name=metadata["name"],
        namespace=namespace(metadata, at, faults),
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        params=(),
        given={},
        workspaces=propagation.undeclared(bound, (), place),
        bound=bound,
        tasks=(replace(task, workspaces=bindings),),
        final=(),
        results=(),
        timeouts=Timeouts(None, None, None),
        kind="TaskRun",
        pipeline_name=metadata["name"],
        embedded=task.embedded,
        at=place,
        status=_TASK_STATES.get(status, ""),
        status_message=str(spec.get("statusMessage") or ""),
    )
    return propagation.propagated(run) if task.embedded else run


def _the_task(
    spec: Raw, at: Place, bundle: Bundle, over: Overrides, faults: Faults
) -> PipelineTask:
    given = [key for key in ("taskRef", "taskSpec") if spec.get(key) is not None]
    if len(given) != 1:
        what = "both taskRef and taskSpec" if given else "neither taskRef nor taskSpec"
        faults.add(at, f"has {what}")
    name, read = "", None
    if "taskRef" in given:
        found, name = tasks.referenced(spec["taskRef"], at / "taskRef", bundle.library, faults)
        if found is not None:
            read = tasks.task_spec(*found, bundle.library, over, faults)
    elif given:
        read = tasks.task_spec(spec["taskSpec"], at / "taskSpec", bundle.library, over, faults)
    retries = spec.get("retries") or 0
    if retries < 0:
        faults.add(at / "retries", f"must not be negative, and is {retries}")
    limit = parts.seconds(spec, "timeout")
    return PipelineTask(
        name=name if names.is_label(name) else "task",
        at=at,
        spec=tasks.nothing(at) if read is None else read,
        embedded=not name,
        task_name=name,
        params=parts.params(spec, at, faults),
        retries=max(0, retries),
        timeout=HOUR if limit is None else limit or None,
        literal=True,
        account=over.account,
    )
