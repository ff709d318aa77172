"""Reading objects that a cluster gives: nothing is presumed, and what is absent or of another kind is empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


def mapping(found: Any, key: str) -> Json:
    """What stands at a key, where both are mappings."""
    value = found.get(key) if isinstance(found, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def mappings(found: Any) -> list[Json]:
    """The mappings of a list."""
    if not isinstance(found, (list, tuple)):
        return []
    return [each for each in found if isinstance(each, Mapping)]
