"""New objects, put together here and handed to git in one pack: one process, however many files."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from mlops.adapters.git.command import Git
from mlops.adapters.git.commits import TREE, TreeEntry

_KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}


class _Hash(Protocol):
    def hexdigest(self) -> str: ...
    def digest(self) -> bytes: ...


def object_id(kind: str, content: bytes, id_bytes: int) -> str:
    """The id that git gives to an object; `id_bytes` is 20 for sha1, 32 for sha256."""
    return _hash(b"%s %d\0%s" % (kind.encode("ascii"), len(content), content), id_bytes).hexdigest()


def tree_content(entries: Iterable[TreeEntry]) -> bytes:
    """A tree object's content: entries by name, where a directory sorts as if it ended in `/`."""

    def order(entry: TreeEntry) -> bytes:
        return os.fsencode(entry.name) + (b"/" if entry.mode == TREE else b"")

    return b"".join(
        b"%s %s\0%s"
        % (entry.mode.encode("ascii"), os.fsencode(entry.name), bytes.fromhex(entry.id))
        for entry in sorted(entries, key=order)
    )


@dataclass(slots=True)
class NewObjects:
    """Objects that are named already, and stored together by `store`."""

    id_bytes: int
    _found: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def add(self, kind: str, content: bytes) -> str:
        """The object's id."""
        name = object_id(kind, content, self.id_bytes)
        self._found[name] = (kind, content)
        return name

    def store(self, git: Git) -> None:
        """Write all of them into the object store, synced. Raises GitError."""
        if self._found:
            pack = _pack(list(self._found.values()), self.id_bytes)
            git.run("unpack-objects", "-q", doing="storing objects", stdin=pack)


def _pack(objects: list[tuple[str, bytes]], id_bytes: int) -> bytes:
    """Version 2 of gitformat-pack(5), no deltas."""
    parts = [b"PACK", (2).to_bytes(4, "big"), len(objects).to_bytes(4, "big")]
    for kind, content in objects:
        parts += [_header(_KINDS[kind], len(content)), zlib.compress(content, 1)]
    body = b"".join(parts)
    return body + _hash(body, id_bytes).digest()


def _header(kind: int, size: int) -> bytes:
    """Three bits of type and four of size, then seven bits of size a byte; the high bit: more."""
    found = bytearray()
    current, size = (kind << 4) | (size & 0x0F), size >> 4
    while size:
        found.append(current | 0x80)
        current, size = size & 0x7F, size >> 7
    found.append(current)
    return bytes(found)


def _hash(content: bytes, id_bytes: int) -> _Hash:
    return (
        hashlib.sha256(content) if id_bytes == 32 else hashlib.sha1(content, usedforsecurity=False)
    )
