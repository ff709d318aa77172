"""The documents of forges, read strictly: what is not as expected is an error, and never anything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlops.domain.delivery import RefMove

MOST_REFS = 1000  # of one delivery: it means "look", so that the rest is found all the same
_LONGEST = 2000  # characters of a name or URL
_OBJECT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_KINDS = {"branch": "refs/heads/", "tag": "refs/tags/"}
Document = Mapping[str, Any]


class DocumentError(Exception):
    """The document is not what the forge says it sends."""


def load(body: bytes) -> Document:
    """A JSON object. Raises DocumentError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise DocumentError("the body is no JSON") from exc
    if not isinstance(found, dict):
        raise DocumentError("the body is no JSON object")
    return found


def within(document: Document, *keys: str) -> Document:
    """The object at a path of keys. Raises DocumentError."""
    found: Any = document
    for depth, key in enumerate(keys):
        found = found.get(key)
        if not isinstance(found, dict):
            raise DocumentError(f"{'.'.join(keys[: depth + 1])} is no object")
    return found  # type: ignore[no-any-return]


def text(document: Document, key: str) -> str:
    """A text of one line. Raises DocumentError."""
    return checked(document.get(key), key)


def some_texts(document: Document, *keys: str) -> tuple[str, ...]:
    """The texts that are there of those, and at least one. Raises DocumentError."""
    found = tuple(checked(document[key], key) for key in keys if document.get(key))
    if not found:
        raise DocumentError(f"none of {', '.join(keys)} is there")
    return found


def objects(document: Document, key: str) -> Sequence[Document]:
    """A list of objects, the first of them where they are very many. Raises DocumentError."""
    found = document.get(key)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise DocumentError(f"{key} is no list of objects")
    return found[:MOST_REFS]


def move(ref: object, old: object, new: object) -> RefMove:
    """A ref that moved; an id of nothing but zeros stands for none. Raises DocumentError."""
    name = checked(ref, "ref")
    if not name.startswith("refs/") or " " in name:
        raise DocumentError("ref is no full name of a ref")
    return RefMove(name, commit(old), commit(new))


def of_kind(kind: object, name: object) -> str:
    """The full name of a branch or tag. Raises DocumentError."""
    if kind not in _KINDS:
        raise DocumentError("what moved is neither branch nor tag")
    return _KINDS[str(kind)] + checked(name, "name")


def commit(value: object) -> str | None:
    """The id of an object, or None for none. Raises DocumentError."""
    if value is None:
        return None
    if not isinstance(value, str) or not _OBJECT.match(value):
        raise DocumentError("what a ref led to is no object id")
    return value if value.strip("0") else None


def checked(value: object, what: str) -> str:
    """A text of one line. Raises DocumentError."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise DocumentError(f"{what} is no text of one line")
    return value
