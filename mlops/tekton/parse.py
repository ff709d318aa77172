"""From a document that passed the field table to frozen values.

The table (`fields`) has checked which keys there are and what kind of value each holds; here what is
required must be there, names must be names, and types of parameters must be known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mlops.errors import ConfigError
from mlops.tekton import fields, quantities
from mlops.tekton.document import (
    Binding,
    Container,
    Mount,
    ParamSpec,
    PipelineResult,
    PipelineRun,
    PipelineTask,
    ResultSpec,
    TaskSpec,
    Timeouts,
    Value,
    When,
    WorkspaceSpec,
)

NETWORK_ANNOTATION = "dev.mlops/network"

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")  # RFC 1123 label
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_ENV_NAME = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*\Z")
_KINDS = ("string", "array", "object")


def is_label(name: str) -> bool:
    """Whether a text can name a run, a task or a step: it is safe as a part of a path too."""
    return _LABEL.match(name) is not None


def run_name(document: Mapping[str, Any]) -> str:
    """`metadata.name`, checked: it names the run's directory too."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return _label(name, "metadata.name")


def pipeline_run(document: Mapping[str, Any]) -> PipelineRun:
    """Read a whole PipelineRun. Raises ConfigError, with the path of the field, on any fault."""
    notes = fields.check(document)
    for key, wanted in (("apiVersion", "tekton.dev/v1"), ("kind", "PipelineRun")):
        if document.get(key) != wanted:
            raise ConfigError(f"{key}: must be {wanted}, not {document.get(key)!r}")
    name = run_name(document)
    metadata, spec = document["metadata"], _required(document, "spec", "spec")
    at = "spec.pipelineSpec"
    pipeline = _required(spec, "pipelineSpec", at)
    return PipelineRun(
        name=name,
        namespace=_label(metadata.get("namespace") or "default", "metadata.namespace"),
        labels=dict(metadata.get("labels") or {}),
        params=_param_specs(pipeline, at),
        given=dict(_params(spec, "spec")),
        workspaces=_workspace_specs(pipeline, at),
        bound=_bound(spec),
        tasks=tuple(_task(raw, path, final=False) for path, raw in _items(pipeline, "tasks", at)),
        final=tuple(_task(raw, path, final=True) for path, raw in _items(pipeline, "finally", at)),
        results=tuple(
            PipelineResult(
                _named(raw, path), _value(_required(raw, "value", f"{path}.value")), path
            )
            for path, raw in _items(pipeline, "results", at)
        ),
        timeouts=_timeouts(spec),
        notes=notes,
    )


def _items(raw: Mapping[str, Any], key: str, path: str) -> Iterable[tuple[str, Any]]:
    for index, item in enumerate(raw.get(key) or ()):
        yield f"{path}.{key}[{index}]", item


def _required(raw: Mapping[str, Any], key: str, path: str) -> Any:
    value = raw.get(key)
    if value is None:
        raise ConfigError(f"{path}: is missing")
    return value


def _label(name: Any, path: str) -> str:
    if not isinstance(name, str) or not is_label(name):
        raise ConfigError(
            f"{path}: {name!r} is no name",
            hint="At most 63 lower case letters, digits and hyphens, with no hyphen at either end",
        )
    return name


def _named(raw: Mapping[str, Any], path: str) -> str:
    name = _required(raw, "name", f"{path}.name")
    if _NAME.match(name) is None:
        raise ConfigError(
            f"{path}.name: {name!r} is no name", hint="Letters, digits, '_', '.' and '-'"
        )
    return str(name)


def _value(raw: Any) -> Value:
    if isinstance(raw, Mapping):
        return dict(raw)
    if isinstance(raw, list | tuple):
        return tuple(raw)
    return raw if isinstance(raw, str) else json.dumps(raw)  # as Tekton reads 5 and true


def _params(raw: Mapping[str, Any], path: str) -> tuple[tuple[str, Value], ...]:
    found: dict[str, Value] = {}
    for at, item in _items(raw, "params", path):
        name = _named(item, at)
        if name in found:
            raise ConfigError(f"{at}.name: {name!r} is there twice")
        found[name] = _value(_required(item, "value", f"{at}.value"))
    return tuple(found.items())


