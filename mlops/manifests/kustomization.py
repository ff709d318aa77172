"""Pins in a kustomization.yaml, read and edited in its own bytes.

A promotion is a diff of one line: comments, order, quotes, indentation, anchors, line ends and a
byte order mark stay as they are. Every edit is read back: where anything but that pin would mean
something else, it is refused and the person is told what to write.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlops.documents import Document, Path, load
from mlops.domain.digest import Digest
from mlops.domain.environment import Pin
from mlops.errors import ConfigError, UsageError
from mlops.manifests import edits
from mlops.manifests.edits import Edit

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class _Images:
    """The `images` of a kustomization: each entry's value."""

    document: Document
    entries: tuple[dict[str, Any], ...]

    def places(self, name: str) -> tuple[int, ...]:
        return tuple(i for i, entry in enumerate(self.entries) if entry["name"] == name)

    def place(self, name: str) -> int | None:
        """Where the one entry of an image stands."""
        places = self.places(name)
        if len(places) > 1:
            raise self.twice(name)
        return places[0] if places else None

    def twice(self, name: str) -> ConfigError:
        first, second = self.places(name)[:2]
        line = self.document.line(("images", first))
        return self.document.error(
            ("images", second), f"expected {name} once, found it on line {line} too: keep one"
        )

    def meaning(self) -> dict[str, Any]:
        """The whole file's value, its own copy; no images are an empty list."""
        value: dict[str, Any] = copy.deepcopy(self.document.value)
        return value | {"images": value.get("images") or []}


@dataclass(frozen=True, slots=True)
class _Goal:
    """What a file shall mean after an edit, and what to write where we cannot do it."""

    images: _Images
    expected: dict[str, Any]
    path: Path
    by_hand: str

    def refusal(self) -> ConfigError:
        return self.images.document.error(
            self.path, "cannot edit this form safely", hint=f"By hand: {self.by_hand}, then commit"
        )


def pins(content: bytes, origin: str) -> tuple[Pin, ...]:
    """Every image with a valid `digest`, in the file's order; those with a tag alone are no pins.

    Raises ConfigError where the file is no kustomization, or pins an image that stands there twice.
    """
    return read(content, origin)[1]


def read(content: bytes, origin: str) -> tuple[Document, tuple[Pin, ...]]:
    """The document, and its pins as `pins` gives them; raises as that does."""
    images = _read(content, origin)
    found: list[Pin] = []
    count = Counter(entry["name"] for entry in images.entries)
    for entry in images.entries:
        name, digest = entry["name"], _digest(entry)
        if digest is None:
            continue
        if count[name] > 1:
            raise images.twice(name)
        found.append(Pin(name, digest))
    return images.document, tuple(found)


@dataclass(frozen=True, slots=True)
class Tag:
    """An image that stands by tag: `name` is what manifests call it, `image` where it lies.

    `fault` says why the tag is not one that a digest can take the place of; empty where it is.
    """

    name: str
    image: str
    tag: str
    fault: str = ""


def tags(content: bytes, origin: str) -> tuple[Tag, ...]:
    """Every image with a `newTag` and no digest, in the file's order. Raises ConfigError as `pins`."""
    entries = _read(content, origin).entries
    count = Counter(entry["name"] for entry in entries)
    return tuple(
        Tag(
            entry["name"],
            str(entry.get("newName") or entry["name"]),
            str(entry["newTag"]),
            _fault(entry, count[entry["name"]]),
        )
        for entry in entries
        if entry.get("newTag") is not None and _digest(entry) is None
    )


def _fault(entry: dict[str, Any], count: int) -> str:
    if not isinstance(entry["newTag"], str):
        return "newTag is no text to kustomize: quote it"
    if entry.get("digest"):
        return f"{entry['digest']!a} beside it is no digest"
    if entry.get("tagSuffix"):
        return "it has a tagSuffix, which a digest would drop"
    return "it stands there more than once" if count > 1 else ""


def place_of(content: bytes, model: str, origin: str) -> str:
    """Where the image of a model lies by its `newName`; empty where there is none."""
    images = _read(content, origin)
    place = images.place(model)
    return "" if place is None else str(images.entries[place].get("newName") or "")


