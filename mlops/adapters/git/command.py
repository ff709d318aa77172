"""One safe way to call git: nothing of a user's hooks, aliases or settings changes what we do."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mlops.adapters import process
from mlops.adapters.git.failures import failure, redact
from mlops.adapters.process import Completed
from mlops.errors import GitError, GitUsageError, UsageError

_KEPT = re.compile(
    # what decides who one is and how a remote is reached; all else named GIT_* is dropped, so that
    # being called from a hook, an alias or an editor does not point us at another repository
    r"GIT_(?:ASKPASS|SSH|SSH_COMMAND|SSH_VARIANT|SSL_\w+|HTTP_\w+|PROXY_\w+|CEILING_DIRECTORIES|"
    r"CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|(?:AUTHOR|COMMITTER)_\w+)\Z"
)
_FIXED = {
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "LANGUAGE": "C",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",  # what a SHA names is the same for everybody
    "GIT_GRAFT_FILE": "/dev/null/none",  # and so are its parents
    "SSH_ASKPASS_REQUIRE": "never",  # ssh has no terminal here, and must open no window
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
}
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.splitIndex=false",
    # a commit that a ref names must be on disk before the ref is
    "core.fsync=all",
    "credential.interactive=false",
    "core.askPass=",  # git would ask in a window; empty also keeps it from SSH_ASKPASS
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "color.ui=false",
    "log.showSignature=false",
    "log.showRoot=true",
    "log.mailmap=false",
    # a server that says nothing for half a minute is one that does not answer
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=30",
    "log.follow=false",
    "diff.renames=false",
    "diff.relative=false",
    "status.renames=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=no",
    "fetch.prune=false",
    "fetch.pruneTags=false",
    "fetch.writeCommitGraph=false",
    "push.recurseSubmodules=no",
    "push.followTags=false",
    "push.pushOption=",  # drops those of the user: a remote may know none, or skip its checks
    "push.useForceIfIncludes=false",
)
_LAYOUT = (  # what `_layout` reads, in its order
    "--path-format=absolute",
    "--is-bare-repository",
    "--show-object-format",
    "--git-dir",
    "--git-common-dir",
)
_OPTIONS = tuple(part for setting in _SETTINGS for part in ("-c", setting))
_NO_NAMES = frozenset(("", ".", "..", ".git", "git~1"))  # git-fsck(1): hasDot, hasDotdot, hasDotgit
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# git-check-ref-format(1), rules 3 to 10
_BAD_REF = re.compile(r"\.\.|@\{|[\x00-\x20\x7f~^:?*\[\\]|//|/\.|^[./-]|[./]\Z|\.lock(?:/|\Z)|^@\Z")


def check_ref(name: str, what: str = "ref") -> str:
    """`name` where it may name a branch, tag or ref. Raises UsageError otherwise."""
    if not name or _BAD_REF.search(name) or not _encodable(name):
        raise UsageError(
            f"{name!r} cannot be the name of a {what}", hint="See: git help check-ref-format"
        )
    return name


def check_revision(rev: str) -> str:
    """`rev` where it may name one revision (`HEAD~2`, `v1`, a SHA). Raises UsageError otherwise."""
    bad = not rev.strip() or rev.startswith(("-", ":")) or ".." in rev or _CONTROL.search(rev)
    if bad or not _encodable(rev):
        raise UsageError(f"{rev!r} names no revision", hint="Give a branch, a tag or a SHA")
    return rev


def check_remote(name: str) -> str:
    """`name` where it may name a configured remote. Raises UsageError otherwise."""
    if set(name) & set(":=") or name.startswith(("/", ".")):  # = ends a name in `git -c`
        raise UsageError(f"{redact(name)!r} is not the name of a remote", hint="Run: git remote -v")
    return check_ref(name, "remote")


def check_path(path: str) -> str:
    """`path` where it is a plain path below a repository's root. Raises UsageError otherwise."""
    parts = path.split("/")
    dangerous = any(part.lower() in _NO_NAMES for part in parts)
    if dangerous or "\0" in path or not _encodable(path):
        raise UsageError(f"{path!r} is not a path below the repository's root")
    return path


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


# what git gives a pre-receive hook, so that it sees the objects that are being pushed (git-receive-pack(1))
INCOMING = (
    "GIT_QUARANTINE_PATH",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
)