def _kind(raw: Mapping[str, Any], path: str, default: Value | None) -> str:
    kind = raw.get("type")
    if kind is None:
        kind = "object" if raw.get("properties") else kind_of(default) if default else "string"
    if kind not in _KINDS:
        raise ConfigError(f"{path}.type: must be string, array or object, not {kind!r}")
    return str(kind)


def kind_of(value: Value) -> str:
    """Tekton's name for the type of a value."""
    if isinstance(value, Mapping):
        return "object"
    return "array" if isinstance(value, tuple) else "string"


def _param_specs(raw: Mapping[str, Any], path: str) -> tuple[ParamSpec, ...]:
    found = []
    for at, item in _items(raw, "params", path):
        default = None if item.get("default") is None else _value(item["default"])
        kind = _kind(item, at, default)
        if default is not None and kind_of(default) != kind:
            raise ConfigError(f"{at}.default: must be of type {kind}")
        properties = tuple(item.get("properties") or ())
        found.append(ParamSpec(_named(item, at), kind, at, default, properties))
    return tuple(found)


def _workspace_specs(raw: Mapping[str, Any], path: str) -> tuple[WorkspaceSpec, ...]:
    found = []
    for at, item in _items(raw, "workspaces", path):
        name = _named(item, at)
        mount = item.get("mountPath") or f"/workspace/{name}"
        found.append(
            WorkspaceSpec(
                name, _absolute(mount, f"{at}.mountPath"), bool(item.get("optional") or False)
            )
        )
    return tuple(found)


def _absolute(mount: str, path: str) -> str:
    if not mount.startswith("/") or ".." in mount.split("/") or "\0" in mount:
        raise ConfigError(f"{path}: {mount!r} is no absolute path")
    clean = "/" + "/".join(part for part in mount.split("/") if part not in {"", "."})
    if clean == "/":
        raise ConfigError(f"{path}: nothing can be mounted over /")
    return clean


