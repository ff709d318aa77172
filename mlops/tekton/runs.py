"""A submitted PipelineRun or TaskRun → what is to be carried out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mlops.errors import ConfigError, UsageError
from mlops.tekton import (
    credentials,
    names,
    overrides,
    parts,
    propagation,
    storage,
    taskruns,
    tasks,
    validate,
)
from mlops.tekton.bundle import Bundle, Submitted, of
from mlops.tekton.containers import Overrides
from mlops.tekton.document import PipelineRun, Timeouts
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place, refuse
from mlops.tekton.values import Value

_PIPELINE_STATES = (
    "",
    "Cancelled",
    "CancelledRunFinally",
    "StoppedRunFinally",
    "PipelineRunPending",
)


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
    read = _pipeline_run if submitted.kind == "PipelineRun" else taskruns.task_run
    run = read(raw, submitted.at, bundle, faults)
    refuse(faults)
    run = replace(
        run,
        configs=bundle.configs,
        claims=bundle.claims,
        accounts=bundle.accounts,
        notes=(*bundle.notes, *_strangers(run, bundle)),
        documents=(raw, *bundle.others),
    )
    validate.validate(run)
    return run


def _strangers(run: PipelineRun, bundle: Bundle) -> Iterator[str]:
    """Service accounts, and Secrets of others, that no file holds: they reach no step."""
    named = {task.account: task for task in run.all_tasks if task.account}
    for name in named:
        if name not in bundle.accounts:
            yield f"there is no ServiceAccount {name} among the files: its Secrets reach no step"
    used = {task.account or credentials.DEFAULT: task for task in run.all_tasks}
    for name in used:
        for secret in bundle.accounts.get(name, ()):
            if ("Secret", secret) not in bundle.configs:
                yield f"there is no Secret {secret} among the files, which ServiceAccount {name} names"


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
        given = names.generated(metadata["generateName"])
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
    if isinstance(value, list):
        return tuple(map(_as_text, value))
    return {key: _as_text(each) for key, each in value.items()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _pipeline_run(raw: Raw, at: Place, bundle: Bundle, faults: Faults) -> PipelineRun:
    spec, place = raw.get("spec") or {}, at / "spec"
    default, own, limits = overrides.of_tasks(spec, place, faults)
    pipeline, pipeline_name = _pipeline(spec, place, bundle, own, default, faults)
    status = str(spec.get("status") or "")
    if status not in _PIPELINE_STATES:
        faults.add(place / "status", f"must be one of {', '.join(_PIPELINE_STATES[1:])}")
    given = parts.params(spec, place, faults)
    bound = storage.bound(spec, place, faults)
    metadata = raw["metadata"]
    declared = pipeline.workspaces
    if pipeline.embedded:
        declared += propagation.undeclared(bound, declared, place)
    run = PipelineRun(
        name=metadata["name"],
        namespace=taskruns.namespace(metadata, at, faults),
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
    for name in own:
        if name not in {task.name for task in run.all_tasks}:
            faults.add(place / "taskRunSpecs", f"there is no pipeline task {name!r}")
    return propagation.propagated(run)


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


def _timeouts(raw: Raw, at: Place, faults: Faults) -> Timeouts:
    whole = parts.seconds(raw, "pipeline")
    own, final = parts.seconds(raw, "tasks"), parts.seconds(raw, "finally")
    than = "the pipeline's timeout" if whole is not None else "the 1h that a run has by default"
    whole = taskruns.HOUR if whole is None else whole
    if whole:
        for key, limit in (("tasks", own), ("finally", final)):
            if limit is not None and (limit > whole or limit == 0):
                faults.add(at / key, f"is longer than {than}")
        if own and final and own + final > whole:
            faults.add(at / "tasks", f"tasks and finally together take longer than {than}")
        if own is None and final:
            own = whole - final
    return Timeouts(whole or None, own or None, final or None)
