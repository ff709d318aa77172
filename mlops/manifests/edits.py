"""Where to cut and paste in the text of a kustomization: the image entries, nothing else.

Nothing here is trusted: `kustomization` reads each result back and compares what it means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mlops.documents import Kind, Node, quote

_BREAK = re.compile(r"\r\n|\n|\r")
_DOCUMENT_END = re.compile(r"^\.\.\.(?=[ \t\r\n]|\Z)", re.MULTILINE)
_QUOTES = ("'", '"')

Field = tuple[str, str]


class UnsafeEditError(Exception):
    """This form is not one that these edits know."""


class Edit(NamedTuple):
    """Replace text[start:end]."""

    start: int
    end: int
    text: str


def applied(text: str, changes: Sequence[Edit]) -> str:
    """The text with all changes made; offsets are those of the text before any."""
    # from the end; a cut before what is pasted where it begins
    for change in sorted(changes, key=lambda change: (change.start, change.end), reverse=True):
        text = text[: change.start] + change.text + text[change.end :]
    return text


def renamed(text: str, entry: Node, name: str) -> list[Edit]:
    """Give an entry another newName in place of the one that it has."""
    own = entry.get("newName")
    return [] if own is None else [_replaced(text, own[1], name)]


def pin_entry(text: str, entry: Node, digest: str, fields: Sequence[Field]) -> list[Edit]:
    """Give an entry this digest, and `fields` that it lacks."""
    own, tag = entry.get("digest"), entry.get("newTag")
    if own is not None:
        return [_replaced(text, own[1], digest), *_inserted(text, entry, fields)]
    if tag is not None and not tag[1].alias:
        key, value = tag
        mark = key.style if key.style in _QUOTES else ""
        between = text[key.end : value.start]
        swapped = f"{mark}digest{mark}{between}{_marked(digest, value)}{_tail(text, value)}"
        return [Edit(key.start, value.end, swapped), *_inserted(text, entry, fields)]
    return _inserted(text, entry, [*fields, ("digest", digest)])


def add_entry(text: str, root: Node, fields: Sequence[Field]) -> list[Edit]:
    """Add an entry with these fields to `images`, which may be missing or empty."""
    own = root.get("images")
    if own is None:
        return _with_images(text, root, fields)
    key, node = own
    if node.alias:
        raise UnsafeEditError
    if node.kind is Kind.SEQUENCE and node.entries:
        flow = node.style == "flow"
        return _append_flow(text, node, fields) if flow else _append_block(text, node, fields)
    if root.style == "flow":
        space = " " if node.start == node.end else ""
        return [Edit(node.start, node.end, f"{space}[{_flow(fields, _sample(root), '')}]")]
    if text[node.start : node.end].strip("[] \t\r\n~") not in ("", "null", "Null", "NULL"):
        raise UnsafeEditError
    colon = text.index(":", key.end) + 1
    lines = _block(fields, _column(text, key.start) + _offset(text, root), " ", _NO_SAMPLE)
    return [Edit(colon, node.end, ""), _lines_after(text, node.end, lines)]


def remove_entry(text: str, root: Node, place: int) -> list[Edit]:
    """Remove one entry of `images`, with the comments inside it."""
    own = root.get("images")
    if own is None or own[1].alias or own[1].entries[place].alias:
        raise UnsafeEditError
    key, node = own
    entry = node.entries[place]
    if node.style == "flow":
        return [_cut_flow(text, node, place)]
    start = _line_start(text, _dash(text, entry))
    end = _next_line(text, _end(entry))
    if end is None:  # the file ends without a line break, and shall still
        start, end = _before_break(text, start), len(text)
    cut = Edit(start, end, "")
    if len(node.entries) > 1:
        return [cut]
    colon = text.index(":", key.end) + 1
    return [Edit(colon, colon, " []"), cut]


class _Sample(NamedTuple):
    """How a neighbour is written: quotes of its keys and values, and the space inside braces."""

    key: str = ""
    value: str = ""
    pad: str = ""
    flow: bool = False


_NO_SAMPLE = _Sample()


def _sample(mapping: Node, text: str = "") -> _Sample:
    """The style of an entry's keys, and of its digest or else name."""
    if mapping.kind is not Kind.MAPPING or not mapping.items or mapping.alias:
        return _NO_SAMPLE
    key = mapping.items[0][0].style
    shown = mapping.get("digest") or mapping.get("name")
    value = shown[1].style if shown else key
    flow = mapping.style == "flow"
    pad = " " if flow and re.match(r"\{ +", text[mapping.start : mapping.end]) else ""
    return _Sample(_quote_mark(key), _quote_mark(value), pad, flow)


def _quote_mark(style: str) -> str:
    return style if style in _QUOTES else ""


def _fields(fields: Sequence[Field], sample: _Sample) -> list[str]:
    return [
        f"{sample.key}{key}{sample.key}: "
        + (f"{sample.value}{value}{sample.value}" if sample.value else quote(value))
        for key, value in fields
    ]


def _flow(fields: Sequence[Field], sample: _Sample, pad: str) -> str:
    return "{" + pad + ", ".join(_fields(fields, sample)) + pad + "}"


def _block(fields: Sequence[Field], column: int, gap: str, sample: _Sample) -> list[str]:
    written = _fields(fields, sample)
    dash = " " * column + "-" + gap
    return [dash + written[0], *(" " * len(dash) + line for line in written[1:])]


def _replaced(text: str, value: Node, digest: str) -> Edit:
    """The digest in place of the old one, inside the same quotes."""
    span = text[value.start : value.end]
    if value.alias:
        return Edit(value.start, value.end, digest)
    if value.text and span.count(value.text) == 1:
        start = value.start + span.index(value.text)
        return Edit(start, start + len(value.text), digest)
    if not span:  # `digest:` and nothing
        return Edit(value.start, value.end, " " + digest)
    if span in ('""', "''"):
        return Edit(value.start + 1, value.start + 1, digest)
    raise UnsafeEditError


