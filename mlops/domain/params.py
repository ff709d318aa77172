"""Parameter files as DVC reads them: YAML, JSON, TOML or Python, by the file's suffix."""

from __future__ import annotations

import ast
import json
import posixpath
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlops.domain import yaml12
from mlops.errors import ConfigError


def parse(content: bytes, path: str) -> Mapping[str, Any]:
    """The file's values; anything but `.json`, `.toml` and `.py` is read as YAML 1.2.

    Raises ConfigError naming `path` where it cannot be read.
    """
    suffix = posixpath.splitext(path)[1].lower()
    try:
        match suffix:
            case ".json":
                value = json.loads(content or b"{}")
            case ".toml":
                value = tomllib.loads(content.decode())
            case ".py":
                value = _python(ast.parse(content, filename=path))
            case _:
                value = yaml12.load(content, path)
    except (ValueError, SyntaxError, RecursionError) as exc:
        raise ConfigError(f"{path}: cannot be read as parameters: {exc}") from exc
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: parameters are a mapping, this is a {type(value).__name__}")
    return value


def _python(tree: ast.Module | ast.ClassDef | ast.FunctionDef, own: bool = False) -> dict[str, Any]:
    """Constants assigned at module and class level, and to `self` in `__init__`."""
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = _python(node)
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            found.update(_python(node, own=True))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found.update(_assigned(node, own))
    return found


def _assigned(node: ast.Assign | ast.AnnAssign, own: bool) -> Iterator[tuple[str, Any]]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if len(targets) != 1 or node.value is None:
        return
    name = _name(targets[0], own)
    try:
        value = ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return  # computed: DVC does not see it either
    if name:
        yield name, value


def _name(target: ast.expr, own: bool) -> str:
    if isinstance(target, ast.Name) and not own:
        return target.id
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        return target.attr if target.value.id == "self" else ""
    return ""


_ABSENT = object()


def lookup(values: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    """Whether the dotted `key` (`train.depth`, `layers.0.size`) is there, and its value."""
    found: Any = values
    for part in key.split("."):
        found = _step(found, part)
        if found is _ABSENT:
            return False, None
    return True, found


def _step(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        if part in value:
            return value[part]
        matching = [key for key in value if str(key) == part]
        return value[matching[0]] if matching else _ABSENT
    if isinstance(value, Sequence) and not isinstance(value, str) and part.isdecimal():
        index = int(part)
        return value[index] if index < len(value) else _ABSENT
    return _ABSENT


def same(left: Any, right: Any) -> bool:
    """Whether DVC takes the two values for equal: a tuple equals the list that records it."""
    if isinstance(left, tuple):
        left = list(left)
    return bool(left == right)


def short(value: Any) -> str:
    """A value in a few characters, for people."""
    text = json.dumps(value, ensure_ascii=False, default=str) if _plain(value) else str(value)
    text = text if not isinstance(value, str) else value
    return text if len(text) <= 60 else text[:59] + "…"


def _plain(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple | bool | int | float | None)
