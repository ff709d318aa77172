"""Reads the environment variables of containers."""

from __future__ import annotations

from mlops.tekton import names, parts
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place
from mlops.tekton.pod import (
    Env,
    EnvFrom,
    KeyRef,
)

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


def env_from(raw: Raw, at: Place, faults: Faults) -> tuple[EnvFrom, ...]:
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