def _tail(text: str, value: Node) -> str:
    """The line breaks that a block scalar ends with: they are the file's, not the value's."""
    span = text[value.start : value.end]
    return span[len(span.rstrip(" \t\r\n")) :] if value.style in ("|", ">") else ""


def _marked(digest: str, value: Node) -> str:
    mark = _quote_mark(value.style)
    space = " " if value.start == value.end else ""
    return f"{space}{mark}{digest}{mark}"


def _inserted(text: str, entry: Node, fields: Sequence[Field]) -> list[Edit]:
    """More fields for an entry, after its newName, name or last field."""
    if not fields:
        return []
    if entry.alias or not entry.items:
        raise UnsafeEditError
    key, value = entry.get("newName") or entry.get("name") or entry.items[-1]
    written = _fields(fields, _sample(entry, text))
    if entry.style == "flow":
        return [Edit(value.end, value.end, "".join(f", {field}" for field in written))]
    indent = " " * _column(text, key.start)
    return [_lines_after(text, _end(value), [indent + field for field in written])]


def _append_block(text: str, node: Node, fields: Sequence[Field]) -> list[Edit]:
    last = node.entries[-1]
    dash = _dash(text, last)
    gap = text[dash + 1 : last.start]
    gap = gap if gap and not gap.strip(" ") else " "
    sample = _sample(last, text)
    column = _column(text, dash)
    if sample.flow:
        lines = [" " * column + "-" + gap + _flow(fields, sample, sample.pad)]
    else:
        lines = _block(fields, column, gap, sample)
    return [_lines_after(text, _end(last), lines)]


def _append_flow(text: str, node: Node, fields: Sequence[Field]) -> list[Edit]:
    last = node.entries[-1]
    sample = _sample(last, text)
    item = _flow(fields, sample, sample.pad)
    indent = text[_line_start(text, last.start) : last.start]
    if indent.strip():  # several on a line
        return [Edit(last.end, last.end, f", {item}")]
    stop = _BREAK.search(text, last.end)
    rest = text[last.end : stop.start() if stop else len(text)].strip()
    if stop is None or rest.removeprefix(",").lstrip()[:1] not in ("", "#"):
        return [Edit(last.end, last.end, f",{_eol(text)}{indent}{item}")]
    after = "," if rest.startswith(",") else ""
    comma = [] if after else [Edit(last.end, last.end, ",")]
    return [*comma, Edit(stop.end(), stop.end(), f"{indent}{item}{after}{_eol(text)}")]


def _with_images(text: str, root: Node, fields: Sequence[Field]) -> list[Edit]:
    if root.alias or not root.items:
        raise UnsafeEditError
    if root.style == "flow":
        value, sample = root.items[-1][1], _sample(root)
        mark = sample.key
        images = f"{mark}images{mark}: [{_flow(fields, sample._replace(value=mark), '')}]"
        return [Edit(value.end, value.end, f", {images}")]
    column = _column(text, root.items[0][0].start)
    lines = _block(fields, column + _offset(text, root), " ", _NO_SAMPLE)
    stop = _DOCUMENT_END.search(text, _end(root))
    place = stop.start() if stop else len(text)
    return [_lines_after(text, place, [" " * column + "images:", *lines])]


def _cut_flow(text: str, node: Node, place: int) -> Edit:
    entries, entry = node.entries, node.entries[place]
    if place + 1 < len(entries):
        return Edit(entry.start, entries[place + 1].start, "")
    if place:
        return Edit(entries[place - 1].end, entry.end, "")
    comma = re.compile(r"[ \t]*,?").match(text, entry.end)
    return Edit(entry.start, comma.end() if comma else entry.end, "")


def _offset(text: str, root: Node) -> int:
    """How far the block lists of this file stand in from their keys; 2 where there are none."""
    for key, value in reversed(root.items):
        if value.kind is Kind.SEQUENCE and value.style == "block" and not value.alias:
            return max(0, _column(text, _dash(text, value.entries[0])) - _column(text, key.start))
    return 2


def _dash(text: str, entry: Node) -> int:
    """Where the dash of a block list's entry stands."""
    before = text[: entry.start].rstrip(" \t\r\n")
    if not before.endswith("-"):
        raise UnsafeEditError
    return len(before) - 1


def _end(node: Node) -> int:
    """Where the last thing in a node ends; a block collection's own end is the next token."""
    while node.style == "block" and not node.alias:
        children = node.entries or tuple(value for _, value in node.items)
        if not children:
            break
        node = children[-1]
    return node.end


def _lines_after(text: str, offset: int, lines: Sequence[str]) -> Edit:
    """Whole lines below the one that `offset` lies in; a missing last line break stays missing."""
    eol = _eol(text)
    place = _next_line(text, offset)
    if place is None:
        return Edit(len(text), len(text), "".join(eol + line for line in lines))
    return Edit(place, place, "".join(line + eol for line in lines))


def _next_line(text: str, offset: int) -> int | None:
    """The start of the line below; `offset` itself where it starts a line (block scalars end so)."""
    if offset and text[offset - 1] in "\r\n":
        return offset
    found = _BREAK.search(text, offset)
    return found.end() if found else None


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def _before_break(text: str, offset: int) -> int:
    return offset - (2 if text[:offset].endswith("\r\n") else 1 if offset else 0)


def _column(text: str, offset: int) -> int:
    return offset - _line_start(text, offset)


def _eol(text: str) -> str:
    found = _BREAK.search(text)
    return found.group() if found else "\n"
