"""Holds a document against the tables of `fields`: unknown fields, refused ones, kinds of values."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mlops.tekton import quantities
from mlops.tekton.fields import PARTS, Field, Kind, Support
from mlops.tekton.place import Fault, Place, refuse

_HANDED_ON = frozenset({"pipelineSpec", "taskSpec"})


class _Notes:
    """Fields without effect: the first place of each, and how many there are."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[Place, str]] = {}
        self._count: dict[str, int] = {}

    def add(self, name: str, place: Place, why: str) -> None:
        self._first.setdefault(name, (place, why))
        self._count[name] = self._count.get(name, 0) + 1

    def lines(self) -> tuple[str, ...]:
        found = []
        for name, (place, why) in self._first.items():
            more = f" ({self._count[name]} times)" if self._count[name] > 1 else ""
            reason = f": {why}" if why else ""
            found.append(f"{place}: {Support.WITHOUT_EFFECT}{reason}{more}")
        return tuple(found)


def spelt(value: Any, part: str, *, loose: bool = False) -> Any:
    """The value with the fields of embedded specs spelt as the tables have them.

    Tekton reads pipelineSpec and taskSpec without regard to case, since Kubernetes hands them on
    unread; all else is held to the letter.
    """
    if not isinstance(value, Mapping):
        return value
    table = PARTS[part]
    names = {name.lower(): name for name in table} if loose else {}
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = str(key) if key in table else names.get(str(key).lower(), str(key))
        entry = table.get(name)
        inner = loose or name in _HANDED_ON
        if entry is None or not entry.part:
            found[name] = item
        elif entry.many and isinstance(item, list | tuple):
            found[name] = [spelt(each, entry.part, loose=inner) for each in item]
        elif entry.each and isinstance(item, Mapping):
            found[name] = {k: spelt(each, entry.part, loose=inner) for k, each in item.items()}
        else:
            found[name] = spelt(item, entry.part, loose=inner)
    return found


def check(value: Any, part: str, place: Place) -> tuple[str, ...]:
    """Hold `value` against the table `part`. Gives a note for each field that stays without effect.

    Raises ConfigError, with place and full path, where a field is unknown, refused or of the wrong
    kind; all of them at once.
    """
    faults, notes = inspect(value, part, place)
    refuse(faults)
    return notes


def inspect(value: Any, part: str, place: Place) -> tuple[list[Fault], tuple[str, ...]]:
    """As `check`, but gives what is wrong, with the notes, instead of raising."""
    notes = _Notes()
    faults = list(_walk(value, part, place, notes))
    return faults, notes.lines()


def _walk(value: Any, part: str, place: Place, notes: _Notes) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield Fault(place, "must be a map")
        return
    table = PARTS[part]
    for key, item in value.items():
        entry, here = table.get(str(key), table.get("*")), place / str(key)
        if entry is None:
            yield Fault(here, "there is no such field", _meant(part, str(key)))
        elif item is not None:  # as in Kubernetes: null is the same as absent
            yield from _field(item, entry, f"{part}.{key}", here, notes)


def _meant(part: str, key: str) -> str:
    names = {name.lower(): name for name in PARTS[part]}
    close = difflib.get_close_matches(key.lower(), list(names), n=1)
    return f"Is {names[close[0]]} meant?" if close else ""


def _field(item: Any, entry: Field, name: str, here: Place, notes: _Notes) -> Iterator[Fault]:
    if entry.support is Support.REFUSED:
        yield Fault(here, f"not carried out here: {entry.why}")
    elif entry.support is Support.WITHOUT_EFFECT:
        notes.add(name, here, entry.why)
        yield from kind_faults(item, entry.kind, here)
    elif entry.many:
        yield from _items(item, entry, here, notes)
    elif entry.each:
        if isinstance(item, Mapping):
            for key, below in item.items():
                yield from _walk(below, entry.part, here / str(key), notes)
        else:
            yield Fault(here, "must be a map")
    elif entry.part:
        yield from _walk(item, entry.part, here, notes)
    else:
        yield from kind_faults(item, entry.kind, here)


def _items(item: Any, entry: Field, here: Place, notes: _Notes) -> Iterator[Fault]:
    if not isinstance(item, list | tuple):
        yield Fault(here, "must be a list")
        return
    for index, each in enumerate(item):
        if each is None:
            yield Fault(here / index, "is empty")
        else:
            yield from _walk(each, entry.part, here / index, notes)


def kind_faults(value: Any, kind: Kind, place: Place) -> Iterator[Fault]:
    """What is wrong with a value of a field."""
    match kind:
        case Kind.TEXT:
            fits = isinstance(value, str)
        case Kind.TEXTS:
            fits = _all_texts(value)
        case Kind.MAP:
            fits = isinstance(value, Mapping) and all(
                isinstance(each, str) for pair in value.items() for each in pair
            )
        case Kind.NUMBER:
            fits = isinstance(value, int) and not isinstance(value, bool)
        case Kind.FLAG:
            fits = isinstance(value, bool)
        case Kind.VALUE:
            fits = _is_value(value)
        case Kind.QUANTITY:
            fits = _is_quantity(value)
        case Kind.QUANTITIES:
            fits = isinstance(value, Mapping) and all(map(_is_quantity, value.values()))
        case Kind.DURATION:
            fits = isinstance(value, str) and quantities.is_duration(value)
        case Kind.ANY:
            fits = True
    if not fits:
        plain = kind is Kind.TEXT and isinstance(value, bool | int | float)
        hint = f"YAML reads it as {json.dumps(value)}: put it in quotes" if plain else ""
        yield Fault(place, f"must be {kind.value}, not {value!r:.60}", hint)


def _all_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_quantity(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return quantities.is_quantity(str(value))


def _is_value(value: Any) -> bool:
    """Whether JSON can hold it, which every value goes through on its way to Tekton."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_is_value, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_value, value))
    return value is None or isinstance(value, str | int)
