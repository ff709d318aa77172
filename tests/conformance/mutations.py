"""Documents made wrong in one or two places: what the differential test holds both judges against.

Everything is chosen by a `random.Random` that is handed in: one from hypothesis shrinks, one with a fixed seed repeats.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Path = tuple[str | int, ...]
Mutation = Callable[[list[Any], Random], str]

# values of every type, and texts that are no names, or nearly are
WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 7, 1.5, "", "a", "A", "a b", "a.b", "a_b", "x" * 64, "1s", "-1s", "10", "$(params.lost)", "$(tasks.lost.results.r)",
    "$(context.lost)", [], ["a"], ["a", "a"], [1], {}, {"a": "b"}, {"a": 1},
)  # fmt: skip
NAMES = (
    "lost",
    "a",
    "b",
    "s",
    "t",
    "r",
    "w",
    "x",
    "A",
    "a.b",
    "a-b",
    "a_b",
    "-a",
    "x" * 63,
    "x" * 64,
)
FIELDS = (
    "name", "value", "default", "type", "description", "params", "results", "workspaces", "when", "timeout", "retries", "onError", "runAfter",
    "matrix", "script", "command", "args", "image", "env", "optional", "readOnly", "mountPath", "subPath", "taskRef", "taskSpec", "status", "lost",
)  # fmt: skip
_REFERENCE = re.compile(r"\$\(([^()]+)\)")


def mutate(documents: list[Any], random: Random) -> tuple[list[Any], str]:
    """A copy with one change, or seldom two, and what was changed."""
    changed = copy.deepcopy(documents)
    told = [random.choice(MUTATIONS)(changed, random) for _ in range(random.choice((1, 1, 1, 2)))]
    return changed, "; ".join(told)


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every place below a value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*at, key)
        yield from paths(item, (*at, key))


def _at(root: Any, path: Path) -> Any:
    for key in path:
        root = root[key]
    return root


def _some(documents: list[Any], random: Random, fits: Callable[[Any, Path], bool]) -> Path | None:
    found = [p for p in paths(documents) if len(p) > 1 and fits(_at(documents, p), p)]
    return random.choice(found) if found else None


def _drop(documents: list[Any], random: Random) -> str:
    path = _some(documents, random, lambda *_: True)
    if path is None:
        return "nothing"
    del _at(documents, path[:-1])[path[-1]]
    return f"dropped {text(path)}"


def _replace(documents: list[Any], random: Random) -> str:
    path = _some(documents, random, lambda *_: True)
    if path is None:
        return "nothing"
    value = copy.deepcopy(random.choice(WRONG))
    _at(documents, path[:-1])[path[-1]] = value
    return f"{text(path)} is {value!r}"


def _rename(documents: list[Any], random: Random) -> str:
    path = _some(
        documents,
        random,
        lambda value, p: isinstance(value, str) and p[-1] in ("name", "workspace"),
    )
    if path is None:
        return "nothing"
    value = random.choice(NAMES)
    _at(documents, path[:-1])[path[-1]] = value
    return f"{text(path)} is named {value!r}"


def _rename_key(documents: list[Any], random: Random) -> str:
    path = _some(documents, random, lambda _, p: isinstance(p[-1], str))
    if path is None:
        return "nothing"
    key, holder = random.choice(FIELDS), _at(documents, path[:-1])
    holder[key] = holder.pop(path[-1])
    return f"{text(path)} is called {key}"


def _add_field(documents: list[Any], random: Random) -> str:
    path = _some(documents, random, lambda value, _: isinstance(value, dict))
    if path is None:
        return "nothing"
    key, value = random.choice(FIELDS), copy.deepcopy(random.choice(WRONG))
    _at(documents, path)[key] = value
    return f"{text(path)} has {key}: {value!r}"


def _repeat(documents: list[Any], random: Random) -> str:
    path = _some(documents, random, lambda value, _: isinstance(value, list) and bool(value))
    if path is None:
        return "nothing"
    items = _at(documents, path)
    items.append(copy.deepcopy(random.choice(items)))
    return f"{text(path)} repeats an item"


def _move(documents: list[Any], random: Random) -> str:
    """What stands in one place stands in another of the same name too."""
    path = _some(documents, random, lambda _, p: isinstance(p[-1], str))
    if path is None:
        return "nothing"
    other = _some(documents, random, lambda _, p: p[-1] == path[-1])
    if other is None:
        return "nothing"
    value = copy.deepcopy(_at(documents, path))
    _at(documents, other[:-1])[other[-1]] = value
    return f"{text(other)} is as {text(path)}"


def _refer(documents: list[Any], random: Random) -> str:
    """A reference is made to lead elsewhere."""
    path = _some(
        documents,
        random,
        lambda value, _: isinstance(value, str) and bool(_REFERENCE.search(value)),
    )
    if path is None:
        return "nothing"
    value = _at(documents, path)
    match = random.choice(list(_REFERENCE.finditer(value)))
    parts = re.split(r"(?<=[.\[])|(?=[.\[\]])", match[1])
    parts[random.randrange(len(parts))] = random.choice(
        ("lost", "", "*", "0", "params", "tasks", "results", "path", "a")
    )
    new = value[: match.start(1)] + "".join(parts) + value[match.end(1) :]
    _at(documents, path[:-1])[path[-1]] = new
    return f"{text(path)} is {new!r}"


MUTATIONS: tuple[Mutation, ...] = (
    _drop,
    _replace,
    _replace,
    _rename,
    _rename_key,
    _add_field,
    _repeat,
    _move,
    _refer,
)


def text(path: Path) -> str:
    """A place as people write it: `0: spec.params[1].name`."""
    told = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path[1:])
    return f"{path[0]}: {told.lstrip('.')}"
