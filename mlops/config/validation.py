"""A document against a model of pydantic: frozen values, or every error of the file with its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from mlops.documents import Document, Kind, Node, Path
from mlops.errors import ConfigError

API_VERSION = "mlops/v1"
_SURE = 0.75  # a key that is so alike is that key, mistyped
_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # of a URL: it may be a password


class Section(BaseModel):
    """A mapping of a file of ours: frozen, strict, without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_by_name=False, validate_by_alias=True
    )


SectionT = TypeVar("SectionT", bound=Section)


def validate(section: type[SectionT], document: Document) -> SectionT:
    """The document as a `section`. Raises ConfigError with all that is wrong, a line each:
    `FILE:LINE: key.path: expected …`."""
    try:
        return section.model_validate(_frozen(document.value))
    except ValidationError as exc:
        details = exc.errors(include_url=False)
        raise ConfigError("\n".join(_complaints(section, document, details))) from exc


def schema_of(section: type[Section], title: str) -> dict[str, Any]:
    """The JSON schema (2020-12) of a file, for editors."""
    schema = section.model_json_schema(by_alias=True, mode="validation")
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return {**draft, **_untitled(schema)}


def _untitled(schema: Any) -> Any:
    # pydantic titles every key after the Python name: noise in an editor
    if isinstance(schema, list):
        return [_untitled(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _untitled(value)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }


def _frozen(value: Any) -> Any:
    # pydantic's strict mode takes a tuple for a tuple, not a list
    if isinstance(value, list):
        return tuple(_frozen(entry) for entry in value)
    if isinstance(value, dict):
        return {key: _frozen(entry) for key, entry in value.items()}
    return value


_EXPECTED = {
    "string_type": "expected a string",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "tuple_type": "expected a list",
}


def _complaints(
    section: type[Section], document: Document, details: list[ErrorDetails]
) -> list[str]:
    found: dict[str, int] = {}
    for detail in details:
        path = tuple(part for part in detail["loc"] if part != "[key]")
        message = _message(section, document, path, detail)
        found.setdefault(document.complaint(path, message), document.line(path))
    return sorted(found, key=lambda complaint: found[complaint])


def _message(section: type[Section], document: Document, path: Path, detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown(section, path)
    if kind == "missing":
        return f"is missing: expected {_fields(_section_at(section, path[:-1]))[str(path[-1])]}"
    if kind == "value_error":
        expected = str(context["error"])
    elif kind == "literal_error":
        expected = "expected " + str(context["expected"]).replace("'", "")
    else:
        expected = _EXPECTED.get(kind) or detail["msg"].replace("Input should be", "expected")
    if detail["loc"][-1:] == ("[key]",):
        return f"{expected}; found {path[-1]!r}"
    near = _near(document.node(path), expected) if kind == "literal_error" else ""
    return _found(document.node(path), expected) + near


def _found(node: Node, expected: str) -> str:
    """What was expected, and what stands there in its place."""
    if node.kind is not Kind.SCALAR:
        return (
            f"{expected}; found {node.kind.value}" if expected in _EXPECTED.values() else expected
        )
    if node.value is None:
        return f"{expected}; found nothing: fill it in, or remove the key"
    if isinstance(node.value, str):
        return f"{expected}; found {_USERINFO.sub('***', node.text)[:60]!r}"
    if expected != _EXPECTED["string_type"]:
        return f"{expected}; found {node.text[:60]}"
    reading = "a number" if not isinstance(node.value, bool) else str(node.value).lower()
    return f'{expected}; YAML reads {node.text[:60]} as {reading}: write "{node.text[:60]}"'


def _near(node: Node, expected: str) -> str:
    options = expected.removeprefix("expected ").replace(" or ", ", ").split(", ")
    near = difflib.get_close_matches(node.text, options, n=1) if len(options) > 1 else []
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown(section: type[Section], path: Path) -> str:
    key, names = str(path[-1]), sorted(_fields(_section_at(section, path[:-1])))
    same = difflib.get_close_matches(key, names, n=1, cutoff=_SURE)
    places = [] if same else [place for place, keys in _mappings(section) if key in keys]
    if places:
        depth = min(place.count(".") for place in places)
        nearest = [place for place in places if place.count(".") == depth]
        return f"unknown key; it belongs to {' or '.join(nearest)}"
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; expected one of {', '.join(names)}"


def _mappings(section: type[Section], place: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each mapping of a file, as the path to it with NAME where a name stands, with the keys it may have."""
    yield place or "the top level", set(_fields(section))
    for name, field in section.model_fields.items():
        inner, below = (
            _plain(field.annotation),
            ".".join(filter(None, (place, field.alias or name))),
        )
        if get_origin(inner) is dict:
            inner, below = _plain(get_args(inner)[1]), f"{below}.NAME"
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _mappings(inner, below)


def _fields(section: type[Section]) -> dict[str, str]:
    """Name in the file → description."""
    return {
        field.alias or name: field.description or "" for name, field in section.model_fields.items()
    }


def _section_at(section: type[Section], path: Path) -> type[Section]:
    """The class that describes the mapping at `path`."""
    annotation: Any = section
    for part in path:
        annotation = _below(_plain(annotation), part)
    found: type[Section] = _plain(annotation)
    return found


def _plain(annotation: Any) -> Any:
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = get_args(annotation)[0]
    return annotation


def _below(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        fields = annotation.model_fields
        return next(
            field for name, field in fields.items() if (field.alias or name) == part
        ).annotation
    return get_args(annotation)[1 if get_origin(annotation) is dict else 0]