def _bound(spec: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for at, item in _items(spec, "workspaces", "spec"):
        name = _named(item, at)
        if name in found:
            raise ConfigError(f"{at}.name: {name!r} is there twice")
        claim, empty = item.get("volumeClaimTemplate"), item.get("emptyDir")
        if (claim is None) == (empty is None):
            raise ConfigError(f"{at}: needs either volumeClaimTemplate or emptyDir")
        found[name] = "empty" if claim is None else "claim"
    return found


def _timeouts(spec: Mapping[str, Any]) -> Timeouts:
    raw = spec.get("timeouts") or {}
    at = "spec.timeouts"
    given = {key: quantities.seconds(raw[key], f"{at}.{key}") for key in raw if raw[key]}
    pipeline = given.get("pipeline", 3600.0)
    tasks, final = given.get("tasks"), given.get("finally")
    if pipeline and (tasks or 0.0) + (final or 0.0) > pipeline:
        raise ConfigError(f"{at}: tasks and finally together take longer than pipeline")
    if pipeline and tasks is None and final:
        tasks = pipeline - final
    return Timeouts(pipeline or None, tasks or None, final or None)


def _task(raw: Mapping[str, Any], path: str, *, final: bool) -> PipelineTask:
    name = _label(raw.get("name"), f"{path}.name")
    spec = _required(raw, "taskSpec", f"{path}.taskSpec")
    limit = quantities.seconds(raw["timeout"], f"{path}.timeout") if raw.get("timeout") else None
    return PipelineTask(
        name=name,
        path=path,
        spec=_task_spec(spec, f"{path}.taskSpec"),
        params=_params(raw, path),
        run_after=tuple(raw.get("runAfter") or ()),
        when=tuple(_when(item, at) for at, item in _items(raw, "when", path)),
        workspaces=tuple(_binding(item, at) for at, item in _items(raw, "workspaces", path)),
        retries=raw.get("retries") or 0,
        timeout=limit or None,
        final=final,
    )


def _when(raw: Mapping[str, Any], path: str) -> When:
    operator = _required(raw, "operator", f"{path}.operator")
    if operator not in {"in", "notin"}:
        raise ConfigError(f"{path}.operator: must be in or notin, not {operator!r}")
    text = _required(raw, "input", f"{path}.input")
    return When(text, operator == "notin", tuple(raw.get("values") or ()), path)


def _binding(raw: Mapping[str, Any], path: str) -> Binding:
    name = _named(raw, path)
    return Binding(name, raw.get("workspace") or name, raw.get("subPath") or "", path)


def _task_spec(raw: Mapping[str, Any], path: str) -> TaskSpec:
    template = raw.get("stepTemplate") or {}
    annotations = (raw.get("metadata") or {}).get("annotations") or {}
    network = annotations.get(NETWORK_ANNOTATION)
    if network not in {None, "none"}:
        raise ConfigError(
            f"{path}.metadata.annotations.{NETWORK_ANNOTATION}: must be none, not {network!r}"
        )
    return TaskSpec(
        params=_param_specs(raw, path),
        results=tuple(_result(item, at) for at, item in _items(raw, "results", path)),
        workspaces=_workspace_specs(raw, path),
        volumes=tuple(_volume(item, at) for at, item in _items(raw, "volumes", path)),
        steps=tuple(
            _container(_over(template, item), at, f"unnamed-{index}")
            for index, (at, item) in enumerate(_items(raw, "steps", path))
        ),
        sidecars=tuple(
            _container(item, at, f"sidecar-{index}")
            for index, (at, item) in enumerate(_items(raw, "sidecars", path))
        ),
        network=network is None,
    )


def _result(raw: Mapping[str, Any], path: str) -> ResultSpec:
    properties = tuple(raw.get("properties") or ())
    return ResultSpec(_named(raw, path), _kind(raw, path, None), properties)


def _volume(raw: Mapping[str, Any], path: str) -> str:
    name = _label(raw.get("name"), f"{path}.name")
    if raw.get("emptyDir") is None:
        raise ConfigError(f"{path}: needs emptyDir, the one kind of volume there is here")
    return name


def _over(template: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    """The step with stepTemplate under it; lists with names are merged by name, as Tekton does."""
    merged = {**template, **{key: value for key, value in step.items() if value is not None}}
    for key, name in (("env", "name"), ("volumeMounts", "mountPath")):
        both = [*(template.get(key) or ()), *(step.get(key) or ())]
        if both:
            merged[key] = list({item.get(name): item for item in both}.values())
    limits = [
        ((each.get("computeResources") or {}).get("limits") or {}) for each in (template, step)
    ]
    if any(limits):
        merged["computeResources"] = {"limits": {**limits[0], **limits[1]}}
    return merged


def _container(raw: Mapping[str, Any], path: str, unnamed: str) -> Container:
    script = raw.get("script") or ""
    limits = (raw.get("computeResources") or {}).get("limits") or {}
    memory = limits.get("memory")
    on_error = raw.get("onError") or "stopAndFail"
    if on_error not in {"continue", "stopAndFail"}:
        raise ConfigError(f"{path}.onError: must be continue or stopAndFail, not {on_error!r}")
    if not raw.get("image"):
        raise ConfigError(f"{path}.image: is missing")
    return Container(
        name=_label(raw.get("name") or unnamed, f"{path}.name"),
        path=path,
        image=raw["image"],
        command=tuple(raw.get("command") or ()),
        args=tuple(raw.get("args") or ()),
        script=script,
        env=_env(raw, path),
        working_dir=raw.get("workingDir") or "",
        mounts=tuple(_mount(item, at) for at, item in _items(raw, "volumeMounts", path)),
        workspaces=_listed(raw, path),
        memory=None
        if memory is None
        else quantities.size(memory, f"{path}.computeResources.limits.memory"),
        continues=on_error == "continue",
    )


def _env(raw: Mapping[str, Any], path: str) -> tuple[tuple[str, str], ...]:
    found = []
    for at, item in _items(raw, "env", path):
        name = _required(item, "name", f"{at}.name")
        if _ENV_NAME.match(name) is None:
            raise ConfigError(f"{at}.name: {name!r} names no variable")
        found.append((name, item.get("value") or ""))
    return tuple(found)


def _mount(raw: Mapping[str, Any], path: str) -> Mount:
    where = _required(raw, "mountPath", f"{path}.mountPath")
    return Mount(_required(raw, "name", f"{path}.name"), _absolute(where, f"{path}.mountPath"))


def _listed(raw: Mapping[str, Any], path: str) -> tuple[tuple[str, str], ...]:
    found = []
    for at, item in _items(raw, "workspaces", path):
        mount = item.get("mountPath")
        place = "" if mount is None else _absolute(mount, f"{at}.mountPath")
        found.append((_named(item, at), place))
    return tuple(found)
