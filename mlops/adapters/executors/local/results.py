"""What a task leaves behind as results: read from files that a stranger wrote.

Tekton: docs/tasks.md#emitting-results. Array and object results are JSON text.
"""

from __future__ import annotations

import json
import os
import posixpath
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlops.tekton.pod import TaskSpec
from mlops.tekton.values import ResultSpec, Value, kind_of

LARGEST = 4096  # bytes, for all results of a task: a container's termination message
_STARTED = 64  # bytes of it say when the step began
_OF_A_POD = (
    12288  # bytes that the kubelet takes of the messages of all containers, each an equal part
)


class ResultError(Exception):
    """A result cannot be taken; `reason` is Tekton's word for it. `found` are those that are kept."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.found: dict[str, Value] = {}


class LacksError(ResultError):
    """An object lacks keys, and is kept as it is."""

    def __init__(self, message: str, value: Value) -> None:
        super().__init__("TaskRunValidationFailed", message)
        self.value = value


class TooLargeError(ResultError):
    """All results together are too large: the step that wrote the last of them fails by it."""


def read(directory: Path, specs: Iterable[ResultSpec]) -> dict[str, Value]:
    """The results that were written. Raises ResultError on one of the wrong type, or too much."""
    kinds = {spec.name: spec for spec in specs}
    found = texts(directory, kinds.values())
    check_size(found)
    return values_of(found, kinds.values())


def values_of(found: Mapping[str, str], specs: Iterable[ResultSpec]) -> dict[str, Value]:
    """Results from their texts. Raises ResultError on one of the wrong type, which has the others."""
    kinds = {spec.name: spec for spec in specs}
    values: dict[str, Value] = {}
    wrong: list[ResultError] = []
    for name, text in found.items():
        try:
            values[name] = _value(kinds[name], text)
        except LacksError as exc:
            values[name] = exc.value
            wrong.append(exc)
        except ResultError as exc:
            wrong.append(exc)
    if wrong:
        wrong[0].found = values
        raise wrong[0]
    return values


def texts(directory: Path, specs: Iterable[ResultSpec]) -> dict[str, str]:
    """The results that were written, as they were. Raises ResultError on what is no regular file."""
    found = {spec.name: _content(directory, spec.name) for spec in specs}
    return {name: text for name, text in found.items() if text is not None}


def share(spec: TaskSpec) -> int:
    """The bytes that a container of a task's pod may hand on: with Tekton's own, which prepare the pod,
    lay out scripts and make working directories."""
    containers = (*spec.steps, *spec.sidecars)
    scripts = any(each.script for each in containers)
    places = (posixpath.normpath(each.working_dir) for each in spec.steps if each.working_dir)
    made = any(not place.startswith("/") or place.startswith("/workspace/") for place in places)
    return min(LARGEST, _OF_A_POD // (len(containers) + 1 + scripts + made))


def check_size(values: Mapping[str, Value], limit: int = LARGEST) -> None:
    """Raises TooLargeError where results are more than a container's termination message holds."""
    listed = [{"key": k, "value": as_text(v), "type": 1} for k, v in values.items()]
    size = len(json.dumps(listed, separators=(",", ":"))) + _STARTED if values else 0
    if size > limit:
        largest = max(values, key=lambda name: len(as_text(values[name])))
        raise TooLargeError(
            "StepFailed",
            f"the results together take over {limit} bytes, most of it {largest}: "
            "hand large values on in a workspace"
            + (f"; a task of fewer steps may have up to {LARGEST}" if limit < LARGEST else ""),
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
        raise LacksError(f"result {spec.name} lacks {', '.join(missing)}", value)
    return value
