"""Reads steps, sidecars and what lies under them: stepTemplate, StepActions, overrides of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops.tekton import names, parts, quantities, storage
from mlops.tekton.document import (
    Action,
    Container,
    Env,
    EnvFrom,
    KeyRef,
    Limits,
    Mount,
    Probe,
    Security,
    Volume,
)
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place

_DOWNWARD = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.podIP",
    }
)
_WITH_REF = (
    "image",
    "command",
    "args",
    "script",
    "workingDir",
    "env",
    "volumeMounts",
    "results",
)
_RESERVED = "tekton-log-results"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a run lays over the containers of its tasks: `limits` by the container's name, `whole`
    for every step; `env`, `security` and `volumes` of the pod template."""

    whole: Limits = field(default_factory=Limits)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    sidecar_limits: Mapping[str, Limits] = field(default_factory=dict)
    env: tuple[Env, ...] = ()
    security: Security = field(default_factory=Security)
    volumes: tuple[Volume, ...] = ()


Actions = Mapping[str, tuple[Raw, Place]]
"""StepActions by name, each with its place."""


def step(
    raw: Raw,
    template: Raw,
    at: Place,
    index: int,
    actions: Actions,
    over: Overrides,
    faults: Faults,
) -> Container:
    """One step: its StepAction filled in, stepTemplate laid under it, the run's settings over it."""
    action: Action | None = None
    place = at
    if raw.get("ref") is not None:
        action, raw, place = _with_action(raw, at, actions, faults)
    elif raw.get("params"):
        faults.add(at / "params", "only a step with a ref takes params")
    name = raw.get("name") or ""
    if name:
        parts.label(name, at / "name", faults, "step")
    else:
        name = f"unnamed-{index}"
    merged = _over(template, raw)
    limits = over.limits.get(name) or _least(_limits(merged), over.whole)
    return _container(merged, place, name, over, limits, action, faults)


def sidecar(raw: Raw, at: Place, index: int, over: Overrides, faults: Faults) -> Container:
    """One sidecar."""
    name = raw.get("name") or f"sidecar-{index}"
    if name == _RESERVED or not names.is_label(name):
        faults.add(at / "name", f"{name!r} cannot be the name of a sidecar", names.LABEL_HINT)
    limits = over.sidecar_limits.get(name) or _limits(raw)
    return _container(raw, at, name, over, limits, None, faults)


def limits_of(raw: Raw | None) -> Limits:
    """`computeResources` as limits."""
    return _limits({"computeResources": raw or {}})


def env(raw: Raw, at: Place, faults: Faults) -> tuple[Env, ...]:
    """`env`: the last of a name counts."""
    found: dict[str, Env] = {}
    for item, place in parts.items(raw, "env", at):
        name = parts.text(item, "name", place, faults)
        if name and not names.is_variable(name):
            faults.add(place / "name", f"{name!r} cannot be the name of a variable")
        source, downward = _value_from(item.get("valueFrom"), place / "valueFrom", faults)
        if item.get("value") and item.get("valueFrom"):
            faults.add(place, "has both value and valueFrom")
        found.pop(name, None)
        found[name] = Env(name, place, item.get("value") or "", source, downward)
    return tuple(found.values())


def _value_from(raw: Raw | None, at: Place, faults: Faults) -> tuple[KeyRef | None, str]:
    if raw is None:
        return None, ""
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        ref = raw.get(key)
        if ref is not None:
            place = at / key
            named = parts.text(ref, "name", place, faults)
            return KeyRef(
                kind, named, parts.text(ref, "key", place, faults), bool(ref.get("optional"))
            ), ""
    field_path = str((raw.get("fieldRef") or {}).get("fieldPath") or "")
    labelled = field_path.startswith(("metadata.labels['", "metadata.annotations['"))
    if field_path not in _DOWNWARD and not labelled:
        faults.add(
            at / "fieldRef" / "fieldPath" if raw.get("fieldRef") else at,
            f"{field_path!r} is no field that a container can be told",
        )
    return None, field_path


