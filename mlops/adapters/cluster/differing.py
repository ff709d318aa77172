"""What applying changed of an object, for people: as a unified diff, and in a word."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from mlops import documents

Json = Mapping[str, Any]
# of an object, what the API writes and no overlay says
_OF_THE_API = frozenset(
    {
        "managedFields",
        "resourceVersion",
        "uid",
        "generation",
        "creationTimestamp",
        "selfLink",
    }
)
_LAST = "kubectl.kubernetes.io/last-applied-configuration"  # the whole object once more
_VALUES = ("data", "stringData")


def change(before: Json | None, after: Json) -> str:
    """created, configured or unchanged."""
    if before is None:
        return "created"
    return "unchanged" if _said(before) == _said(after) else "configured"


def diff(before: Json | None, after: Json | None) -> str:
    """From one state of an object to another, without what the API keeps in it. Of a Secret's values is told
    which change, and nothing else."""
    named = before or after or {}
    name = f"{named.get('kind')}/{named.get('metadata', {}).get('name')}"
    old, new = _said(before), _said(after)
    if named.get("kind") == "Secret":
        old, new = _hidden(old, {}, "***"), _hidden(new, old, "*** (changed)")
    one, other = (
        documents.dump(each).splitlines(keepends=True) if each else [] for each in (old, new)
    )
    head = f"a/{name}" if before else "/dev/null"
    return "".join(difflib.unified_diff(one, other, head, f"b/{name}" if after else "/dev/null"))


def _said(found: Json | None) -> dict[str, Any]:
    """An object without what the API keeps in it."""
    if not found:
        return {}
    about = {k: v for k, v in found.get("metadata", {}).items() if k not in _OF_THE_API}
    notes = {k: v for k, v in (about.pop("annotations", None) or {}).items() if k != _LAST}
    about |= {"annotations": notes} if notes else {}
    return {**{k: v for k, v in found.items() if k != "status"}, "metadata": about}


def _hidden(found: dict[str, Any], before: dict[str, Any], other: str) -> dict[str, Any]:
    """A Secret without its values: `other` stands for one that `before` had otherwise."""

    def shown(key: str, name: str, value: Any) -> str:
        former = (before.get(key) or {}).get(name, value)
        return "***" if former == value else other

    return {
        key: {name: shown(key, name, each) for name, each in value.items()}
        if key in _VALUES and isinstance(value, Mapping)
        else value
        for key, value in found.items()
    }
