"""Reads documents of strangers: a value of another type than it must have is an error, not a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.errors import ForgeError

_LONGEST = 1 << 20  # characters of a text


@dataclass(frozen=True, slots=True)
class Reader:
    """`odd` makes the error that tells which forge it was."""

    odd: Callable[[str], ForgeError]

    def mapping(self, found: Any, what: str) -> Mapping[str, Any]:
        if not isinstance(found, dict):
            raise self.odd(f"{what} is no object")
        return found

    def inner(self, found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        return self.mapping(found.get(key), key)

    def items(self, found: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], ...]:
        """The objects of a list; null is an empty one, as Go writes it."""
        value = found.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.odd(f"{key} is no list")
        return tuple(self.mapping(each, key) for each in value)

    def text(self, found: Mapping[str, Any], key: str) -> str:
        """A text; absent and null are an empty one."""
        value = found.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise self.odd(f"{key} is no text")
        return value

    def needed(self, found: Mapping[str, Any], key: str) -> str:
        value = self.text(found, key)
        if not value:
            raise self.odd(f"{key} is empty")
        return value

    def number(self, found: Mapping[str, Any], key: str) -> int:
        value = found.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.odd(f"{key} is no number")
        return value

    def page(self, found: Mapping[str, Any], key: str) -> str:
        """The URL of a page; empty where it is none that a browser should follow."""
        value = self.text(found, key)
        plain = value.isprintable() and " " not in value
        return value if plain and value.startswith(("https://", "http://")) else ""
