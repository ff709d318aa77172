"""Values against declarations: types, keys, and what a reference brings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mlops.tekton.meaning import Meaning, No
from mlops.tekton.parts import items_hint
from mlops.tekton.place import Fault, Place
from mlops.tekton.references import (
    Text,
)
from mlops.tekton.substitution import references
from mlops.tekton.values import Param, ParamSpec, Value, kind_of


def type_faults(spec: ParamSpec, value: Value, at: Place) -> Iterator[Fault]:
    """A value that is not of the declared type, or lacks declared keys."""
    if kind_of(value) != spec.kind:
        message = f"{spec.name!r} must be of type {spec.kind}, not {kind_of(value)}"
        yield Fault(at, message, items_hint(value))
    elif isinstance(value, Mapping):
        default = spec.default if isinstance(spec.default, Mapping) else {}
        missing = [key for key in spec.properties or () if key not in value and key not in default]
        if missing:
            yield Fault(at, f"{spec.name!r} lacks {', '.join(missing)}")


def declared(specs: Iterable[ParamSpec]) -> Iterator[Fault]:
    for spec in specs:
        if spec.kind == "object" and spec.properties is None:
            yield Fault(spec.at / "properties", "is missing: an object's keys are declared")


def handed(spec: ParamSpec, param: Param, meaning: Meaning | None) -> Iterator[Fault]:
    """What is wrong with a value; it is none of a text's references without a `meaning`."""
    kind = kind_of(param.value)
    if meaning is not None:
        kind = kind_here(param.value, param.at / "value", meaning)
    if kind and kind != spec.kind:
        message = f"{spec.name!r} must be of type {spec.kind}, not {kind}"
        yield Fault(param.at / "value", message, items_hint(param.value))
    elif isinstance(param.value, Mapping):
        yield from type_faults(spec, param.value, param.at / "value")


def kind_here(value: Value, at: Place, meaning: Meaning) -> str:
    """The type of a value that may be a reference; empty where that has been complained about."""
    if not isinstance(value, str):
        return kind_of(value)
    for reference in references(value):
        if reference.text == value:
            found = meaning(reference, Text(value, at))
            return "" if isinstance(found, No) else found
    return "string"
