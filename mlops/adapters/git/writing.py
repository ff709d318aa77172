"""Makes commits without a work tree and without the user's index."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mlops.adapters.git.command import Git, check_path
from mlops.adapters.git.commits import REGULAR, SUBMODULE, TREE, TreeEntry
from mlops.adapters.git.objects import ObjectReader
from mlops.adapters.git.pack import NewObjects, object_id, tree_content
from mlops.adapters.git.settings import read_settings
from mlops.domain.source import Commit
from mlops.errors import GitError, UsageError

_WHO = re.compile(r"(?P<name>[^<>]*?)\s*<(?P<mail>[^<>]*)>\s*\Z")
_NOBODY_MAIL = "mlops@localhost"

_Changes = Mapping[str, tuple[str, bytes | None]]  # rest of the path → whole path, content


@dataclass(frozen=True, slots=True)
class Identity:
    """Who commits: variables that `git commit-tree` takes, and whether it signs."""

    name: str  # "" where none is configured
    environment: Mapping[str, str]
    sign: bool


def identity(git: Git) -> Identity:
    """What git's configuration and environment say; MLOPS_ACTOR stands in where they are silent."""
    pattern = r"^((user|author|committer)\.(name|email)|commit\.gpgsign)$"
    found = read_settings(git, pattern, doing="reading git's user")
    sign = found.get("commit.gpgsign", "false").strip().lower() in ("true", "yes", "on", "1")
    match = _WHO.match(os.environ.get("MLOPS_ACTOR", ""))
    actor = match["name"] if match else os.environ.get("MLOPS_ACTOR", "")
    mail = match["mail"] if match else _NOBODY_MAIL
    environment = {}
    for role in ("author", "committer"):
        known = os.environ.get(f"GIT_{role.upper()}_NAME"), found.get(f"{role}.name")
        if not any((*known, found.get("user.name"))):
            environment[f"GIT_{role.upper()}_NAME"] = _clean(actor) or "mlops"
        known = os.environ.get(f"GIT_{role.upper()}_EMAIL"), found.get(f"{role}.email")
        if not any((*known, found.get("user.email"), os.environ.get("EMAIL"))):
            environment[f"GIT_{role.upper()}_EMAIL"] = _clean(mail) or _NOBODY_MAIL
    name = os.environ.get("GIT_COMMITTER_NAME") or found.get("committer.name")
    return Identity(name or found.get("user.name") or "", environment, sign)


def _clean(text: str) -> str:
    return re.sub(r"[\x00-\x1f<>]", " ", text).strip(" .,:;\"'")


class Writer:
    """Writes blobs, trees and commits into the object store; no ref moves."""

    def __init__(self, git: Git, objects: ObjectReader) -> None:
        self._git = git
        self._objects = objects

    def blob(self, content: bytes) -> str:
        """Store bytes as they are (no filters, no line ends), and give the blob's id."""
        return self.blobs((content,))[0]

    def blobs(self, contents: Iterable[bytes]) -> list[str]:
        """As `blob`, for several at once."""
        new = NewObjects(self._objects.id_bytes)
        names = [new.add("blob", content) for content in contents]
        new.store(self._git)
        return names

    def tree(self, base: str | None, files: Mapping[str, bytes | None]) -> str:
        """The id of the tree `base` with these files written (None: removed).

        A file keeps the mode it has, a new one is 100644. Raises UsageError where a path is none,
        GitError where a symlink, a submodule or a directory stands in the way.
        """
        new = NewObjects(self._objects.id_bytes)
        changes = {check_path(path): (path, content) for path, content in files.items()}
        tree = self._merge(new, base, "", changes) or new.add("tree", b"")
        new.store(self._git)
        return tree

    def commit(
        self,
        tree: str,
        parents: tuple[Commit, ...],
        message: str,
        when: datetime | None = None,
    ) -> Commit:
        """Store a commit by the configured identity, signed where commit.gpgsign says so.

        `when` (aware) fixes both of its times. Raises GitError.
        """
        if "\0" in message or not message.strip():
            raise UsageError("a commit message must hold text, and no NUL")
        who = identity(self._git)
        environment = dict(who.environment)
        if when is not None:
            stamp = f"@{int(when.timestamp())} +0000"
            environment |= {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
        arguments = [part for parent in parents for part in ("-p", parent.sha)]
        done = self._git.run(
            "commit-tree",
            "-S" if who.sign else "--no-gpg-sign",
            *arguments,
            "-F",
            "-",
            tree,
            doing="making a commit",
            stdin=(message.rstrip("\n") + "\n").encode("utf-8", "replace"),
            env=environment,
        )
        return Commit.parse(done.text.strip())

    def _merge(
        self, new: NewObjects, base: str | None, before: str, changes: _Changes
    ) -> str | None:
        """The tree `base` with changes by the path below it; None where nothing is left."""
        old = self._objects.tree(base) if base else ()
        entries = {entry.name: entry for entry in old}
        below: dict[str, dict[str, tuple[str, bytes | None]]] = {}
        for path, change in changes.items():
            name, slash, rest = path.partition("/")
            below.setdefault(name, {})[rest if slash else ""] = change
        for name, inner in below.items():
            found = self._entry(new, entries.get(name), before + name, inner)
            if found is None:
                entries.pop(name, None)
            else:
                entries[name] = found
        if base and entries == {entry.name: entry for entry in old}:
            return base
        return new.add("tree", tree_content(entries.values())) if entries else None

    def _entry(
        self, new: NewObjects, old: TreeEntry | None, path: str, inner: _Changes
    ) -> TreeEntry | None:
        name = path.rpartition("/")[2]
        if "" in inner and len(inner) > 1:
            raise UsageError(f"{path} cannot be both a file and a directory")
        is_file = "" in inner
        if old is not None and not (old.mode in REGULAR if is_file else old.mode == TREE):
            raise GitError(
                f"{path} is {_kind(old.mode)} in git, where {'a file' if is_file else 'a directory'}"
                " is to be written",
                hint="Remove it from the branch, then try again",
            )
        if not is_file:
            tree = self._merge(new, old.id if old else None, f"{path}/", inner)
            return TreeEntry(TREE, name, tree) if tree else None
        content = inner[""][1]
        if content is None:
            return None
        if old is not None and old.id == object_id("blob", content, new.id_bytes):
            return old
        return TreeEntry(old.mode if old else "100644", name, new.add("blob", content))


def _kind(mode: str) -> str:
    names = {TREE: "a directory", SUBMODULE: "a submodule"}
    return "a file" if mode in REGULAR else names.get(mode, "a symbolic link")
