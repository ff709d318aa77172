"""Pins of many versions of one kustomization, read one after the other.

Neighbours in a history differ by a digest or two. Where a version is the last one read with other
digests in the same places, its pins are those with these digests; anything else is parsed whole. The
shortcut gives what parsing would: it is taken only between texts that are equal but for the 64 digits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mlops.documents import Document, Kind, Node
from mlops.domain.digest import Digest
from mlops.manifests import kustomization

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_LENGTH = len("sha256:") + 64


@dataclass(frozen=True, slots=True)
class _Read:
    """A version: its lines, its pins, and which line holds the digest of which image."""

    lines: tuple[bytes, ...]
    pins: Mapping[str, Digest]
    places: Mapping[int, str]


class Versions:
    """Reads versions of the file that errors call `origin`; pins of `models` alone are told."""

    def __init__(self, origin: str, models: Collection[str]) -> None:
        self._origin = origin
        self._models = models
        self._last: _Read | None = None

    def pins(self, content: bytes) -> Mapping[str, Digest]:
        """Model → digest. Raises ConfigError as `kustomization.pins` does."""
        lines = tuple(content.split(b"\n"))
        found = self._shifted(lines)
        if found is None:
            found = self._parsed(content, lines)
        self._last = found
        return found.pins

    def _shifted(self, lines: tuple[bytes, ...]) -> _Read | None:
        """The last version with other digests; None where more than that differs."""
        last = self._last
        if last is None or len(last.lines) != len(lines):
            return None
        pairs = zip(last.lines, lines, strict=True)
        moved: dict[str, Digest] = {}
        for place in [at for at, (old, new) in enumerate(pairs) if old != new]:
            model = last.places.get(place)
            digest = _moved(last.lines[place], lines[place])
            if model is None or digest is None:
                return None
            if model in last.pins:
                moved[model] = digest
        return _Read(lines, {**last.pins, **moved} if moved else last.pins, last.places)

    def _parsed(self, content: bytes, lines: tuple[bytes, ...]) -> _Read:
        document, pins = kustomization.read(content, self._origin)
        ours = {pin.model: pin.digest for pin in pins if pin.model in self._models}
        return _Read(lines, ours, _places(document, lines))


def _moved(old: bytes, new: bytes) -> Digest | None:
    """The digest of a line that is another one with its only digest replaced; None elsewhere."""
    at = old.find(b"sha256:")
    found = _DIGEST.match(new, at) if at >= 0 else None
    if found is None or old[:at] != new[:at] or old[at + _LENGTH :] != new[at + _LENGTH :]:
        return None
    return Digest(found.group().removeprefix(b"sha256:").decode("ascii"))


def _places(document: Document, lines: tuple[bytes, ...]) -> dict[int, str]:
    """Line (from 0) → the image whose digest is all that can differ there.

    None at all where the document has aliases: a digest may then stand in two places.
    """
    if document.root.kind is not Kind.MAPPING or _aliased(document.root):
        return {}
    own = document.root.get("images")
    found: dict[int, str] = {}
    twice: set[int] = set()
    for entry in own[1].entries if own else ():
        name, digest = entry.get("name"), entry.get("digest")
        if name is None or digest is None or len(digest[1].text) != _LENGTH:
            continue
        line = document.text.count("\n", 0, digest[1].start)
        if line in found:
            twice.add(line)
        found[line] = name[1].text
    return {
        line: name
        for line, name in found.items()
        if line not in twice and len(_DIGEST.findall(lines[line])) == 1
    }


def _aliased(root: Node) -> bool:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.alias:
            return True
        waiting += node.entries
        waiting += [part for item in node.items for part in item]
    return False
