"""What a task leaves behind as results: read from files that a stranger wrote.

Tekton: docs/tasks.md#emitting-results. Array and object results are JSON text.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlops.tekton.values import ResultSpec, Value, kind_of

LARGEST = 4096  # bytes, for all results of a task: a container's termination message


class ResultError(Exception):
    """A result cannot be taken; `reason` is Tekton's word for it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def read(directory: Path, specs: Iterable[ResultSpec]) -> dict[str, Value]:
    """The results that were written. Raises ResultError on one of the wrong type, or too much."""
    found: dict[str, Value] = {}
    texts: dict[str, Value] = {}
    for spec in specs:
        content = _content(directory, spec.name)
        if content is not None:
            texts[spec.name] = content
            found[spec.name] = _value(spec, content)
    check_size(texts)
    return found


def check_size(values: Mapping[str, Value]) -> None:
    """Raises ResultError where results are more than a container's termination message holds."""
    listed = [{"key": k, "value": as_text(v), "type": 1} for k, v in values.items()]
    size = len(json.dumps(listed, separators=(",", ":"))) if values else 0
    if size > LARGEST:
        largest = max(values, key=lambda name: len(as_text(values[name])))
        raise ResultError(
            "TaskRunResultLargerThanAllowedLimit",
            f"the results together take over {LARGEST} bytes, most of it {largest}: "
            "hand large values on in a workspace",
        )


def as_text(value: Value) -> str:
    """A value as Tekton writes it in a string: arrays and objects as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(dict(value) if isinstance(value, Mapping) else list(value))


def _content(directory: Path, name: str) -> str | None:
    """A result's text; None where no regular file is there. Links are not followed."""
    try:
        descriptor = os.open(
            directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ResultError("InvalidResult", f"result {name} is no file: {exc.strerror}") from exc
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ResultError("InvalidResult", f"result {name} is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST + 1).decode(errors="replace")
    finally:
        os.close(descriptor)


def _value(spec: ResultSpec, text: str) -> Value:
    if spec.kind == "string":
        return text
    if len(text) > LARGEST:
        return ()  # cut, so no JSON: the size is what will be complained about
    wrong = ResultError("TaskRunValidationFailed", f"result {spec.name} is not of type {spec.kind}")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise wrong from exc
    value: Value | None = None
    if isinstance(raw, list) and all(isinstance(each, str) for each in raw):
        value = tuple(raw)
    elif isinstance(raw, dict) and all(isinstance(each, str) for each in raw.values()):
        value = raw
    if value is None or kind_of(value) != spec.kind:
        raise wrong
    missing = [
        key for key in spec.properties or () if isinstance(value, Mapping) and key not in value
    ]
    if missing:
        raise ResultError(
            "TaskRunValidationFailed", f"result {spec.name} lacks {', '.join(missing)}"
        )
    return value
