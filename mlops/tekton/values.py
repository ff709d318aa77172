"""Parameters, results and conditions, as frozen values.

`at` is the place in the documents, for messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlops.tekton.place import Place

Value = str | tuple[str, ...] | Mapping[str, str]
"""What a parameter or result holds: Tekton's string, array and object."""


def kind_of(value: Value) -> str:
    """Tekton's name for the type of a value."""
    if isinstance(value, Mapping):
        return "object"
    return "array" if isinstance(value, tuple) else "string"


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """A declared parameter; `kind` is string, array or object. `properties` None: not declared."""

    name: str
    kind: str
    at: Place
    default: Value | None = None
    properties: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Param:
    """A value that is handed on, under a name."""

    name: str
    value: Value
    at: Place


@dataclass(frozen=True, slots=True)
class ResultSpec:
    """A result of a task or step; `value` is a task's reference to one of its steps' results."""

    name: str
    kind: str
    at: Place
    properties: tuple[str, ...] | None = None
    value: str = ""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    name: str
    value: Value
    at: Place
    kind: str = ""


@dataclass(frozen=True, slots=True)
class When:
    input: str
    negated: bool
    values: tuple[str, ...]
    at: Place
