"""Bytes → documents.

libyaml's events are put together here in one iterative pass, since its own composer recurses in C:
a file of brackets would end the interpreter.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import replace
from typing import Any, NoReturn

import yaml

from mlops.documents.nodes import Document, Kind, Node, complaint_at, merges
from mlops.documents.scalars import CORE, DEPTH, DIGITS, WORDS_1_1, Schema, resolve
from mlops.errors import ConfigError

LIMIT = 1 << 20  # bytes of a file
ALIASES = 10_000  # values that the aliases of a document may stand for

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def load(
    content: bytes,
    origin: str,
    *,
    limit: int = LIMIT,
    schema: Schema = "1.1",
    text_keys: bool = False,
) -> Document:
    """Read a file that holds one document (none at all reads as null).

    `origin` names the file in errors, `limit` is in bytes. With `text_keys` a key that is a number,
    a boolean or null is taken by its text (parameter files have such), else refused. Raises
    ConfigError with the line of what is wrong.
    """
    found = load_all(content, origin, limit=limit, schema=schema, text_keys=text_keys)
    if not found:
        return Document(None, origin, "", Node(Kind.SCALAR, 0, 0), (0,))
    if len(found) > 1:
        line = found[1].line(())
        raise ConfigError(f"{origin}:{line}: expected one YAML document, found {len(found)}")
    return found[0]


def load_all(
    content: bytes,
    origin: str,
    *,
    limit: int = LIMIT,
    schema: Schema = "1.1",
    text_keys: bool = False,
) -> tuple[Document, ...]:
    """Read a file of any number of documents; otherwise as `load`."""
    text = _decode(content, origin, limit)
    lines = (0, *(found.end() for found in re.finditer(r"\r\n|\n|\r", text)))
    composer = _Composer(origin, lines, schema, text_keys)
    loader = _LOADER(text)
    try:
        while loader.check_event():
            composer.take(loader.get_event())
    except yaml.MarkedYAMLError as exc:
        composer.refuse_yaml(exc)
    except yaml.YAMLError as exc:
        raise ConfigError(f"{origin}: not YAML: {exc}") from exc
    finally:
        loader.dispose()
    return tuple(Document(value_of(root), origin, text, root, lines) for root in composer.roots)


def _decode(content: bytes, origin: str, limit: int) -> str:
    if len(content) > limit:
        raise ConfigError(f"{origin}: {len(content)} bytes long, expected at most {limit}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise ConfigError(
            f"{origin}:{line}: not UTF-8: byte 0x{content[exc.start]:02x} at offset {exc.start}"
        ) from exc
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        line = text.count("\n", 0, forbidden.start()) + 1
        raise ConfigError(
            f"{origin}:{line}: expected text, found the control character"
            f" U+{ord(forbidden.group()):04X}"
        )
    return text


def value_of(node: Node) -> Any:
    """The plain value of a node: dict, list, str, int, float, bool or None."""
    if node.kind is Kind.SCALAR:
        return node.value
    if node.kind is Kind.SEQUENCE:
        return [value_of(entry) for entry in node.entries]
    value: dict[str, Any] = {}
    for merged in reversed(node.merged()):
        value |= value_of(merged)
    value |= {key.text: value_of(child) for key, child in node.items if not merges(key)}
    return value


class _Frame:
    """A collection that is being put together."""

    __slots__ = ("anchor", "children", "event", "kind", "seen")

    def __init__(self, kind: Kind, event: Any) -> None:
        self.kind = kind
        self.event = event
        self.anchor: str | None = event.anchor
        self.children: list[Node] = []  # of a mapping: key, value, key, value …
        self.seen: dict[str, int] = {}  # key → offset

    @property
    def part(self) -> str | int | None:
        """Where the next child stands; None where a key comes next."""
        if self.kind is Kind.SEQUENCE:
            return len(self.children)
        return self.children[-1].text if len(self.children) % 2 else None


class _Composer:
    """Puts nodes together from events, with a stack of its own."""

    def __init__(
        self, origin: str, lines: tuple[int, ...], schema: Schema, text_keys: bool
    ) -> None:
        self.roots: list[Node] = []
        self._origin, self._lines = origin, lines
        self._schema, self._text_keys = schema, text_keys
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}  # None while it is open
        self._aliased = 0  # values that aliases stand for, so far

    def take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                node = self._scalar(event)
                self._name(event.anchor, node)
                self._add(node)
            case yaml.DocumentStartEvent():
                self._anchors.clear()
                self._aliased = 0
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._open(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close(event)
            case yaml.AliasEvent():
                self._add(self._alias(event))
            case _:
                pass

    def _open(self, event: Any) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        kind = Kind.MAPPING if mapping else Kind.SEQUENCE
        if self._is_key():
            self._refuse(event, f"expected a string as key, found {kind.value}")
        if event.tag not in (None, "!", CORE + ("map" if mapping else "seq")):
            self._refuse(event, f"expected no tag, found {event.tag}")
        if len(self._stack) >= DEPTH:
            self._refuse(event, f"expected at most {DEPTH} levels of nesting")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(kind, event))

    def _close(self, event: Any) -> None:
        frame = self._stack.pop()
        node = self._collection(frame, event)
        self._name(frame.anchor, node)
        self._add(node)

    def _collection(self, frame: _Frame, event: Any) -> Node:
        children = frame.children
        mapping = frame.kind is Kind.MAPPING
        node = Node(
            frame.kind,
            frame.event.start_mark.index,
            event.end_mark.index,
            "flow" if frame.event.flow_style else "block",
            items=tuple(zip(children[::2], children[1::2], strict=True)) if mapping else (),
            entries=() if mapping else tuple(children),
            size=1 + sum(child.size for child in children),
            height=1 + max((child.height for child in children), default=0),
        )
        for merged in node.merged() or [child for key, child in node.items if merges(key)]:
            if merged.kind is not Kind.MAPPING:
                self._refuse(frame.event, "expected mappings under the merge key <<")
        return node

    def _name(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _alias(self, event: Any) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None:
            inside = event.anchor in self._anchors
            wrong = "refers to what it stands in" if inside else "has no anchor before it"
            self._refuse(event, f"the alias *{event.anchor} {wrong}")
        if self._is_key():
            self._refuse(event, "expected a string as key, found an alias")
        if len(self._stack) + target.height > DEPTH:
            self._refuse(event, f"expected at most {DEPTH} levels of nesting")
        self._aliased += target.size
        if self._aliased > ALIASES:
            self._refuse(event, f"expected aliases to stand for at most {ALIASES} values")
        start, end = event.start_mark.index, event.end_mark.index
        return replace(target, start=start, end=end, alias=True)

    def _scalar(self, event: Any) -> Node:
        tag = None if event.tag in (None, "!") else event.tag
        plain = not event.style
        text = event.value
        value: Any = text
        if "\0" in text:
            self._refuse(event, "expected text, found the control character U+0000")
        if tag is not None:
            value = self._tagged(event, tag)
        elif plain and event.tag is None:
            value = self._plain(event)
        if self._is_key() and not isinstance(value, str):
            # `on:` and `y:` are words that people mean, and every reader of JSON makes texts of keys
            if not self._text_keys and text not in WORDS_1_1:
                self._refuse(event, f'expected a string as key: write "{text}"')
            value = text
        style = "" if plain else event.style
        return Node(Kind.SCALAR, event.start_mark.index, event.end_mark.index, style, text, value)

    def _plain(self, event: Any) -> Any:
        try:
            return resolve(event.value, self._schema)
        except ValueError:
            self._refuse(event, f"expected a number of at most {DIGITS} digits")

    def _tagged(self, event: Any, tag: str) -> Any:
        expected: dict[str, tuple[type, ...]] = {
            "str": (str,), "int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),),
        }  # fmt: skip
        name = tag.removeprefix(CORE)
        if not tag.startswith(CORE) or name not in expected:
            self._refuse(event, f"expected no tag, found {tag}")
        if name == "str":
            return event.value
        value = self._plain(event)
        if type(value) not in expected[name]:
            self._refuse(event, f"expected what its tag !!{name} says, found {event.value!r}")
        return float(value) if name == "float" else value

    def _add(self, node: Node) -> None:
        if not self._stack:
            self.roots.append(node)
            return
        frame = self._stack[-1]
        if frame.kind is Kind.MAPPING and len(frame.children) % 2 == 0:
            self._check_key(frame, node)
        frame.children.append(node)

    def _check_key(self, frame: _Frame, node: Node) -> None:
        # `"<<"` in quotes is an ordinary key; NUL cannot occur in a text
        key = "\0<<" if merges(node) else node.text
        if key in frame.seen:
            first = bisect.bisect_right(self._lines, frame.seen[key])
            frame.children.append(node)
            self._refuse_at(node.start, f"duplicate key, first on line {first}")
        frame.seen[key] = node.start

    def _is_key(self) -> bool:
        if not self._stack:
            return False
        frame = self._stack[-1]
        return frame.kind is Kind.MAPPING and len(frame.children) % 2 == 0

    def _refuse(self, event: Any, message: str) -> NoReturn:
        self._refuse_at(event.start_mark.index, message)

    def _refuse_at(self, offset: int, message: str) -> NoReturn:
        raise ConfigError(self._complaint(offset, message))

    def _complaint(self, offset: int, message: str) -> str:
        parts = (frame.part for frame in self._stack)
        path = tuple(part for part in parts if part is not None)
        return complaint_at(self._origin, bisect.bisect_right(self._lines, offset), path, message)

    def refuse_yaml(self, exc: yaml.MarkedYAMLError) -> NoReturn:
        """Say what libyaml could not read, in our form."""
        mark: Any = exc.problem_mark or exc.context_mark
        context = f" {exc.context}" if exc.context else ""
        message = f"not YAML: {exc.problem}{context}"
        raise ConfigError(self._complaint(mark.index, message)) from exc
