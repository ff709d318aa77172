"""A GitOps branch in memory. tests/contract/test_pins_gitops.py holds it to the real one."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mlops.domain.source import Commit
from mlops.ports import CommitInfo, FileEntry, LineChange, LostRace, Proposal, Proposed, Published

START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that a test moves."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def pass_time(self, **span: float) -> datetime:
        self.at += timedelta(**span)
        return self.at

    @contextmanager
    def off(self, **span: float) -> Iterator[None]:
        """Somebody else's clock for a while, this far ahead of everybody's (behind: negative)."""
        kept = self.at
        self.at += timedelta(**span)
        try:
            yield
        finally:
            self.at = kept


@dataclass(frozen=True)
class _Stored:
    info: CommitInfo
    parent: Commit | None
    files: Mapping[str, bytes]


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def _trailers(message: str) -> tuple[tuple[str, str], ...]:
    last = message.strip().split("\n\n")[-1].splitlines()
    pairs = [line.partition(": ") for line in last]
    if not all(colon and " " not in key for key, colon, _ in pairs):
        return ()
    return tuple((key, value.strip()) for key, _, value in pairs)


@dataclass
class MemoryGitOps:
    """`before_push` runs once, right before the next push: a test's way to win a race."""

    clock: Clock = field(default_factory=Clock)
    path: str = "environments"
    author: str = "Ada <ada@example.com>"
    before_push: Callable[[], None] | None = None
    pushes: int = 0
    _commits: dict[Commit, _Stored] = field(default_factory=dict)
    _blobs: dict[str, bytes] = field(default_factory=dict)
    _tip: Commit | None = None
    shallow: set[Commit] = field(default_factory=set)
    proposals: dict[str, tuple[Commit, dict[str, bytes], Commit]] = field(default_factory=dict)

    _worded: dict[Commit, tuple[str, datetime]] = field(default_factory=dict)

    def refresh(self) -> Commit | None:
        return self._tip

    def tip(self) -> Commit | None:
        return self._tip

    def publish(
        self,
        base: Commit | None,
        changes: Mapping[str, bytes | None],
        message: str,
        refs: Mapping[str, Commit] | None = None,
    ) -> Published | LostRace:
        if self.before_push is not None:
            act, self.before_push = self.before_push, None
            act()
        if base != self._tip:
            return LostRace(self._tip)
        files = self._with(base, changes)
        if base is not None and files == self._commits[base].files:
            return Published(base)
        self.pushes += 1
        return Published(self._commit(files, message))

    def propose(
        self,
        base: Commit,
        changes: Mapping[str, bytes | None],
        message: str,
        topic: str,
        refs: Mapping[str, Commit] | None = None,
    ) -> Proposed | LostRace:
        if self.before_push is not None:
            act, self.before_push = self.before_push, None
            act()
        branch = f"mlops/{topic}"
        standing = self.proposals.get(branch)
        files = self._with(base, changes)
        if standing is not None and standing[:2] == (base, files):
            return Proposed(branch, standing[2])
        sha = hashlib.sha1(f"{len(self._commits)} {message} {topic}".encode()).hexdigest()  # noqa: S324
        self.proposals[branch] = (base, files, Commit(sha))
        self._worded[Commit(sha)] = (message, self.clock())
        return Proposed(branch, Commit(sha))

    def proposed(self) -> tuple[Proposal, ...]:
        return tuple(
            Proposal(branch, commit, base, self._worded[commit][1], self._worded[commit][0])
            for branch, (base, files, commit) in sorted(self.proposals.items())
            if self._tip is None or self._commits[self._tip].files != files
        )

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def edit(self, changes: Mapping[str, bytes | None], message: str = "edit by hand") -> Commit:
        """A commit by somebody else."""
        return self._commit(self._with(self._tip, changes), message)

    def _with(self, base: Commit | None, changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
        files = dict(self._commits[base].files) if base is not None else {}
        for path, content in changes.items():
            if content is None:
                files.pop(path, None)
            else:
                files[path] = content
        return files

    def _commit(self, files: Mapping[str, bytes], message: str) -> Commit:
        for content in files.values():
            self._blobs[blob_id(content)] = content
        sha = hashlib.sha1(f"{len(self._commits)} {message}".encode()).hexdigest()  # noqa: S324
        info = CommitInfo(
            Commit(sha),
            self.author,
            self.clock().replace(microsecond=0),
            message.partition("\n")[0],
            _trailers(message),
        )
        self._commits[info.commit] = _Stored(info, self._tip, dict(files))
        self._tip = info.commit
        return info.commit

    def diff(self, base: Commit | None, changes: Mapping[str, bytes | None]) -> str:
        old = self._commits[base].files if base is not None else {}
        out = []
        for path in sorted(changes):
            before, after = old.get(path), changes[path]
            if before == after:
                continue
            out.append(f"diff --git a/{path} b/{path}\n")
            out += difflib.unified_diff(
                (before or b"").decode().splitlines(keepends=True),
                (after or b"").decode().splitlines(keepends=True),
                f"a/{path}" if before is not None else "/dev/null",
                f"b/{path}" if after is not None else "/dev/null",
            )
        return "".join(out)

    def line(self, tip: Commit, *prefixes: str) -> Iterator[LineChange]:
        at: Commit | None = tip
        while at is not None:
            stored = self._commits[at]
            cut = at in self.shallow
            parent = None if cut else stored.parent
            old = self._commits[parent].files if parent is not None else {}
            changed = {
                path: (_id(old.get(path)), _id(stored.files.get(path)))
                for path in sorted({*old, *stored.files})
                if any(_below(path, prefix) for prefix in prefixes or ("",))
                and old.get(path) != stored.files.get(path)
            }
            if changed:
                yield LineChange(stored.info, changed, cut)
            at = parent

    def overwritten(self, tip: Commit) -> CommitInfo | None:
        """Nobody force-pushes in memory."""
        assert tip in self._commits

    def read(self, commit: Commit, path: str) -> bytes | None:
        return self._commits[commit].files.get(path)

    def blob(self, blob: str) -> bytes:
        return self._blobs[blob]

    def blobs(self, blobs: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(self._blobs[blob] for blob in blobs)

    def directories(self, commit: Commit, path: str) -> tuple[str, ...]:
        rests = (
            each.removeprefix(f"{path}/")
            for each in self._commits[commit].files
            if _below(each, path)
        )
        return tuple(sorted({rest.partition("/")[0] for rest in rests if "/" in rest}))

    def files(self, commit: Commit, prefix: str = "") -> tuple[FileEntry, ...]:
        found = self._commits[commit].files
        return tuple(
            FileEntry(path, "100644", blob_id(found[path]))
            for path in sorted(found)
            if _below(path, prefix)
        )


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix.rstrip('/')}/")


def _id(content: bytes | None) -> str | None:
    return None if content is None else blob_id(content)
