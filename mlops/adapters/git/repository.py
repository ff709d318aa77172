"""A project's git repository: read at commits, from the object store, never the work tree."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mlops.adapters.git.changes import PathChange, pathspec, raw_changes
from mlops.adapters.git.command import (
    Git,
    check_path,
    check_ref,
    check_remote,
    check_revision,
    layout,
)
from mlops.adapters.git.commits import REGULAR, TREE, CommitObject
from mlops.adapters.git.export import export
from mlops.adapters.git.failures import failure
from mlops.adapters.git.objects import ObjectReader
from mlops.adapters.git.pack import object_id
from mlops.adapters.git.remote import Remote
from mlops.adapters.git.settings import read_settings
from mlops.adapters.git.stream import Stream
from mlops.adapters.git.writing import Writer, identity
from mlops.domain.source import Commit
from mlops.errors import GitError, GitUsageError
from mlops.ports import CommitInfo, FileEntry

_USERINFO = re.compile(r"(?<=://)[^/@]*@")
_CUT_HINT = "Run: git fetch --unshallow"


class Repository:
    """Meets `ports.SourceReader`. Safe for threads; ends its helper process with `close`."""

    def __init__(self, git: Git) -> None:
        self.git = git
        self._layout = layout(git)
        self.objects = ObjectReader(git, self._layout.id_bytes)
        self.writer = Writer(git, self.objects)

    def close(self) -> None:
        self.objects.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The root of the work tree; of a bare repository its directory."""
        return self.git.directory

    @property
    def git_dir(self) -> Path:
        """The absolute git directory of this work tree (a linked one has its own)."""
        return self._layout.git_dir

    @property
    def common_dir(self) -> Path:
        """The git directory that all work trees of the repository share."""
        return self._layout.common_dir

    @property
    def bare(self) -> bool:
        return self._layout.bare

    @property
    def zero(self) -> str:
        """The id of no object."""
        return "0" * (2 * self._layout.id_bytes)

    @property
    def empty_tree(self) -> str:
        """The id of the tree without files."""
        return object_id("tree", b"", self._layout.id_bytes)

    # -- revisions

    def resolve(self, rev: str) -> Commit:
        """The commit that HEAD, a branch, a tag, `origin/x` or a (short) SHA names.

        Raises UsageError where `rev` can be no revision, GitError where there is no such commit.
        """
        found = self.objects.named(f"{check_revision(rev)}^{{commit}}")
        if found is not None:
            return Commit.parse(found)
        doing = f"looking for {rev!r}"
        done = self.git.attempt(
            "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}", doing=doing
        )
        if done.code == 0:
            return Commit.parse(done.text.strip())
        if "ambiguous" in done.complaint:
            raise GitUsageError(
                f"{rev!r} names more than one commit", hint="Give more of its digits"
            )
        if not self.has_commits() and rev in ("HEAD", "@", self.branch()):
            raise GitUsageError("the repository has no commits yet", hint="Run: git commit")
        if "Needed a single revision" in done.complaint or "unknown revision" in done.complaint:
            raise GitUsageError(f"there is no commit {rev!r} here", hint="Look at: git log --all")
        raise failure(doing, done.complaint)

    def ref(self, name: str) -> Commit | None:
        """The commit at a full ref name; None where there is no such ref, or no commit at it."""
        found = self.objects.named(f"{check_ref(name)}^{{commit}}")
        return Commit.parse(found) if found is not None else None

    def head(self) -> Commit:
        """The commit that is checked out. Raises GitError where there is none yet."""
        return self.resolve("HEAD")

    def branch(self) -> str | None:
        """The branch that is checked out; None where HEAD is detached."""
        done = self.git.attempt("symbolic-ref", "--quiet", "HEAD", doing="reading HEAD")
        return done.text.strip().removeprefix("refs/heads/") if done.code == 0 else None

    def has_commits(self) -> bool:
        """Whether any ref names a commit."""
        if self.ref("HEAD") is not None:
            return True
        done = self.git.run("rev-list", "--all", "--max-count=1", doing="looking for commits")
        return bool(done.text.strip())

    def has(self, commit: Commit) -> bool:
        return self.objects.kind(commit.sha) == "commit"

    def shallow(self) -> frozenset[str]:
        """The commits at which a shallow clone's history is cut off."""
        try:
            return frozenset((self.common_dir / "shallow").read_text("ascii").split())
        except FileNotFoundError:
            return frozenset()

    def is_shallow(self) -> bool:
        return bool(self.shallow())

    # -- remotes

    def remote_name(self) -> str | None:
        """The checked out branch's remote, else origin, else the only one; None without remotes.

        Raises GitError where several might be meant.
        """
        pattern = r"^(remote\..*\..*|branch\..*\.remote)$"
        settings = read_settings(self.git, pattern, doing="reading remotes")
        found = {key[len("remote.") : key.rindex(".")] for key in settings if key[0] == "r"}
        names = sorted(found)
        tracked = settings.get(f"branch.{self.branch()}.remote", "")
        if tracked in names:
            return check_remote(tracked)
        if "origin" in names or len(names) == 1:
            return check_remote("origin" if "origin" in names else names[0])
        if names:
            raise GitError(
                f"there are several remotes ({', '.join(names)}) and none is named origin",
                hint="Run: git branch --set-upstream-to REMOTE/BRANCH",
            )
        return None

    def remote_url(self) -> str | None:
        """Where the remote is: an absolute path, or a URL without user and password for http.

        None without a remote. A path is what a local executor can read.
        """
        name = self.remote_name()
        if name is None:
            return None
        url = self.git.text("remote", "get-url", "--", name, doing=f"reading the URL of {name}")
        if url.startswith("file://"):
            return url.removeprefix("file://")
        if "://" in url:
            return _USERINFO.sub("", url) if url.startswith("http") else url
        if ":" in url.split("/", 1)[0]:
            return url  # scp-like: host:path
        return str((self.root / url).resolve())

    def remote(self, name: str) -> Remote:
        return Remote(self.git, name)

    def default_branch(self) -> str | None:
        """The remote's HEAD as cloned, else main or master where it has one, else what is checked
        out; None where nothing tells."""
        name = self.remote_name()
        if name is not None:
            before = f"refs/remotes/{name}/"
            done = self.git.attempt(
                "symbolic-ref", "--quiet", f"{before}HEAD", doing="reading HEAD"
            )
            if done.code == 0:
                return done.text.strip().removeprefix(before)
            for usual in ("main", "master"):
                if self.ref(before + usual) is not None:
                    return usual
        return self.branch()

    # -- content

    def read(self, commit: Commit, path: str) -> bytes | None:
        """A regular file's bytes; None where absent, a symlink, a directory or a submodule."""
        entry = self.objects.entry(self.commit(commit).tree, check_path(path))
        if entry is None or entry.mode not in REGULAR:
            return None
        return self.blob(entry.id)

    def blob(self, blob: str) -> bytes:
        return self.blobs((blob,))[0]

    def blobs(self, blobs: Sequence[str]) -> tuple[bytes, ...]:
        """Several blobs, asked for at once. Raises GitError where one is not here."""
        names = [Commit.parse(blob).sha for blob in blobs]
        found = []
        for name, content in zip(names, self.objects.several(names, "blob"), strict=True):
            if content is None:
                raise GitError(f"blob {name} is not here", hint="Run: git fsck")
            found.append(content)
        return tuple(found)

    def files(self, commit: Commit, prefix: str = "") -> tuple[FileEntry, ...]:
        """All files, links and submodules below `prefix` (a directory or one path), by path."""
        prefix = prefix.strip("/")
        return self.objects.files(self.commit(commit).tree, check_path(prefix) if prefix else "")

    def directories(self, commit: Commit, path: str) -> tuple[str, ...]:
        """The names of the directories right below `path`, in git's order; none where it is none."""
        entry = self.objects.entry(self.commit(commit).tree, check_path(path.strip("/")))
        if entry is None or entry.mode != TREE:
            return ()
        return tuple(each.name for each in self.objects.tree(entry.id) if each.mode == TREE)

    def export(self, commit: Commit, directory: Path, prefix: str = "") -> None:
        """Write the files below `prefix` into `directory` (new or empty), their paths kept whole.

        See `export.export` for what becomes of links, submodules and modes, and what it raises.
        """
        export(self.objects, self.files(commit, prefix), directory)

    def commit(self, commit: Commit) -> CommitObject:
        """The commit as stored. Raises GitError where it is not here."""
        return self.objects.commit(commit.sha)

    def info(self, commit: Commit) -> CommitInfo:
        return self.commit(commit).info(commit.sha)

    def changed(self, a: Commit | None, b: Commit, *prefixes: str) -> tuple[PathChange, ...]:
        """What differs from `a` (None: from nothing) to `b`, below any of `prefixes` (none: all of
        it); renames are a D and an A."""
        done = self.git.run(
            "diff-tree",
            "-r",
            "--raw",
            "-z",
            "--no-renames",
            "--no-abbrev",
            self.empty_tree if a is None else self.commit(a).tree,
            self.commit(b).tree,
            "--",
            *(part for prefix in prefixes for part in pathspec(prefix)),
            doing=f"comparing {a.short if a else 'nothing'} with {b.short}",
        )
        return tuple(raw_changes(iter(done.text.split("\0"))))

    # -- history

    def source_of(self, commit: Commit, transparent: str) -> Commit:
        """The nearest first-parent ancestor of `commit` (or itself) that changes anything outside
        the directory `transparent`; `commit` itself where that is empty.

        Raises GitError where the walk comes to a shallow clone's end, or finds nothing.
        """
        directory = transparent.strip("/")
        if not directory:
            return commit
        doing = f"looking for the source of {commit.short}"
        self.commit(commit)
        # with --first-parent, git compares a merge with its first parent alone
        found = self.git.text(
            "rev-list",
            "--first-parent",
            "--max-count=1",
            commit.sha,
            "--",
            ":(top)",
            f":(top,exclude,literal){check_path(directory)}",
            doing=doing,
        )
        if found in self.shallow() or (not found and self.is_shallow()):
            raise self.cut_off(doing)
        if not found:
            raise GitError(
                f"no commit up to {commit.short} changes anything outside {directory}/",
                hint="Commit the project's own files",
            )
        return Commit.parse(found)

    def is_ancestor(self, ancestor: Commit, descendant: Commit) -> bool:
        """Whether `ancestor` is `descendant` or lies in its history.

        Raises GitError where one is not here, or a shallow clone cannot tell.
        """
        doing = f"comparing {ancestor.short} with {descendant.short}"
        done = self.git.run(
            "merge-base", "--is-ancestor", ancestor.sha, descendant.sha, doing=doing, ok=(0, 1)
        )
        if done.code == 0:
            return True
        cuts = self.shallow()
        if cuts:
            between = self._walk(descendant.sha, f"^{ancestor.sha}", doing=doing)
            if any(sha in cuts for sha in between):
                raise self.cut_off(doing)
        return False

    def ancestors(self, commit: Commit) -> Iterator[Commit]:
        """`commit` and all its ancestors, children before parents; lazily."""
        self.commit(commit)
        walk = self._walk("--topo-order", commit.sha, doing=f"walking from {commit.short}")
        return (Commit(sha) for sha in walk)

    def between(
        self, old: Commit, new: Commit
    ) -> tuple[tuple[CommitInfo, ...], tuple[CommitInfo, ...]]:
        """The commits that only `old` reaches, and those that only `new` does, children first.

        Raises GitError where one is not here, or a shallow clone cannot tell.
        """
        doing = f"comparing {old.short} with {new.short}"
        listed = list(
            self._walk("--topo-order", "--left-right", f"{old.sha}...{new.sha}", doing=doing)
        )
        cuts = self.shallow()
        if any(marked[1:] in cuts for marked in listed):
            raise self.cut_off(doing)
        commits = self.objects.commits([marked[1:] for marked in listed])
        infos = [
            (marked[0], commit.info(marked[1:]))
            for marked, commit in zip(listed, commits, strict=True)
        ]
        left, right = ([info for side, info in infos if side == mark] for mark in "<>")
        return tuple(left), tuple(right)

    def _walk(self, *args: str, doing: str) -> Iterator[str]:
        with contextlib.closing(Stream(self.git, "rev-list", *args, "--", doing=doing)) as stream:
            for line in stream.records(b"\n"):
                yield line.decode("ascii")

    def cut_off(self, doing: str) -> GitError:
        """The error of a walk that came to a shallow clone's end."""
        return GitError(f"the history is cut off here (a shallow clone), {doing}", hint=_CUT_HINT)

    # -- the work tree, and writing

    def uncommitted(self) -> int:
        """How many files of the work tree differ from HEAD, untracked (not ignored) ones included."""
        if self.bare:
            return 0
        return len(self.status())

    def status(self, *paths: str, ignored: bool = False) -> tuple[tuple[str, str], ...]:
        """Two letters of `git status` and the path, for each file that differs from HEAD.

        A submodule counts where its commit differs; nothing runs inside it.
        """
        done = self.git.run(
            "status",
            "--porcelain=v1",
            "-z",
            "--untracked-files=all",
            "--no-renames",
            "--ignore-submodules=dirty",
            *(["--ignored=matching"] if ignored else []),
            "--",
            *(part for path in paths for part in pathspec(path)),
            doing="reading the work tree's status",
            timeout=300.0,
        )
        return tuple((record[:2], record[3:]) for record in done.text.split("\0") if record)

    def identity(self) -> str:
        """The name that git is configured to commit by; empty where there is none."""
        return identity(self.git).name

    def write_commit(
        self,
        parent: Commit | None,
        files: Mapping[str, bytes | None],
        message: str,
        *,
        when: datetime | None = None,
    ) -> Commit:
        """Store the commit that writes `files` (None: removed) onto `parent`; no ref moves.

        Neither work tree nor index is touched. See `Writer.tree` and `Writer.commit`.
        """
        base = self.commit(parent).tree if parent else None
        tree = self.writer.tree(base, files)
        return self.writer.commit(tree, (parent,) if parent else (), message, when)
