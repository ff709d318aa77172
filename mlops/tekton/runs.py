"""A submitted PipelineRun or TaskRun → what is to be carried out."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlops.errors import ConfigError, UsageError
from mlops.tekton import containers, names, parts, storage, tasks, validate
from mlops.tekton.bundle import Bundle, Submitted, of
from mlops.tekton.containers import Overrides
from mlops.tekton.document import Binding, PipelineRun, PipelineTask, Timeouts
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place, refuse
from mlops.tekton.pod import Limits, Security, WorkspaceSpec
from mlops.tekton.references import workspaces_used
from mlops.tekton.values import Value

HOUR = 3600.0  # seconds: what Tekton gives a run, and a task, that names no timeout
_PIPELINE_STATES = (
    "",
    "Cancelled",
    "CancelledRunFinally",
    "StoppedRunFinally",
    "PipelineRunPending",
)
_TASK_STATES = {
    "": "",
    "TaskRunCancelled": "Cancelled",
    "TaskRunPending": "PipelineRunPending",
}
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes: no words, nothing alike
_SUFFIX_LENGTH = 5
_OS = "kubernetes.io/os"


def program(
    bundle: Bundle,
    submitted: Submitted,
    *,
    params: Mapping[str, str] | None = None,
    name: str = "",
) -> PipelineRun:
    """What one run of the files asks for, every reference filled in, and checked.

    `params` lie over those of the run (JSON for arrays and objects); `name` over its name. Raises
    ConfigError with everything that is wrong; UsageError where a parameter is not declared.
    """
    raw = _named(submitted, name)
    if params:
        raw = _with_params(raw, submitted.kind, params, bundle)
    faults = Faults()
    read = _pipeline_run if submitted.kind == "PipelineRun" else _task_run
    run = read(raw, submitted.at, bundle, faults)
    refuse(faults)
    run = replace(
        run,
        configs=bundle.configs,
        claims=bundle.claims,
        notes=bundle.notes,
        documents=(raw, *bundle.others),
    )
    validate.validate(run)
    return run


def of_document(document: Mapping[str, Any]) -> PipelineRun:
    """What one self-contained document asks for. Raises ConfigError on any fault."""
    bundle = of(document)
    if len(bundle.runs) != 1:
        raise ConfigError("the document is no PipelineRun or TaskRun")
    return program(bundle, bundle.runs[0])


def _named(submitted: Submitted, name: str) -> Raw:
    """The document with `metadata.name`, made from `generateName` where there is none."""
    metadata = dict(submitted.raw.get("metadata") or {})
    given = name or metadata.get("name") or ""
    if not given and metadata.get("generateName"):
        room = names.LONGEST - _SUFFIX_LENGTH
        suffix = "".join(secrets.choice(_SUFFIX) for _ in range(_SUFFIX_LENGTH))
        given = metadata["generateName"][:room] + suffix
    metadata.pop("generateName", None)
    if not names.is_object(given):
        where = submitted.at / "metadata" / "name"
        raise where.error(f"{given!r} cannot be a name", names.OBJECT_HINT)
    return {**submitted.raw, "metadata": {**metadata, "name": given}}


def _with_params(raw: Raw, kind: str, params: Mapping[str, str], bundle: Bundle) -> Raw:
    spec = raw.get("spec") or {}
    key, known = ("pipeline", bundle.library.pipelines)
    if kind == "TaskRun":
        key, known = ("task", bundle.library.tasks)
    declared = spec.get(f"{key}Spec") or {}
    if spec.get(f"{key}Ref"):
        declared = known.get(spec[f"{key}Ref"].get("name") or "", ({}, Place()))[0]
    kinds = {each.get("name"): each for each in declared.get("params") or ()}
    given = {each.get("name"): each for each in spec.get("params") or ()}
    for name, text in params.items():
        if name not in kinds and name not in given:
            hint = f"It takes: {', '.join(map(str, kinds)) or 'none'}"
            raise UsageError(f"the {key} has no parameter {name!r}", hint=hint)
        given[name] = {"name": name, "value": _typed(name, text, kinds.get(name) or given[name])}
    return {**raw, "spec": {**spec, "params": list(given.values())}}


def _typed(name: str, text: str, declared: Raw) -> Value:
    """A parameter from the command line, of the type that is declared or that its default has."""
    sample = declared.get("default", declared.get("value"))
    wanted = declared.get("type") or (
        "object"
        if declared.get("properties") or isinstance(sample, Mapping)
        else "array"
        if isinstance(sample, list)
        else "string"
    )
    if wanted == "string":
        return text
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise UsageError(f"--param {name}: is not JSON, which the type {wanted} needs") from exc
    if not isinstance(value, dict if wanted == "object" else list):
        raise UsageError(f"--param {name}: must be of type {wanted}")
    return parts.value_of(value)


# -- PipelineRun


def _pipeline_run(raw: Raw, at: Place, bundle: Bundle, faults: Faults) -> PipelineRun:
    spec, place = raw.get("spec") or {}, at / "spec"
    default, overrides, limits = _overrides(spec, place, faults)
    pipeline, pipeline_name = _pipeline(spec, place, bundle, overrides, default, faults)
    status = str(spec.get("status") or "")
    if status not in _PIPELINE_STATES:
        faults.add(place / "status", f"must be one of {', '.join(_PIPELINE_STATES[1:])}")
    given = parts.params(spec, place, faults)
    bound = storage.bound(spec, place, faults)
    metadata = raw["metadata"]
    declared = pipeline.workspaces
    if pipeline.embedded:
        declared += _undeclared(bound, declared, place)
    run = PipelineRun(
        name=metadata["name"],
        namespace=_namespace(metadata, at, faults),
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        params=pipeline.params,
        given={param.name: param.value for param in given},
        workspaces=declared,
        bound=bound,
        tasks=tuple(tasks.with_timeout(t, limits.get(t.name)) for t in pipeline.tasks),
        final=tuple(tasks.with_timeout(t, limits.get(t.name)) for t in pipeline.final),
        results=pipeline.results,
        timeouts=_timeouts(spec.get("timeouts") or {}, place / "timeouts", faults),
        pipeline_name=pipeline_name or metadata["name"],
        embedded=pipeline.embedded,
        at=place,
        status=status,
    )
    for name in overrides:
        if name not in {task.name for task in run.all_tasks}:
            faults.add(place / "taskRunSpecs", f"there is no pipeline task {name!r}")
    return _with_propagated(run)


def _pipeline(
    spec: Raw,
    at: Place,
    bundle: Bundle,
    overrides: Mapping[str, Overrides],
    default: Overrides,
    faults: Faults,
) -> tuple[tasks.PipelineSpec, str]:
    given = [key for key in ("pipelineRef", "pipelineSpec") if spec.get(key) is not None]
    if len(given) != 1:
        what = (
            "both pipelineRef and pipelineSpec" if given else "neither pipelineRef nor pipelineSpec"
        )
        faults.add(at, f"has {what}")
    if "pipelineRef" not in given:
        raw, place = spec.get("pipelineSpec") or {}, at / "pipelineSpec"
        if not given:
            return tasks.PipelineSpec(place, True, (), (), (), (), ()), ""
        return tasks.pipeline(
            raw, place, bundle.library, overrides, default, faults, embedded=True
        ), ""
    name = parts.text(spec["pipelineRef"], "name", at / "pipelineRef", faults)
    known = bundle.library.pipelines
    if name not in known:
        if name:
            faults.add(
                at / "pipelineRef" / "name",
                f"there is no Pipeline {name!r} in the files",
                f"They hold: {', '.join(sorted(known)) or 'none'}. Name its file too: -f FILE",
            )
        return tasks.PipelineSpec(at, False, (), (), (), (), ()), name
    raw, place = known[name]
    return tasks.pipeline(
        raw, place, bundle.library, overrides, default, faults, embedded=False
    ), name


def _overrides(
    spec: Raw, at: Place, faults: Faults
) -> tuple[Overrides, dict[str, Overrides], dict[str, float | None]]:
    """What the run lays over all tasks, over some of them, and their timeouts."""
    template = (spec.get("taskRunTemplate") or {}).get("podTemplate") or {}
    default = _of_pod(template, at / "taskRunTemplate" / "podTemplate", faults)
    found: dict[str, Overrides] = {}
    limits: dict[str, float | None] = {}
    for item, place in parts.items(spec, "taskRunSpecs", at):
        name = parts.text(item, "pipelineTaskName", place, faults)
        found[name] = _specs(item, place, default, faults)
        if item.get("timeout") is not None:
            limits[name] = parts.seconds(item, "timeout")
    return default, found, limits


def _of_pod(template: Raw, at: Place, faults: Faults) -> Overrides:
    security = template.get("securityContext") or {}
    if _wants_windows(template):
        faults.add(at, "asks for a node with Windows, and this machine has none")
    return Overrides(
        env=containers.env(template, at, faults),
        security=Security(
            security.get("runAsUser"),
            security.get("runAsGroup"),
            bool(security.get("runAsNonRoot")),
        ),
        volumes=storage.volumes(template, at, faults),
    )


def _wants_windows(template: Raw) -> bool:
    """Whether nodeSelector or affinity names Windows as the operating system."""

    def names(value: Any) -> bool:
        if isinstance(value, Mapping):
            key, values = value.get("key"), value.get("values")
            if key == _OS and isinstance(values, list) and "windows" in values:
                return value.get("operator") == "In"
            return value.get(_OS) == "windows" or any(map(names, value.values()))
        return isinstance(value, list) and any(map(names, value))

    return names(template.get("nodeSelector")) or names(template.get("affinity"))


def _merged(general: Overrides, own: Overrides) -> Overrides:
    """Two pod templates, the second one of the task itself, which prevails."""
    env = {each.name: each for each in (*general.env, *own.env)}
    volumes = {each.name: each for each in (*general.volumes, *own.volumes)}
    base, over = general.security, own.security
    security = Security(
        base.user if over.user is None else over.user,
        base.group if over.group is None else over.group,
        base.non_root or over.non_root,
    )
    return replace(own, env=tuple(env.values()), volumes=tuple(volumes.values()), security=security)


def _specs(raw: Raw, at: Place, default: Overrides, faults: Faults) -> Overrides:
    """stepSpecs, sidecarSpecs, computeResources and podTemplate of a run."""

    def named(key: str) -> dict[str, Limits]:
        found: dict[str, Limits] = {}
        for item, place in parts.items(raw, key, at):
            name = parts.text(item, "name", place, faults)
            if name in found:
                faults.add(place / "name", f"{name!r} is there twice")
            found[name] = containers.limits_of(item.get("computeResources"))
        return found

    own = default
    if raw.get("podTemplate"):
        own = _merged(default, _of_pod(raw["podTemplate"], at / "podTemplate", faults))
    if raw.get("computeResources") and any(
        item.get("computeResources") for item in raw.get("stepSpecs") or ()
    ):
        faults.add(at / "computeResources", "cannot stand beside those of stepSpecs")
    return replace(
        own,
        whole=containers.limits_of(raw.get("computeResources")),
        limits=named("stepSpecs"),
        sidecar_limits=named("sidecarSpecs"),
    )


def _namespace(metadata: Raw, at: Place, faults: Faults) -> str:
    name = metadata.get("namespace") or "default"
    return parts.label(name, at / "metadata" / "namespace", faults, "namespace")


def _timeouts(raw: Raw, at: Place, faults: Faults) -> Timeouts:
    whole = parts.seconds(raw, "pipeline")
    own, final = parts.seconds(raw, "tasks"), parts.seconds(raw, "finally")
    whole = HOUR if whole is None else whole
    if whole:
        for key, limit in (("tasks", own), ("finally", final)):
            if limit is not None and (limit > whole or limit == 0):
                faults.add(at / key, "is longer than the pipeline's timeout")
        if own and final and own + final > whole:
            faults.add(at / "tasks", "tasks and finally together take longer than pipeline")
        if own is None and final:
            own = whole - final
    return Timeouts(whole or None, own or None, final or None)


def _undeclared(
    bound: Mapping[str, Any], declared: tuple[WorkspaceSpec, ...], at: Place
) -> tuple[WorkspaceSpec, ...]:
    known = {each.name for each in declared}
    return tuple(
        WorkspaceSpec(name, f"/workspace/{name}", at) for name in bound if name not in known
    )


def _with_propagated(run: PipelineRun) -> PipelineRun:
    """Workspaces reach the specs that stand in the same document (Tekton: propagated workspaces)."""
    reach = frozenset(run.bound) & {each.name for each in run.workspaces}

    def task(each: PipelineTask) -> PipelineTask:
        return _propagate(each, reach) if each.embedded else each

    return replace(run, tasks=tuple(map(task, run.tasks)), final=tuple(map(task, run.final)))


def _propagate(task: PipelineTask, bound: frozenset[str]) -> PipelineTask:
    handed = {each.name for each in task.workspaces}
    declared = {each.name for each in task.spec.workspaces}
    used = workspaces_used(task.spec) & bound
    more = tuple(
        WorkspaceSpec(name, f"/workspace/{name}", task.at) for name in sorted(used - declared)
    )
    bindings = tuple(
        Binding(name, name, "", task.at)
        for name in sorted((declared | used) & bound)
        if name not in handed
    )
    spec = replace(task.spec, workspaces=task.spec.workspaces + more)
    return replace(task, spec=spec, workspaces=task.workspaces + bindings)


# -- TaskRun


def _task_run(raw: Raw, at: Place, bundle: Bundle, faults: Faults) -> PipelineRun:
    spec, place = raw.get("spec") or {}, at / "spec"
    default = _of_pod(spec.get("podTemplate") or {}, place / "podTemplate", faults)
    over = _specs(spec, place, default, faults)
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
    run = PipelineRun(
        name=metadata["name"],
        namespace=_namespace(metadata, at, faults),
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        params=(),
        given={},
        workspaces=_undeclared(bound, (), place),
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
    return _with_propagated(run) if task.embedded else run


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
    )
