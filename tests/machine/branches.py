"""Two branches for one machine: in memory, and real git with a colleague in a clone of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from mlops.adapters.git.command import discover
from mlops.adapters.git.gitops import GitOpsBranch
from mlops.adapters.git.repository import Repository
from mlops.domain.source import Commit
from mlops.ports import GitOps, LostRace, Published
from tests.fakes.gitops import Clock, MemoryGitOps
from tests.machine.observer import ROOT

Listener = Callable[[Commit, bool], None]


class Branch(Protocol):
    """What the machine asks of a branch beside `GitOps`: an observer's look, and other people.

    `mine` and `rival` are the branch as two users of mlops have it; `before_push` runs once, right
    before the next push of `mine`. `listen` hears of each new tip, and whether it is ours.
    """

    clock: Clock
    before_push: Callable[[], None] | None
    listen: Listener
    mine: GitOps
    rival: GitOps

    def tree(self, tip: Commit) -> Mapping[str, bytes]: ...
    def message(self, tip: Commit) -> str: ...
    def edit(self, changes: Mapping[str, bytes | None], message: str) -> None: ...
    def revert(self, commit: Commit) -> None: ...
    def merge(self, base: Commit, changes: Mapping[str, bytes | None]) -> None: ...
    def close(self) -> None: ...


def _deaf(_tip: Commit, _ours: bool) -> None:
    """Hear nothing."""


class MemoryBranch(MemoryGitOps):
    """The branch in memory. A merge is what it leaves behind: one commit, where nothing conflicts."""

    def __init__(self) -> None:
        super().__init__()
        self.listen: Listener = _deaf
        self.mine = self.rival = self
        self.branch = "main"

    def publish(self, base, changes, message, refs=None) -> Published | LostRace:
        made = super().publish(base, changes, message, refs)
        if isinstance(made, Published) and made.commit != base:
            self.listen(made.commit, True)
        return made

    def edit(self, changes, message="edit by hand") -> Commit:
        before = self._tip
        made = super().edit(changes, message)
        if before is None or self._commits[before].files != self._commits[made].files:
            self.listen(made, False)
        return made

    def tree(self, tip: Commit) -> Mapping[str, bytes]:
        return self._commits[tip].files

    def message(self, tip: Commit) -> str:
        return self._messages[tip]

    def revert(self, commit: Commit) -> None:
        stored, tip = self._commits[commit], self._commits[self._tip]
        old = self._commits[stored.parent].files
        paths = {p for p in {*old, *stored.files} if old.get(p) != stored.files.get(p)}
        if all(tip.files.get(path) == stored.files.get(path) for path in paths):
            self.edit({path: old.get(path) for path in paths}, _reverts(commit))

    def merge(self, base: Commit, changes: Mapping[str, bytes | None]) -> None:
        old, tip = self._commits[base].files, self._commits[self._tip].files
        if all(old.get(path) == tip.get(path) for path in changes):
            self.edit(changes, "Merge branch 'main'")

    def _commit(self, files, message) -> Commit:
        made = super()._commit(files, message)
        self._messages[made] = message
        return made

    @property
    def _messages(self) -> dict[Commit, str]:
        return self.__dict__.setdefault("told", {})

    def close(self) -> None:
        """Nothing is open."""


class _User(GitOpsBranch):
    """The real branch as one user has it."""

    def __init__(self, clone: Path, owner: GitBranch) -> None:
        super().__init__(Repository(discover(clone)), "main", ROOT, "origin")
        self._owner = owner

    def publish(self, base, changes, message, refs=None) -> Published | LostRace:
        owner = self._owner
        if self is owner.mine and owner.before_push is not None:
            act, owner.before_push = owner.before_push, None
            act()
        owner.dated()
        made = super().publish(base, changes, message, refs or {})
        if isinstance(made, Published) and made.commit != base:
            owner.listen(made.commit, True)
        return made


class GitBranch:
    """A bare remote, a clone for each of two users of mlops, and one where a colleague types git."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.before_push: Callable[[], None] | None = None
        self.listen: Listener = _deaf
        self._root = Path(tempfile.mkdtemp(prefix="mlops-machine-"))
        self._blobs: dict[str, bytes] = {}
        self._git("init", "-q", "--bare", "-b", "main", "remote.git", cwd=self._root)
        for clone in ("mine", "rival", "colleague"):
            self._git("clone", "-q", "remote.git", clone, cwd=self._root)
        self._colleague = self._root / "colleague"
        self.mine = _User(self._root / "mine", self)
        self.rival = _User(self._root / "rival", self)

    def _git(self, *args: str, cwd: Path | None = None, ok: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            ["git", *args], cwd=cwd or self._colleague, capture_output=True, text=True, check=False
        )
        assert done.returncode in ok, f"git {args}: {done.stdout}{done.stderr}"
        return done.stdout if done.returncode == 0 else ""

    def dated(self) -> None:
        for who in ("AUTHOR", "COMMITTER"):
            os.environ[f"GIT_{who}_DATE"] = self.clock().isoformat()

    def tree(self, tip: Commit) -> Mapping[str, bytes]:
        bare = self._root / "remote.git"
        listed = self._git("ls-tree", "-r", "-z", tip.sha, "--", ROOT, cwd=bare)
        names = {
            path: head.split()[2]
            for head, _, path in (line.partition("\t") for line in listed.split("\0") if line)
        }
        for blob in set(names.values()) - self._blobs.keys():
            shown = subprocess.run(
                ["git", "cat-file", "blob", blob], cwd=bare, capture_output=True, check=True
            )
            self._blobs[blob] = shown.stdout
        return {path: self._blobs[blob] for path, blob in names.items()}

    def message(self, tip: Commit) -> str:
        return self._git("log", "-1", "--format=%B", tip.sha, cwd=self._root / "remote.git")

    def edit(self, changes: Mapping[str, bytes | None], message: str) -> None:
        self._sync()
        self._write(changes)
        if self._git("status", "--porcelain"):
            self._git("commit", "-q", "-m", message)
            self._push()

    def revert(self, commit: Commit) -> None:
        self._sync()
        self._git("revert", "--no-edit", commit.sha, ok=(0, 1))
        self._push_or_drop()

    def merge(self, base: Commit, changes: Mapping[str, bytes | None]) -> None:
        self._sync(base.sha)
        self._write(changes)
        if self._git("status", "--porcelain"):
            self._git("commit", "-q", "-m", "work of a colleague")
            self._git("pull", "-q", "--no-rebase", "--no-edit", "origin", "main", ok=(0, 1))
            self._push_or_drop()

    def _sync(self, at: str = "origin/main") -> None:
        self.dated()
        self._git("fetch", "-q", "origin")
        self._git("reset", "-q", "--hard", at if self._remote_tip() else "HEAD", ok=(0, 128))

    def _remote_tip(self) -> str:
        return self._git(
            "rev-parse", "-q", "--verify", "main", cwd=self._root / "remote.git", ok=(0, 1)
        ).strip()

    def _write(self, changes: Mapping[str, bytes | None]) -> None:
        for path, content in changes.items():
            target = self._colleague / path
            if content is None:
                target.unlink(missing_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        self._git("add", "-A")

    def _push_or_drop(self) -> None:
        """Push what came out clean; a conflict is given up."""
        if self._git("status", "--porcelain"):
            self._git("reset", "-q", "--hard", "origin/main")
        else:
            self._push()

    def _push(self) -> None:
        before = self._remote_tip()
        self._git("push", "-q", "origin", "HEAD:main")
        after = self._remote_tip()
        if after != before:
            self.listen(Commit(after), False)

    def close(self) -> None:
        self.mine.repository.close()
        self.rival.repository.close()
        shutil.rmtree(self._root)


def _reverts(commit: Commit) -> str:
    return f'Revert "a change"\n\nThis reverts commit {commit.sha}.\n'
