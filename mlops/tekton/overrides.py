"""What a run lays over its tasks: pod templates, accounts, limits of steps and sidecars, timeouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlops.tekton import containers, parts, storage, variables
from mlops.tekton.containers import Overrides
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place
from mlops.tekton.pod import Limits, Security

_OS = "kubernetes.io/os"


def of_tasks(
    spec: Raw, at: Place, faults: Faults
) -> tuple[Overrides, dict[str, Overrides], dict[str, float | None]]:
    """What the run lays over all tasks, over some of them, and their timeouts."""
    template = (spec.get("taskRunTemplate") or {}).get("podTemplate") or {}
    default = of_pod(template, at / "taskRunTemplate" / "podTemplate", faults)
    account = (spec.get("taskRunTemplate") or {}).get("serviceAccountName") or ""
    default = replace(default, account=account)
    found: dict[str, Overrides] = {}
    limits: dict[str, float | None] = {}
    for item, place in parts.items(spec, "taskRunSpecs", at):
        name = parts.text(item, "pipelineTaskName", place, faults)
        found[name] = of_task(item, place, default, faults)
        if item.get("timeout") is not None:
            limits[name] = parts.seconds(item, "timeout")
    return default, found, limits


def of_pod(template: Raw, at: Place, faults: Faults) -> Overrides:
    security = template.get("securityContext") or {}
    if _wants_windows(template):
        faults.add(at, "asks for a node with Windows, and this machine has none")
    return Overrides(
        env=variables.env(template, at, faults),
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


def of_task(raw: Raw, at: Place, default: Overrides, faults: Faults) -> Overrides:
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
        own = _merged(default, of_pod(raw["podTemplate"], at / "podTemplate", faults))
    if raw.get("computeResources") and any(
        item.get("computeResources") for item in raw.get("stepSpecs") or ()
    ):
        faults.add(at / "computeResources", "cannot stand beside those of stepSpecs")
    return replace(
        own,
        whole=containers.limits_of(raw.get("computeResources")),
        limits=named("stepSpecs"),
        sidecar_limits=named("sidecarSpecs"),
        account=raw.get("serviceAccountName") or default.account,
    )
