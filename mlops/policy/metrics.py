"""Reads a metrics file: what gates judge and records keep."""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlops.domain import yaml12
from mlops.domain.release import MetricChange
from mlops.errors import ConfigError

LIMIT = 4 * 2**20  # bytes
_DEPTH = 50


def parse_metrics(content: bytes | None, path: str) -> Mapping[str, Any]:
    """The metrics, an object of numbers, texts and objects.

    YAML by suffix (`.yaml`, `.yml`), else JSON. Raises ConfigError with file and key where the file
    is missing (None), no object, holds NaN or infinity, or repeats a key.
    """
    if content is None:
        raise ConfigError(
            f"{path}: the metrics file is not there",
            hint="Have a stage write it, or correct metrics in mlops.yaml",
        )
    if len(content) > LIMIT:
        raise ConfigError(
            f"{path}: {len(content)} bytes is too large for metrics", hint="4 MiB at most"
        )
    if posixpath.splitext(path)[1].lower() in (".yaml", ".yml"):
        value = yaml12.load(content, path)
    else:
        value = _json(content, path)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: metrics are an object, this is {_called(value)}")
    _refuse_unfit(value, path, "", 0)
    return value


def _called(value: Any) -> str:
    names = {list: "a list", str: "a text", type(None): "nothing", bool: "a boolean"}
    return names.get(type(value), "a number")


def _json(content: bytes, path: str) -> Any:
    def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ConfigError(f"{path}: the key {key!r} stands twice")
            found[key] = value
        return found

    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=unique)
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 at byte {exc.start}") from exc
    except json.JSONDecodeError as exc:
        raise ConfigError(f"{path}:{exc.lineno}: not JSON: {exc.msg}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{path}: nested too deep for metrics") from exc
    except ValueError as exc:  # an integer of more than 4300 digits
        raise ConfigError(f"{path}: {exc}") from exc


def _refuse_unfit(value: Any, path: str, key: str, depth: int) -> None:
    if depth > _DEPTH:
        raise ConfigError(f"{path}: nested more than {_DEPTH} deep at {key[:60]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}: {key} is {value}, not a number to judge by")
    inner: Iterable[tuple[Any, Any]] = enumerate(value) if isinstance(value, list) else ()
    for name, item in value.items() if isinstance(value, dict) else inner:
        _refuse_unfit(item, path, f"{key}.{name}" if key else str(name), depth + 1)


def lookup(metrics: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name (`test.accuracy`), or of a key that has dots itself; None where
    there is none."""
    if name in metrics:
        return metrics[name]
    for at, char in enumerate(name):
        if char == ".":
            inner = metrics.get(name[:at])
            if isinstance(inner, Mapping):
                found = lookup(inner, name[at + 1 :])
                if found is not None:
                    return found
    return None


def number(value: Any) -> float | None:
    """A finite number as float; None for anything else, booleans among it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[MetricChange, ...]:
    """The numbers of two metrics files side by side, in the order of the later one."""
    old, new = dict(_numbers(before, "")), dict(_numbers(now, ""))
    names = dict.fromkeys((*new, *old))
    return tuple(MetricChange(name, old.get(name), new.get(name)) for name in names)


def _numbers(found: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(found, Mapping):
        for key, value in found.items():
            yield from _numbers(value, f"{name}.{key}" if name else str(key))
        return
    exact = number(found)
    if exact is not None:
        yield name, exact