def _with_action(
    raw: Raw, at: Place, actions: Actions, faults: Faults
) -> tuple[Action | None, Raw, Place]:
    """The step with its StepAction's fields; the place is the action's."""
    ref = raw["ref"]
    name = parts.text(ref, "name", at / "ref", faults)
    for key in _WITH_REF:
        if raw.get(key):
            faults.add(at / key, "cannot stand beside ref: the StepAction says it")
    found = actions.get(name)
    if found is None:
        if name:
            known = ", ".join(sorted(actions)) or "none"
            faults.add(
                at / "ref" / "name",
                f"there is no StepAction {name!r} in the files",
                f"They hold: {known}. Name its file too: -f FILE",
            )
        return None, {**raw, "image": "missing", "ref": None}, at
    spec, place = found
    given = parts.params(raw, at, faults)
    action = Action(name, at, parts.param_specs(spec, place, faults), given)
    own = {key: value for key, value in raw.items() if key not in {"ref", "params"}}
    return action, {**spec, **own, "params": None}, place


def _over(template: Raw, step: Raw) -> dict[str, Any]:
    """The step with stepTemplate under it; lists with names are merged by name, as Tekton does."""
    merged = {**template, **{key: value for key, value in step.items() if value is not None}}
    for key, name in (("env", "name"), ("volumeMounts", "mountPath")):
        both = [*(template.get(key) or ()), *(step.get(key) or ())]
        if both:
            merged[key] = list({item.get(name): item for item in both}.values())
    if template.get("envFrom") and step.get("envFrom"):
        merged["envFrom"] = [*template["envFrom"], *step["envFrom"]]
    for key in ("computeResources", "securityContext"):
        if template.get(key) and step.get(key):
            merged[key] = {**template[key], **step[key]}
    limits = [
        ((each.get("computeResources") or {}).get("limits") or {}) for each in (template, step)
    ]
    if any(limits):
        merged["computeResources"] = {"limits": {**limits[0], **limits[1]}}
    return merged


def _container(
    raw: Raw,
    at: Place,
    name: str,
    over: Overrides,
    limits: Limits,
    action: Action | None,
    faults: Faults,
) -> Container:
    if raw.get("script") and raw.get("command"):
        faults.add(at / "script", "cannot stand beside command")
    if str(raw.get("script") or "").strip().startswith("#!win"):
        faults.add(at / "script", "is one for Windows, which Tekton takes with alpha features only")
    return Container(
        name=name,
        at=at,
        image=parts.text(raw, "image", at, faults),
        command=tuple(raw.get("command") or ()),
        args=tuple(raw.get("args") or ()),
        script=raw.get("script") or "",
        env=_with_pod(over.env, env(raw, at, faults)),
        env_from=_env_from(raw, at, faults),
        working_dir=raw.get("workingDir") or "",
        mounts=_mounts(raw, at, faults),
        workspaces=_usages(raw, at, faults),
        limits=limits,
        security=_security(raw.get("securityContext") or {}, over.security),
        on_error=_on_error(raw, at, faults),
        timeout=parts.seconds(raw, "timeout") or None,
        results=parts.results(raw, at, faults, typed=True),
        when=parts.when(raw, at, faults),
        action=action,
        probes=_probes(raw, at, faults),
        display_name=raw.get("displayName") or "",
    )


def _with_pod(pod: tuple[Env, ...], own: tuple[Env, ...]) -> tuple[Env, ...]:
    """The pod template's variables lie over the containers' own, as Tekton has it."""
    names_of_pod = {each.name for each in pod}
    return (*(each for each in own if each.name not in names_of_pod), *pod)


def _limits(raw: Raw) -> Limits:
    given = (raw.get("computeResources") or {}).get("limits") or {}
    memory, cpu, disk = (given.get(key) for key in ("memory", "cpu", "ephemeral-storage"))
    return Limits(
        None if memory is None else quantities.size(str(memory)),
        None if cpu is None else float(quantities.amount(str(cpu))),
        None if disk is None else quantities.size(str(disk)),
    )


def _least(own: Limits, whole: Limits) -> Limits:
    """A task's limit holds for each of its steps: no step may use more."""

    def least(one: Any, other: Any) -> Any:
        given = [each for each in (one, other) if each is not None]
        return min(given) if given else None

    return Limits(
        least(own.memory, whole.memory), least(own.cpu, whole.cpu), least(own.disk, whole.disk)
    )


