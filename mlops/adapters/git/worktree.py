"""Changes a few clean files of a checked out branch, in the index and in the work tree together.

While it does, it holds git's own `index.lock`, so that no git command of the user sees half of it.
The lock is a hard link to a token of ours: it appears whole, and a later command knows it again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters.git.changes import pathspec
from mlops.adapters.git.intent import FileChange, sync_directory
from mlops.adapters.git.remote import patiently
from mlops.adapters.git.repository import Repository
from mlops.errors import GitError, RefusedError

_TOKEN = "index-token"  # noqa: S105 - a file's name
_NEW_INDEX = "index-new-"


@dataclass(frozen=True, slots=True)
class Staged:
    """New content, written and synced beside where it belongs; `beside` None removes the target."""

    index: Path
    moves: tuple[tuple[Path | None, Path], ...]


class WorkTree:
    """The work tree (linked or not) that a Repository was opened at."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._root = repository.root
        self._state = repository.git_dir / "mlops"
        self._token = self._state / _TOKEN
        self._index = repository.git_dir / "index"
        self._lock = repository.git_dir / "index.lock"

    # -- where a branch is checked out

    def holds(self, ref: str) -> bool:
        """Whether the branch `ref` (full name) is checked out here.

        Raises RefusedError where it is checked out in another work tree, or being rebased.
        """
        branch = ref.removeprefix("refs/heads/")
        places = list(self._places(ref))
        for place in places:
            if place != self._root:
                raise RefusedError(
                    f"the branch {branch} is checked out in {place}, and there is no remote",
                    hint=f"Run it there, or switch that work tree: git -C {place} switch --detach",
                )
        common = self._repository.common_dir
        for git_dir in (common, *sorted(common.glob("worktrees/*"))):
            for kind in ("rebase-merge", "rebase-apply"):
                with contextlib.suppress(OSError):
                    if (git_dir / kind / "head-name").read_text("utf-8").strip() == ref:
                        raise RefusedError(
                            f"the branch {branch} is being rebased, and there is no remote",
                            hint="Finish it: git rebase --continue (or --abort)",
                        )
        return bool(places)

    def _places(self, ref: str) -> Iterable[Path]:
        """The work trees that have the branch checked out, born or not."""
        text = self._repository.git.text(
            "worktree", "list", "--porcelain", "-z", doing="listing work trees"
        )
        for block in text.split("\0\0"):
            facts = {
                key: value for key, _, value in (line.partition(" ") for line in block.split("\0"))
            }
            if facts.get("branch") == ref and "prunable" not in facts and "bare" not in facts:
                yield Path(facts["worktree"]).resolve()

    # -- git's index lock

    def lock(self) -> None:
        """Take index.lock, also where a killed command of ours left it. Raises GitError."""
        self._state.mkdir(exist_ok=True)
        self._sweep()
        if not self._token.exists():
            self._token.write_text("mlops holds index.lock, or was killed while it did\n", "utf-8")

        def once() -> None:
            try:
                self._lock.hardlink_to(self._token)
            except FileExistsError as exc:
                if not self._is_ours():
                    raise GitError(
                        f"another git process is at work: {self._lock} is there",
                        hint="Wait for it; if none is running, remove that file",
                        retryable=True,
                    ) from exc
            except OSError as exc:
                raise GitError(f"cannot lock the index at {self._lock}: {exc.strerror}") from exc

        try:
            patiently(once)
        except GitError:
            self._token.unlink()
            raise

    def locked(self) -> bool:
        """Whether a command of ours holds the lock, or left it behind."""
        return self._token.exists()

    def unlock(self) -> None:
        """Give index.lock back, if it is ours, and remove what was left beside it."""
        self._sweep()
        if self._is_ours():
            self._lock.unlink()
        if self._token.exists():
            self._token.unlink()

    def _is_ours(self) -> bool:
        try:
            return self._lock.samefile(self._token)
        except FileNotFoundError:
            return False

    def _sweep(self) -> None:
        for left in self._state.glob(f"{_NEW_INDEX}*"):
            left.unlink(missing_ok=True)

    # -- changing files

    def check_clean(self, paths: Sequence[str]) -> None:
        """Raises RefusedError unless index and work tree equal HEAD at `paths` (HEAD is where the
        branch is now), with nothing untracked in the way."""
        beyond = [path for path in paths if not self._reachable(path)]
        if beyond:
            raise RefusedError(
                f"{_listed(beyond)} cannot be written here: a directory above is no plain directory",
                hint="Run: git status",
            )
        found = self._repository.status(*paths, ignored=True)
        exist = any(os.path.lexists(self._root / path) for path in paths)
        unclean = [path for code, path in found if code != "!!" or exist]
        if unclean:
            raise RefusedError(
                f"the branch is checked out here, and {_listed(unclean)} is not as it was committed",
                hint="Commit, stash or restore it, then try again; see git status",
            )
        hidden = [path for letter, path in self._tagged(paths) if letter != "H"]
        if hidden:
            raise RefusedError(
                f"git is told not to look at {_listed(hidden)} (sparse checkout, or assume-unchanged)",
                hint="Run: git update-index --no-assume-unchanged --no-skip-worktree PATH",
            )

    def stage(self, files: Sequence[FileChange]) -> Staged:
        """Prepare the new index and the new files, beside the old. Raises OSError, GitError.

        What the user changed since the intent was written is left out.
        """
        index = self._state / f"{_NEW_INDEX}{secrets.token_hex(6)}"
        if self._index.exists():
            shutil.copy(self._index, index)
        self._enter(index, files)
        codes: dict[str, set[str]] = {}
        paths = [file.path for file in files]
        for code, path in self._repository.status(*paths, ignored=True):
            codes.setdefault(path, set()).add(code[1])
        moves: list[tuple[Path | None, Path]] = []
        for file in files:
            target = self._root / file.path
            self._clear(target)
            absent = not os.path.lexists(target)
            untouched = absent if file.old is None else codes.get(file.path, {" "}) == {" "}
            if not untouched or not self._reachable(file.path):
                continue
            if file.new is None:
                moves.append((None, target))
            else:
                content = self._repository.blob(file.new)
                moves.append((self._beside(target, content, file.mode), target))
        return Staged(index, tuple(moves))

    def discard(self, files: Sequence[FileChange]) -> None:
        """Remove what `stage` wrote; what was there before is as it was."""
        self._sweep()
        for file in files:
            self._clear(self._root / file.path)
            self._prune((self._root / file.path).parent)

    def install(self, staged: Staged) -> None:
        """Put files and index in place. Raises OSError."""
        for beside, target in staged.moves:
            if beside is not None:
                beside.replace(target)
            else:
                target.unlink(missing_ok=True)
                self._prune(target.parent)
        for directory in {target.parent for _, target in staged.moves}:
            if directory.is_dir():
                sync_directory(directory)
        # a convenience: without it, scripts that call plumbing see files that look changed
        with contextlib.suppress(GitError):
            self._repository.git.attempt(
                "update-index",
                "-q",
                "--refresh",
                doing="refreshing the index",
                env={"GIT_INDEX_FILE": str(staged.index)},
                timeout=300.0,
            )
        staged.index.replace(self._index)
        sync_directory(self._index.parent)

    def _enter(self, index: Path, files: Sequence[FileChange]) -> None:
        """Put the new blobs into `index`, at each path that has the old one still."""
        have = self._entries([file.path for file in files])
        lines = [
            f"{file.mode or 0} {file.new or self._repository.zero}\t{file.path}\0"
            for file in files
            if have.get(file.path) == file.old
        ]
        self._repository.git.run(
            "update-index",
            "-z",
            "--index-info",
            doing="preparing the index",
            stdin=os.fsencode("".join(lines)),
            env={"GIT_INDEX_FILE": str(index)},
        )

    def _entries(self, paths: Sequence[str]) -> dict[str, str]:
        """The blob that the index has at each path; "" for one in conflict."""
        specs = [spec for path in paths for spec in pathspec(path)]
        text = self._repository.git.text(
            "ls-files", "-s", "-z", "--", *specs, doing="reading the index"
        )
        found: dict[str, str] = {}
        for record in text.split("\0")[:-1]:
            facts, _, path = record.partition("\t")
            _, blob, stage = facts.split(" ")
            found[path] = blob if stage == "0" else ""
        return found

    def _tagged(self, paths: Sequence[str]) -> list[tuple[str, str]]:
        specs = [spec for path in paths for spec in pathspec(path)]
        text = self._repository.git.text(
            "ls-files", "-v", "-z", "--", *specs, doing="reading the index"
        )
        return [(record[0], record[2:]) for record in text.split("\0")[:-1]]

    def _reachable(self, path: str) -> bool:
        """Whether each directory on the way is one, or absent: no link out of the tree."""
        place = self._root
        for part in path.split("/")[:-1]:
            place /= part
            if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
                return False
        return True

    def _beside(self, target: Path, content: bytes, mode: str) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.parent / f"{_mark(target)}{secrets.token_hex(6)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        access = 0o755 if mode == "100755" else 0o644
        with os.fdopen(os.open(beside, flags, access), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return beside

    def _clear(self, target: Path) -> None:
        if self._reachable(str(target.relative_to(self._root))) and target.parent.is_dir():
            before = _mark(target)
            for name in os.listdir(target.parent):  # noqa: PTH208 - a name may hold glob's signs
                if name.startswith(before):
                    (target.parent / name).unlink(missing_ok=True)

    def _prune(self, directory: Path) -> None:
        """Remove directories that nothing is left in, as git does."""
        with contextlib.suppress(OSError):
            while directory != self._root:
                directory.rmdir()
                directory = directory.parent


def _mark(target: Path) -> str:
    return f".{target.name}.mlops-new-"


def _listed(paths: Sequence[str]) -> str:
    shown = ", ".join(sorted(set(paths))[:5])
    return shown if len(set(paths)) <= 5 else f"{shown} and {len(set(paths)) - 5} more"
