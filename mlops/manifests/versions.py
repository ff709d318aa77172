"""Pins of many versions of one kustomization, read one after the other.

Neighbours in a history differ by a digest or two. Where a version is the last one read with other
digests in the same places, its pins are those with these digests; anything else is parsed whole. The
shortcut gives what parsing would: it is taken only between files that are equal but for the 64 digits
of digests that stand each in one place.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mlops.documents import Document, Kind, Node
from mlops.domain.digest import Digest
from mlops.manifests import kustomization

_DIGITS = 64
_PREFIX = "sha256:"
_HEX = re.compile(rb"[0-9a-f]{64}")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class _Read:
    """A version: its bytes, its pins, and at which offsets the digits of which image stand."""

    content: bytes
    pins: Mapping[str, Digest]
    starts: tuple[int, ...]
    names: tuple[str, ...]


class Versions:
    """Reads versions of the file that errors call `origin`; pins of `models` alone are told."""

    def __init__(self, origin: str, models: Collection[str]) -> None:
        self._origin = origin
        self._models = models
        self._last: _Read | None = None

    def of(self, origin: str) -> Versions:
        """A reader of another file that may be much like the one that was read last."""
        other = Versions(origin, self._models)
        other._last = self._last
        return other

    def pins(self, content: bytes) -> Mapping[str, Digest]:
        """Model → digest. Raises ConfigError as `kustomization.pins` does."""
        found = None if self._last is None else _shifted(self._last, content)
        if found is None:
            found = self._parsed(content)
        self._last = found
        return found.pins

    def _parsed(self, content: bytes) -> _Read:
        document, pins = kustomization.read(content, self._origin)
        ours = {pin.model: pin.digest for pin in pins if pin.model in self._models}
        places = _places(document, content)
        return _Read(content, ours, tuple(places), tuple(places.values()))


def _shifted(last: _Read, content: bytes) -> _Read | None:
    """The last version with other digests; None where more than that differs."""
    if len(content) != len(last.content):
        return None
    moved: dict[str, Digest] = {}
    at = _differs(last.content, content, 0)
    while at is not None:
        place = bisect.bisect_right(last.starts, at) - 1
        start = last.starts[place] if place >= 0 else at + 1
        found = _HEX.match(content, start)
        if not start <= at < start + _DIGITS or found is None:
            return None
        name = last.names[place]
        if name in last.pins:
            moved[name] = Digest(found.group().decode("ascii"))
        at = _differs(last.content, content, start + _DIGITS)
    pins = {**last.pins, **moved} if moved else last.pins
    return _Read(content, pins, last.starts, last.names)


def _differs(old: bytes, new: bytes, start: int) -> int | None:
    """The first offset from `start` on at which two texts of one length differ; None where none."""
    if old[start:] == new[start:]:
        return None
    low, high = start, len(old)  # equal before low, different before high
    while high - low > 1:
        middle = (low + high) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _places(document: Document, content: bytes) -> dict[int, str]:
    """Offset in bytes → the image whose digest has its digits there, in order.

    None at all where the document has aliases: a digest may then stand in two places.
    """
    if document.root.kind is not Kind.MAPPING or _aliased(document.root):
        return {}
    own = document.root.get("images")
    at, offset = 0, len(_BOM) if content.startswith(_BOM) else 0  # in characters, in bytes
    found: dict[int, str] = {}
    for entry in own[1].entries if own else ():
        name, digest = entry.get("name"), entry.get("digest")
        start = None if digest is None else _digits(document.text, digest[1])
        if name is None or start is None:
            continue
        offset += len(document.text[at:start].encode())
        at = start
        found[offset] = name[1].text
    return found


def _digits(text: str, node: Node) -> int | None:
    """Where the digits begin of a digest that stands there as it is: without a tag, an anchor, an
    escape; None elsewhere."""
    written = text[node.start : node.end]
    plain = written == node.style + node.text + node.style
    digits = node.text.removeprefix(_PREFIX)
    if not plain or len(node.text) != len(_PREFIX) + _DIGITS or not _HEX.fullmatch(digits.encode()):
        return None
    return node.start + len(node.style) + len(_PREFIX)


def _aliased(root: Node) -> bool:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.alias:
            return True
        waiting += node.entries
        waiting += [part for item in node.items for part in item]
    return False