def _environment(extra: Mapping[str, str] | None, also: tuple[str, ...]) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GIT_") or _KEPT.match(key) or key in also
    }
    return {**kept, **_FIXED, **(extra or {})}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a repository keeps its things; `id_bytes` is 20 for sha1, 32 for sha256."""

    git_dir: Path
    common_dir: Path
    bare: bool
    id_bytes: int


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in one directory. Every failure is a GitError in plain words.

    `also` names variables of git's that are passed on beside those that always are: `INCOMING`
    for what judges a push from inside a hook; nothing else may.
    """

    directory: Path
    also: tuple[str, ...] = ()
    git_dir: Path | None = None  # where `directory` does not lead to it: core.worktree
    known: Layout | None = field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, path: Path) -> Git:
        """The repository whose root (work tree or bare directory) is `path`. Raises GitError."""
        found = discover(path)
        if found.directory != path.resolve():
            raise GitError(f"{path} is not the root of a git repository; that is {found.directory}")
        return found

    def run(
        self,
        *args: str,
        doing: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
    ) -> Completed:
        """Run `git ARGS` to its end; `env` adds to the environment, `timeout` is in seconds.

        Raises GitError where the exit code is not in `ok`, or the time is up.
        """
        done = self.attempt(*args, doing=doing, stdin=stdin, env=env, timeout=timeout)
        if done.code not in ok:
            raise failure(doing, done.complaint)
        return done

    def attempt(
        self,
        *args: str,
        doing: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Completed:
        """Like `run`, and any exit code is an answer."""
        return process.run(
            self._argv(args),
            doing=doing,
            cwd=self.directory,
            env=_environment(env, self.also),
            stdin=stdin,
            timeout=timeout,
            check=False,
            error=GitError,
        )

    def text(self, *args: str, doing: str, timeout: float = 60.0) -> str:
        """What `git ARGS` prints, without the final newline."""
        return self.run(*args, doing=doing, timeout=timeout).text.removesuffix("\n")

    def start(
        self,
        *args: str,
        doing: str,
        stderr: int | IO[bytes],
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `git ARGS` to talk with; see `process.start`."""
        return process.start(
            self._argv(args),
            doing=doing,
            cwd=self.directory,
            env=_environment(env, self.also),
            stderr=stderr,
            error=GitError,
        )

    def _argv(self, args: tuple[str, ...]) -> list[str]:
        where = () if self.git_dir is None else (f"--git-dir={self.git_dir}",)
        return ["git", "--no-pager", *where, *_OPTIONS, *args]


def discover(path: Path, also: tuple[str, ...] = ()) -> Git:
    """The repository that `path` (a directory) lies in, at the root of its work tree.

    A linked work tree is found as itself; a bare repository as its directory. Raises GitError
    where there is none.
    """
    if not path.is_dir():
        raise GitUsageError(f"{path} is no directory", hint="Give one with --repo DIR")
    git = Git(path.resolve(), also)
    doing = f"looking for a repository in {path}"
    done = git.attempt("rev-parse", *_LAYOUT, "--show-toplevel", doing=doing)
    if done.code != 0 and "not a git repository" in done.complaint:
        raise GitUsageError(
            f"{path} is in no git repository", hint="Run: git init, then mlops init"
        )
    inside = "must be run in a work tree" in done.complaint  # bare, or in .git: a hook, say
    if done.code != 0 and not inside:
        raise failure(doing, done.complaint)
    *facts, top = done.text.removesuffix("\n").split("\n") + ([""] if inside else [])
    found = _layout(facts, path)
    if found.bare or inside:
        return Git(found.git_dir, also, known=found)
    root = Path(top).resolve()
    apart = not (git.directory.is_relative_to(root) and os.path.lexists(root / ".git"))
    return Git(root, also, found.git_dir if apart else None, known=found)


def layout(git: Git) -> Layout:
    """The layout of the repository at `git.directory`. Raises GitError."""
    if git.known is not None:
        return git.known
    text = git.text("rev-parse", *_LAYOUT, doing=f"opening the repository {git.directory}")
    return _layout(text.split("\n"), git.directory)


def _layout(facts: list[str], where: Path) -> Layout:
    try:
        bare, form, own, common = facts
    except ValueError as exc:
        raise GitError(f"{where}: a path with a newline cannot hold a repository") from exc
    id_bytes = 32 if form == "sha256" else 20
    return Layout(Path(own).resolve(), Path(common).resolve(), bare == "true", id_bytes)