def _security(raw: Raw, pod: Security) -> Security:
    user, group = raw.get("runAsUser"), raw.get("runAsGroup")
    non_root = raw.get("runAsNonRoot")
    return Security(
        pod.user if user is None else user,
        pod.group if group is None else group,
        pod.non_root if non_root is None else bool(non_root),
        bool(raw.get("readOnlyRootFilesystem")),
    )


def _on_error(raw: Raw, at: Place, faults: Faults) -> str:
    value = str(raw.get("onError") or "")
    if value not in {"", "continue", "stopAndFail"} and not value.startswith("$(params"):
        faults.add(at / "onError", f"must be continue or stopAndFail, not {value!r}")
    return value


def _env_from(raw: Raw, at: Place, faults: Faults) -> tuple[EnvFrom, ...]:
    found = []
    for item, place in parts.items(raw, "envFrom", at):
        given = [
            (key, kind)
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret"))
            if item.get(key) is not None
        ]
        if len(given) != 1:
            faults.add(place, "needs either configMapRef or secretRef")
            continue
        key, kind = given[0]
        name = parts.text(item[key], "name", place / key, faults)
        optional = bool(item[key].get("optional"))
        found.append(EnvFrom(kind, name, place, item.get("prefix") or "", optional))
    return tuple(found)


def _mounts(raw: Raw, at: Place, faults: Faults) -> tuple[Mount, ...]:
    found = []
    for item, place in parts.items(raw, "volumeMounts", at):
        where = parts.text(item, "mountPath", place, faults)
        path = parts.absolute(where, place / "mountPath", faults) if where else "/invalid"
        if path.startswith("/tekton/") and not path.startswith("/tekton/home"):
            faults.add(place / "mountPath", "nothing can be mounted below /tekton/")
        name = parts.text(item, "name", place, faults)
        if name.startswith("tekton-internal-"):
            faults.add(place / "name", "names that begin with tekton-internal- are Tekton's own")
        sub_path = item.get("subPath") or ""
        storage.check_sub_path(sub_path, place / "subPath", faults)
        found.append(Mount(name, path, place, sub_path, bool(item.get("readOnly"))))
    return tuple(found)


def _usages(raw: Raw, at: Place, faults: Faults) -> tuple[tuple[str, str], ...]:
    found = []
    for item, place in parts.items(raw, "workspaces", at):
        mount = item.get("mountPath")
        path = parts.absolute(mount, place / "mountPath", faults) if mount else ""
        found.append((parts.workspace_name(item, place, faults), path))
    return tuple(found)


def _probes(raw: Raw, at: Place, faults: Faults) -> tuple[Probe, ...]:
    found = (
        _probe(raw[key], at / key, faults)
        for key in ("startupProbe", "readinessProbe")
        if raw.get(key) is not None
    )
    return tuple(each for each in found if each is not None)


def _probe(raw: Raw, at: Place, faults: Faults) -> Probe | None:
    given = [key for key in ("exec", "httpGet", "tcpSocket") if raw.get(key) is not None]
    if len(given) != 1:
        faults.add(at, "needs one of exec, httpGet and tcpSocket")
        return None
    what = raw[given[0]]
    port = 0
    if given[0] != "exec":
        port = _port(what.get("port"), at / given[0] / "port", faults)
    elif not what.get("command"):
        faults.add(at / "exec" / "command", "is missing")

    def count(key: str, default: int) -> int:
        value = raw.get(key)
        return default if value is None else int(value)

    return Probe(
        at,
        command=tuple(what.get("command") or ()),
        port=port,
        http=given[0] == "httpGet",
        scheme=str(what.get("scheme") or "http").lower(),
        host=what.get("host") or "",
        path=what.get("path") or "/",
        delay=count("initialDelaySeconds", 0),
        period=max(1, count("periodSeconds", 10)),
        timeout=max(1, count("timeoutSeconds", 1)),
        failures=max(1, count("failureThreshold", 3)),
        successes=max(1, count("successThreshold", 1)),
    )


def _port(value: Any, at: Place, faults: Faults) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        faults.add(at, f"must be a number between 1 and 65535, not {value!r}")
        return 1
    return value
