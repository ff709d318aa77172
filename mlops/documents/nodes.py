"""What was read: values, and where each of them stands."""

from __future__ import annotations

import bisect
import enum
from dataclasses import dataclass
from typing import Any

from mlops.errors import ConfigError

Path = tuple[str | int, ...]


class Kind(enum.Enum):
    """What a node is."""

    SCALAR = "a scalar"
    SEQUENCE = "a list"
    MAPPING = "a mapping"


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place: `start` and `end` are offsets in the document's text, in characters.

    A mapping has `items`, a sequence `entries`; a scalar has `text` (as cooked by YAML) and `value`.
    `style` is a scalar's quote or block sign, "" where plain; `flow` or `block` for the others. An
    alias is a copy of what it stands for, with `alias` set and its own place. `size` counts the nodes
    with aliases expanded, `height` their levels.
    """

    kind: Kind
    start: int
    end: int
    style: str = ""
    text: str = ""
    value: str | int | float | bool | None = None
    items: tuple[tuple[Node, Node], ...] = ()
    entries: tuple[Node, ...] = ()
    alias: bool = False
    size: int = 1
    height: int = 1

    def get(self, key: str) -> tuple[Node, Node] | None:
        """The key and value nodes that stand in this mapping itself, not merged into it."""
        return next((item for item in self.items if item[0].text == key), None)

    def child(self, part: str | int) -> Node | None:
        """The value under a key (merged ones too), or the entry at an index."""
        if isinstance(part, int):
            return self.entries[part] if 0 <= part < len(self.entries) else None
        own = self.get(part)
        if own is not None:
            return own[1]
        found = (merged.child(part) for merged in self.merged())
        return next((child for child in found if child is not None), None)

    def merged(self) -> tuple[Node, ...]:
        """The mappings that `<<` brings in, the strongest first."""
        for key, value in self.items:
            if merges(key):
                return (value,) if value.kind is Kind.MAPPING else value.entries
        return ()


def merges(key: Node) -> bool:
    """Whether a key is the merge key `<<`; in quotes it is an ordinary one."""
    return key.text == "<<" and not key.style


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its plain value (dict, list, str, int, float, bool, None), and where all
    of it stands. `text` is the whole file without a byte order mark."""

    value: Any
    origin: str
    text: str
    root: Node
    lines: tuple[int, ...]

    def node(self, path: Path) -> Node:
        """The node at `path`, or the nearest one above it that exists."""
        node = self.root
        for part in path:
            child = node.child(part)
            if child is None:
                break
            node = child
        return node

    def line(self, path: Path) -> int:
        """The line (from 1) of the key at `path`; of what lies above it where it is absent."""
        node, offset = self.root, self.root.start
        for part in path:
            child = node.child(part)
            if child is None:
                break
            own = node.get(part) if isinstance(part, str) else None
            node, offset = child, own[0].start if own else child.start
        return self.line_at(offset)

    def line_at(self, offset: int) -> int:
        """The line (from 1) of an offset in `text`."""
        return bisect.bisect_right(self.lines, offset)

    def error(self, path: Path, message: str, *, hint: str = "") -> ConfigError:
        """An error to raise: `FILE:LINE: key.path: message`."""
        return ConfigError(self.complaint(path, message), hint=hint)

    def complaint(self, path: Path, message: str) -> str:
        """`FILE:LINE: key.path: message`."""
        return complaint_at(self.origin, self.line(path), path, message)


def complaint_at(origin: str, line: int, path: Path, message: str) -> str:
    """`FILE:LINE: key.path: message`."""
    where = f"{dotted(path)}: " if path else ""
    return f"{origin}:{line}: {where}{message}"


def dotted(path: Path) -> str:
    """A path as people read it: `models.spam.gates[0].min`; the middle of a long one left out."""
    text = ""
    for part in path if len(path) <= 12 else (*path[:6], "…", *path[-3:]):
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
