"""Reads objects of a repository through one long-lived `git cat-file`."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, TypeVar

from mlops.adapters.git.command import Git
from mlops.adapters.git.commits import (
    REGULAR,
    TREE,
    CommitObject,
    TreeEntry,
    parse_commit,
    parse_tree,
)
from mlops.adapters.git.stream import Stream
from mlops.errors import GitError
from mlops.ports import FileEntry

_DOING = "reading objects"
_BATCH = 400  # requests in flight: 400 x 75 bytes stay below a pipe's 64 KiB
_LIMIT = 64 << 20  # bytes of one object that is read into memory
_MANY = 2_000_000  # files in one commit: above it somebody means harm
_KEPT_TREES = 4096
_KEPT_COMMITS = 256

_Answer = TypeVar("_Answer")
_Entries = tuple[tuple[TreeEntry, ...], Mapping[str, TreeEntry]]  # in their order, and by name


class ObjectReader:
    """Objects by id. Safe for threads; the process behind starts when first needed."""

    def __init__(self, git: Git, id_bytes: int) -> None:
        self._git = git
        self.id_bytes = id_bytes
        self._lock = threading.RLock()
        self._stream: Stream | None = None
        self._owner = 0
        self._trees: OrderedDict[str, _Entries] = OrderedDict()
        self._commits: OrderedDict[str, CommitObject] = OrderedDict()

    def close(self) -> None:
        """End the process behind; the next question starts another."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
            self._stream = None

    def kind(self, name: str) -> str | None:
        """`commit`, `tree`, `blob` or `tag`; None where there is no such object here."""
        with self._lock:
            header = self._ask([f"info {name}"], _header)
        return None if header is None else header[0]

    def named(self, expression: str) -> str | None:
        """The id of what gitrevisions(7) names (`HEAD^{commit}`, a ref); None where nothing, or
        more than one object, is named so. Refs are read anew each time."""

        def read(stream: Stream) -> str | None:
            parts = stream.line().split(b" ")
            return None if parts[-1] in (b"missing", b"ambiguous") else parts[0].decode("ascii")

        with self._lock:
            return self._ask([f"info {expression}"], read)

    def get(self, name: str, kind: str) -> bytes | None:
        """The content of an object; None where absent. Raises GitError where it is no `kind`."""
        return self.several((name,), kind)[0]

    def _content(self, stream: Stream, name: str, kind: str) -> bytes | None:
        header = _header(stream)
        if header is None:
            return None
        if header[0] != kind:
            raise GitError(f"object {name} is a {header[0]}, not a {kind}")
        if header[1] > _LIMIT:
            raise GitError(f"object {name} has {header[1]} bytes, too many to read at once")
        content = stream.take(header[1])
        stream.take(1)
        return content

    def commit(self, sha: str) -> CommitObject:
        """A commit. Raises GitError where it is not here."""
        return self.commits((sha,))[0]

    def commits(self, shas: Sequence[str]) -> list[CommitObject]:
        """Commits, asked for at once. Raises GitError where one is not here."""
        with self._lock:
            found = {sha: self._commits[sha] for sha in shas if sha in self._commits}
            missing = [sha for sha in dict.fromkeys(shas) if sha not in found]
            for sha, content in zip(missing, self.several(missing, "commit"), strict=True):
                if content is None:
                    raise GitError(f"commit {sha} is not here", hint="Run: git fetch")
                found[sha] = self._commits[sha] = parse_commit(sha, content)
                if len(self._commits) > _KEPT_COMMITS:
                    self._commits.popitem(last=False)
            return [found[sha] for sha in shas]

    def several(self, names: Sequence[str], kind: str) -> list[bytes | None]:
        """As `get` for each name; the questions go out together, so that git answers without pauses."""
        found: list[bytes | None] = []
        for first in range(0, len(names), _BATCH):
            batch = names[first : first + _BATCH]

            def read(stream: Stream, batch: Sequence[str] = batch) -> list[bytes | None]:
                return [self._content(stream, name, kind) for name in batch]

            with self._lock:
                found += self._ask([f"contents {name}" for name in batch], read)
        return found

    def tree(self, tree: str) -> tuple[TreeEntry, ...]:
        """The entries of a tree, by its id. Raises GitError where it is not here."""
        return self._entries(tree)[0]

    def _entries(self, tree: str) -> _Entries:
        with self._lock:
            found = self._trees.get(tree)
            if found is None:
                content = self.get(tree, "tree")
                if content is None:
                    raise GitError(f"tree {tree} is not here", hint="Run: git fsck")
                entries = tuple(parse_tree(content, self.id_bytes))
                # a name that stands there twice counts where it stands first
                found = entries, {entry.name: entry for entry in reversed(entries)}
                self._trees[tree] = found
                if len(self._trees) > _KEPT_TREES:
                    self._trees.popitem(last=False)
            else:
                self._trees.move_to_end(tree)
            return found

    def entry(self, tree: str, path: str) -> TreeEntry | None:
        """What stands at `path` below a tree; the tree itself where `path` is empty."""
        entry = TreeEntry(TREE, "", tree)
        for part in path.split("/") if path else ():
            if entry.mode != TREE:
                return None
            below = self._entries(entry.id)[1].get(part)
            if below is None:
                return None
            entry = below
        return entry

    def files(self, tree: str, prefix: str) -> tuple[FileEntry, ...]:
        """All that is no directory below `prefix`, in git's order (bytes of the whole path)."""
        top = self.entry(tree, prefix)
        if top is None:
            return ()
        if top.mode != TREE:
            return (_file(prefix, top),)
        found: list[FileEntry] = []
        waiting = [(f"{prefix}/" if prefix else "", top.id)]
        while waiting:
            before, directory = waiting.pop()
            for entry in self.tree(directory):
                if entry.mode == TREE:
                    waiting.append((f"{before}{entry.name}/", entry.id))
                else:
                    found.append(_file(before + entry.name, entry))
            if len(found) + len(waiting) > _MANY:
                raise GitError(f"the commit holds more than {_MANY} files")
        return tuple(sorted(found, key=lambda file: os.fsencode(file.path)))

    def copy(self, blobs: Sequence[str], target: Callable[[int], BinaryIO]) -> None:
        """Write each blob into `target(its index)`, which is closed after. Raises GitError."""
        for first in range(0, len(blobs), _BATCH):
            batch = blobs[first : first + _BATCH]

            def write(stream: Stream, first: int = first, batch: Sequence[str] = batch) -> None:
                for offset, blob in enumerate(batch):
                    header = _header(stream)
                    if header is None or header[0] != "blob":
                        raise GitError(f"blob {blob} is not here", hint="Run: git fsck")
                    with target(first + offset) as file:
                        for piece in stream.pieces(header[1]):
                            file.write(piece)
                    stream.take(1)

            with self._lock:
                self._ask([f"contents {blob}" for blob in batch], write)

    def _ask(self, requests: Sequence[str], read: Callable[[Stream], _Answer]) -> _Answer:
        """Send requests and read the answers; a process that died meanwhile is started anew."""
        stream = self._running()
        content = "".join(f"{request}\n" for request in requests).encode("utf-8", "surrogateescape")
        try:
            try:
                stream.send(content)
            except GitError:
                self.close()
                stream = self._running()
                stream.send(content)
            return read(stream)
        except BaseException:
            self.close()  # half an answer may be left in the pipe
            raise

    def _running(self) -> Stream:
        if self._stream is None or self._owner != os.getpid():
            self._stream = Stream(self._git, "cat-file", "--batch-command", doing=_DOING)
            self._owner = os.getpid()
        return self._stream


def _header(stream: Stream) -> tuple[str, int] | None:
    parts = stream.line().split(b" ")
    if parts[-1] in (b"missing", b"ambiguous"):
        return None
    return parts[1].decode("ascii"), int(parts[2])


def _file(path: str, entry: TreeEntry) -> FileEntry:
    group_writable = entry.mode in REGULAR and entry.mode != "100755"
    return FileEntry(path, "100644" if group_writable else entry.mode, entry.id)
