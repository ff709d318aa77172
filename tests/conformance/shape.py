"""Which fields of the tables in `mlops.tekton.fields` a document uses, as `Part.field`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlops.tekton.fields import PARTS, Field, honoured

HONOURED = frozenset(honoured())


def used(document: Mapping[str, Any]) -> frozenset[str]:
    """Every honoured field that stands somewhere in a document."""
    return frozenset(_fields(document, str(document.get("kind")))) & HONOURED


def _fields(value: Mapping[str, Any], part: str) -> Iterator[str]:
    table = PARTS.get(part, {})
    for key, below in value.items():
        entry = table.get(key)
        if entry is None:
            continue
        yield f"{part}.{key}"
        for item in _parts(below, entry):
            yield from _fields(item, entry.part)


def _parts(value: Any, entry: Field) -> Iterator[Mapping[str, Any]]:
    """What lies below a field and is a part of its own."""
    if not entry.part:
        return
    if entry.many and isinstance(value, list):
        found = value
    elif entry.each and isinstance(value, Mapping):
        found = list(value.values())
    else:
        found = [value]
    yield from (each for each in found if isinstance(each, Mapping))
