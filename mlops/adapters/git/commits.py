"""Reads raw commit and tree objects, as gitformat and git-interpret-trailers(1) describe them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mlops.domain.source import Commit
from mlops.errors import GitError
from mlops.ports import CommitInfo

REGULAR = frozenset(("100644", "100755", "100664"))  # the last in very old repositories
TREE, LINK, SUBMODULE = "40000", "120000", "160000"

_IDENTITY = re.compile(rb"(?P<who>.*?) (?P<when>-?\d+)(?: [+-]\d+)?\Z", re.DOTALL)
_TRAILER = re.compile(r"(?P<key>[A-Za-z0-9][A-Za-z0-9-]*)[ \t]*:[ \t]*(?P<value>.*)\Z")
_GENERATED = ("Signed-off-by: ", "(cherry picked from commit ")


@dataclass(frozen=True, slots=True)
class CommitObject:
    """A commit as stored; `parents` as written in it, whatever a shallow clone has cut off.

    `when` is the committer's time in seconds since 1970.
    """

    tree: str
    parents: tuple[str, ...]
    author: str
    when: int
    message: str

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        return trailers(self.message)

    def info(self, sha: str) -> CommitInfo:
        subject = self.message.lstrip("\n").partition("\n\n")[0]
        return CommitInfo(
            Commit(sha), self.author, _time(self.when), " ".join(subject.split()), self.trailers
        )


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name in a tree: `mode` without leading zeros, `id` of a blob, tree or commit."""

    mode: str
    name: str
    id: str


def parse_commit(sha: str, content: bytes) -> CommitObject:
    """Read a commit object's content. Raises GitError where it is malformed."""
    head, _, body = content.partition(b"\n\n")
    headers: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        headers.setdefault(key, []).append(value)  # continued lines have an empty key
    author = _IDENTITY.match(headers.get(b"author", [b""])[0])
    committer = _IDENTITY.match(headers.get(b"committer", [b""])[0])
    if b"tree" not in headers or author is None or committer is None:
        raise GitError(f"commit {sha} is malformed", hint="Run: git fsck")
    encoding = headers.get(b"encoding", [b"utf-8"])[0].decode("ascii", "replace")
    return CommitObject(
        headers[b"tree"][0].decode("ascii", "replace"),
        tuple(parent.decode("ascii", "replace") for parent in headers.get(b"parent", [])),
        _decoded(author["who"], encoding),
        int(committer["when"][:18]),
        _decoded(body, encoding),
    )


def parse_tree(content: bytes, id_bytes: int) -> Iterator[TreeEntry]:
    """The entries of a tree object's content, in its order. Raises GitError where malformed."""
    at = 0
    while at < len(content):
        end = content.find(b"\0", at)
        mode, space, name = content[at:end].partition(b" ")
        at = end + 1 + id_bytes
        if end < 0 or not space or at > len(content):
            raise GitError("a tree object is malformed", hint="Run: git fsck")
        raw = content[end + 1 : at]
        yield TreeEntry(mode.decode("ascii", "replace").lstrip("0"), os.fsdecode(name), raw.hex())


def trailers(message: str) -> tuple[tuple[str, str], ...]:
    """Key and value of each trailer in a commit message; continued lines are joined by a space.

    The block is the last paragraph, the subject apart: of trailers only, or a quarter of them
    where git itself wrote one (git-interpret-trailers(1)).
    """
    paragraphs = re.split(r"\n[ \t]*\n", message.replace("\r\n", "\n").strip("\n").rstrip())
    if len(paragraphs) < 2:
        return ()
    found: list[tuple[str, str]] = []
    other = 0
    generated = False
    for line in paragraphs[-1].split("\n"):
        match = _TRAILER.match(line)
        generated = generated or line.startswith(_GENERATED)
        if line[:1] in (" ", "\t") and found:
            key, value = found[-1]
            found[-1] = (key, f"{value} {line.strip()}")
        elif match is not None:
            found.append((match["key"], match["value"].strip()))
        elif not line.startswith(_GENERATED):
            other += 1
    accepted = not other or (generated and len(found) * 3 >= other)
    return tuple(found) if accepted else ()


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        return raw.decode("utf-8", "replace")


def _time(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # a time that nobody lived in
        return datetime.fromtimestamp(0, UTC)