def with_pin(
    content: bytes,
    model: str,
    digest: Digest,
    origin: str,
    new_name: str | None = None,
    *,
    anew: bool = False,
) -> bytes:
    """The file with `model` pinned to `digest`, every other byte as it was.

    A `newTag` that stood in place of a digest gives way to it; one beside a digest stays. `new_name`
    is written where the model has no `newName` yet, and `anew` where it has another. Raises
    ConfigError where this form of file cannot be edited safely.
    """
    images = _read(content, origin)
    place = images.place(model)
    expected = images.meaning()
    if place is None:
        path: Path = ("images",)
        entry = {"name": model}
        expected["images"].append(entry)
    else:
        path = ("images", place)
        entry = expected["images"][place]
        if "digest" not in entry:
            entry.pop("newTag", None)
    missing = [("newName", new_name)] if new_name and not entry.get("newName") else []
    other = (
        new_name if new_name and anew and entry.get("newName") not in (None, "", new_name) else ""
    )
    entry |= {"digest": str(digest), **dict(missing), **({"newName": other} if other else {})}
    goal = _Goal(images, expected, path, f"write `digest: {digest}` for {model} under images")
    document = images.document
    if place is None:
        fields = [("name", model), *missing, ("digest", str(digest))]
        return _edited(content, goal, lambda text: edits.add_entry(text, document.root, fields))
    node = document.node(path)
    return _edited(
        content,
        goal,
        lambda text: [
            *edits.pin_entry(text, node, str(digest), missing),
            *(edits.renamed(text, node, other) if other else ()),
        ],
    )


def without_pin(content: bytes, model: str, origin: str) -> bytes:
    """The file without the entry of `model`; as it was where the model is not pinned.

    Raises ConfigError where this form of file cannot be edited safely.
    """
    images = _read(content, origin)
    place = images.place(model)
    if place is None or _digest(images.entries[place]) is None:
        return content
    expected = images.meaning()
    del expected["images"][place]
    goal = _Goal(images, expected, ("images", place), f"remove {model} under images")
    root = images.document.root
    return _edited(content, goal, lambda text: edits.remove_entry(text, root, place))


def _read(content: bytes, origin: str) -> _Images:
    try:
        document = load(content, origin)
    except ConfigError as exc:
        if b"{{" in content and not exc.hint:
            exc.hint = "It looks like a template; a kustomization is plain YAML"
        raise
    if not isinstance(document.value, dict) or not document.value:
        found = "nothing" if not document.value else document.root.kind.value
        raise document.error((), f"expected a kustomization, a mapping; found {found}")
    value = document.value.get("images")
    if value is not None and not isinstance(value, list):
        raise document.error(("images",), "expected a list of images")
    for place, entry in enumerate(value or ()):
        _check(document, ("images", place), entry)
    return _Images(document, tuple(value or ()))


def _check(document: Document, path: Path, entry: Any) -> None:
    if not isinstance(entry, dict):
        raise document.error(path, f"expected a mapping; found {document.node(path).text[:60]!r}")
    if not isinstance(entry.get("name"), str):
        raise document.error((*path, "name"), "expected the name of an image, a string")
    for key, value in entry.items():
        if isinstance(value, str) and "{{" in value:
            raise document.error(
                (*path, key), f"expected plain text; found a template: {value[:60]!r}"
            )
    if not isinstance(entry.get("digest"), str | None):
        raise document.error((*path, "digest"), "expected a digest: sha256:<64 hex digits>")


def _digest(entry: dict[str, Any]) -> Digest | None:
    try:
        return Digest.parse(entry.get("digest") or "")
    except UsageError:
        return None


def _edited(content: bytes, goal: _Goal, change: Callable[[str], list[Edit]]) -> bytes:
    """The edited bytes, read back and compared with what they must mean."""
    document = goal.images.document
    if _canonical(goal.images.meaning()) == _canonical(goal.expected):
        return content
    try:
        text = edits.applied(document.text, change(document.text))
        edited = (_BOM if content.startswith(_BOM) else b"") + text.encode()
        after = _read(edited, document.origin).meaning()
    except (edits.UnsafeEditError, ConfigError) as exc:
        raise goal.refusal() from exc
    if _canonical(after) != _canonical(goal.expected):
        raise goal.refusal()
    return edited


def _canonical(value: Any) -> str:
    # as JSON: 1, 1.0 and true are equal to Python
    return json.dumps(value, sort_keys=True)
