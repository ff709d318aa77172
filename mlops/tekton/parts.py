"""Reads what all kinds of documents share: names, parameters, results, conditions, workspaces.

The tables have been held against the document before, so kinds of values fit. What is wrong is added
to `faults`, and reading goes on with what can stand in for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlops.tekton import names, quantities
from mlops.tekton.place import Fault, Place
from mlops.tekton.pod import WorkspaceSpec
from mlops.tekton.values import Param, ParamSpec, ResultSpec, Value, When, kind_of

Raw = Mapping[str, Any]
_KINDS = ("string", "array", "object")
_LARGEST_WHOLE = 1e21  # from here on Go's JSON writes an exponent


class Faults(list[Fault]):
    """What is wrong with a document."""

    def add(self, place: Place, message: str, hint: str = "") -> None:
        self.append(Fault(place, message, hint))


def items(raw: Raw, key: str, at: Place) -> Iterator[tuple[Raw, Place]]:
    """The entries of a list, each with its place."""
    for index, item in enumerate(raw.get(key) or ()):
        yield item, at / key / index


def text(raw: Raw, key: str, at: Place, faults: Faults) -> str:
    """A text that must be there and not empty."""
    value = raw.get(key)
    if not value:
        faults.add(at / key, "is missing")
    return str(value or "")


def seconds(raw: Raw, key: str) -> float | None:
    """A duration in seconds; None where it is absent."""
    value = raw.get(key)
    return None if value is None else quantities.seconds(value)


def label(name: Any, at: Place, faults: Faults, what: str) -> str:
    """A name that is a DNS label: of a task or step."""
    if name in (None, ""):
        faults.add(at, "is missing")
    elif not names.is_label(name):
        faults.add(at, f"{name!r} cannot be the name of a {what}", names.LABEL_HINT)
    return str(name or "")


def value_of(raw: Any) -> Value:
    """A parameter's value. What is no string, list of strings or map of strings becomes its text in
    JSON, as Tekton reads it."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, Mapping) and all(isinstance(each, str) for each in raw.values()):
        return dict(raw)
    if isinstance(raw, list | tuple) and all(isinstance(each, str) for each in raw):
        return tuple(raw)
    return json.dumps(_plain(raw), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def items_hint(value: Value) -> str:
    """What to do about a list or map that was taken for its text, for what it holds."""
    taken = isinstance(value, str) and value[:1] in {"[", "{"}
    return (
        "Lists and maps hold strings alone: put numbers, y, n, yes, no in quotes" if taken else ""
    )


def _plain(raw: Any) -> Any:
    """A value with its numbers as Go writes them: 1.0 is 1."""
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < _LARGEST_WHOLE:
        return int(raw)
    if isinstance(raw, Mapping):
        return {key: _plain(each) for key, each in raw.items()}
    return [_plain(each) for each in raw] if isinstance(raw, list | tuple) else raw


def params(raw: Raw, at: Place, faults: Faults) -> tuple[Param, ...]:
    """`params` of a run, task or step: names and values, each name once."""
    found: list[Param] = []
    seen: set[str] = set()
    for item, place in items(raw, "params", at):
        name = text(item, "name", place, faults)
        if name.lower() in seen:
            faults.add(place / "name", f"{name!r} is there twice")
        if name and not names.is_param(name, "string"):
            faults.add(place / "name", f"{name!r} cannot be the name of a parameter")
        seen.add(name.lower())
        if item.get("value") is None:
            faults.add(place / "value", "is missing")
        else:
            found.append(Param(name, value_of(item["value"]), place))
    return tuple(found)


def param_specs(raw: Raw, at: Place, faults: Faults) -> tuple[ParamSpec, ...]:
    """`params` of a spec: declarations."""
    found: list[ParamSpec] = []
    for item, place in items(raw, "params", at):
        name = text(item, "name", place, faults)
        default = None if item.get("default") is None else value_of(item["default"])
        kind = _param_kind(item, default, place, faults)
        properties = _properties(item, place, faults)
        if default is not None and kind_of(default) != kind:
            faults.add(place / "default", f"must be of type {kind}", items_hint(default))
            default = None
        if name and not names.is_param(name, kind):
            faults.add(
                place / "name",
                f"{name!r} cannot be the name of a parameter",
                "Letters, digits, '_' and '-' (and dots, but not of an object), not a digit first",
            )
        for key in properties or ():
            if not names.is_param(key, "object"):
                faults.add(place / "properties" / key, f"{key!r} cannot be a key")
        if any(name == each.name for each in found):
            faults.add(place / "name", f"{name!r} is there twice")
        found.append(ParamSpec(name, kind, place, default, properties))
    return tuple(found)


def _param_kind(raw: Raw, default: Value | None, at: Place, faults: Faults) -> str:
    kind = raw.get("type")
    if not kind:
        if raw.get("properties"):
            return "object"
        return kind_of(default) if default is not None else "string"
    if kind not in _KINDS:
        faults.add(at / "type", f"must be string, array or object, not {kind!r}")
        return "string"
    return str(kind)


def _properties(
    raw: Raw, at: Place, faults: Faults, default: str = "string"
) -> tuple[str, ...] | None:
    declared = raw.get("properties")
    if declared is None:
        return None
    for key, entry in declared.items():
        kind = (entry or {}).get("type") or default
        if kind != "string":
            faults.add(at / "properties" / key / "type", f"must be string, not {kind!r}")
    return tuple(declared)


def results(raw: Raw, at: Place, faults: Faults, *, typed: bool = False) -> tuple[ResultSpec, ...]:
    """`results` of a task or step: declarations; `typed`: a property's type must be said."""
    found: list[ResultSpec] = []
    for item, place in items(raw, "results", at):
        name = text(item, "name", place, faults)
        if name and not names.is_result(name):
            faults.add(
                place / "name",
                f"{name!r} cannot be the name of a result",
                "Letters, digits, '_', '.' and '-', with a letter or digit at both ends",
            )
        kind = item.get("type") or ("object" if item.get("properties") else "string")
        if kind not in _KINDS:
            faults.add(place / "type", f"must be string, array or object, not {kind!r}")
            kind = "string"
        properties = _properties(item, place, faults, default="" if typed else "string")
        if kind == "object" and properties is None:
            faults.add(place / "properties", "is missing: an object's keys are declared")
        value = item.get("value")
        if value is not None and not isinstance(value, str):
            faults.add(place / "value", "must be a reference to a result of a step")
            value = None
        found.append(ResultSpec(name, kind, place, properties, value or ""))
    return tuple(found)


def when(raw: Raw, at: Place, faults: Faults) -> tuple[When, ...]:
    """`when` of a task or step."""
    found = []
    for item, place in items(raw, "when", at):
        operator = item.get("operator")
        if operator not in {"in", "notin"}:
            faults.add(place / "operator", f"must be in or notin, not {operator or 'absent'!r}")
        values = tuple(item.get("values") or ())
        if not values:
            faults.add(place / "values", "is missing")
        found.append(When(item.get("input") or "", operator == "notin", values, place))
    return tuple(found)


def workspace_name(raw: Raw, at: Place, faults: Faults) -> str:
    name = text(raw, "name", at, faults)
    if name and not names.is_workspace(name):
        faults.add(
            at / "name",
            f"{name!r} cannot be the name of a workspace",
            "Letters, digits, '_', '.' and '-'",
        )
    return name


def workspace_specs(raw: Raw, at: Place, faults: Faults) -> tuple[WorkspaceSpec, ...]:
    """`workspaces` that a task or pipeline declares."""
    found: list[WorkspaceSpec] = []
    for item, place in items(raw, "workspaces", at):
        name = workspace_name(item, place, faults)
        if any(name == each.name for each in found):
            faults.add(place / "name", f"{name!r} is there twice")
        mount = item.get("mountPath") or f"/workspace/{name}"
        found.append(
            WorkspaceSpec(
                name,
                absolute(mount, place / "mountPath", faults),
                place,
                bool(item.get("optional")),
                bool(item.get("readOnly")),
            )
        )
    return tuple(found)


def absolute(mount: str, at: Place, faults: Faults) -> str:
    """An absolute path in a container, made plain; a reference in it stays to be looked at later."""
    if "$(" in mount:
        return mount
    if not mount.startswith("/") or ".." in mount.split("/") or "\0" in mount:
        faults.add(at, f"{mount!r} is no absolute path")
        return "/invalid"
    clean = "/" + "/".join(part for part in mount.split("/") if part not in {"", "."})
    if clean == "/":
        faults.add(at, "nothing can be mounted over /")
    return clean
