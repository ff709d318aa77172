"""Reads steps, sidecars and what lies under them: stepTemplate, StepActions, overrides of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops.tekton import names, parts, probes, quantities, storage, variables
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place
from mlops.tekton.pod import (
    Action,
    Container,
    Env,
    Limits,
    Mount,
    Security,
    Volume,
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
    for every step; `env`, `security` and `volumes` of the pod template; `account`."""

    whole: Limits = field(default_factory=Limits)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    sidecar_limits: Mapping[str, Limits] = field(default_factory=dict)
    env: tuple[Env, ...] = ()
    security: Security = field(default_factory=Security)
    volumes: tuple[Volume, ...] = ()
    account: str = ""


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
        env=_with_pod(over.env, variables.env(raw, at, faults)),
        env_from=variables.env_from(raw, at, faults),
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
        probes=probes.probes(raw, at, faults),
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
