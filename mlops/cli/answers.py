"""The JSON schemas of what commands answer with `--output json`; they are kept in one file of data."""

from __future__ import annotations

import difflib
import json
from typing import Any

from mlops import resources
from mlops.errors import UsageError

_FILE = "answers.json"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def names() -> tuple[str, ...]:
    """The commands whose answers have a schema."""
    return tuple(_data()["answers"])


def offered(incomplete: str) -> list[str]:
    """For completion: the commands of one word."""
    return [name for name in names() if " " not in name and name.startswith(incomplete)]


def schema(command: str) -> dict[str, Any]:
    """The JSON schema (2020-12) of a command's answer: an array, also of one. Raises UsageError."""
    data = _data()
    row = data["answers"].get(command)
    if row is None:
        near = difflib.get_close_matches(command, data["answers"], n=1)
        there = f"There is: {', '.join(data['answers'])}"
        raise UsageError(
            f"no answer of {command!a} has a schema",
            hint=f"Did you mean {near[0]}? {there}" if near else there,
        )
    return {
        "$schema": _DRAFT,
        "title": f"mlops {command} --output json",
        "type": "array",
        "items": row,
        "$defs": _needed(row, data["$defs"]),
    }


def _needed(row: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Of the shared definitions those that `row` refers to, and what those refer to."""
    found: dict[str, Any] = {}
    waiting = [row]
    while waiting:
        text = json.dumps(waiting.pop())
        for name, definition in known.items():
            if f'"#/$defs/{name}"' in text and name not in found:
                found[name] = definition
                waiting.append(definition)
    return found


def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(resources.content(_FILE))
    return data
