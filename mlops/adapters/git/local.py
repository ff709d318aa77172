"""The GitOps branch of a repository without a remote: the local branch is the commit point."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from mlops.adapters.git.failures import failure
from mlops.adapters.git.intent import FileChange, Intent, beside, sync_directory
from mlops.adapters.git.lock import held
from mlops.adapters.git.remote import patiently
from mlops.adapters.git.repository import Repository
from mlops.adapters.git.worktree import WorkTree
from mlops.domain.source import Commit
from mlops.errors import GitError
from mlops.ports import LostRace, Published


class LocalBranch:
    """Moves one local branch; where it is checked out here, index and files move along.

    An intent on disk makes that one step: a kill before it leaves the old state, a kill after it
    is finished by `recover`.
    """

    def __init__(self, repository: Repository, branch: str) -> None:
        self._repository = repository
        self._branch = branch
        self._ref = f"refs/heads/{branch}"
        self._intent = repository.git_dir / "mlops" / "intent.json"
        self._lock = repository.common_dir / "mlops" / "lock"
        self._tree = WorkTree(repository)

    def tip(self) -> Commit | None:
        return self._repository.ref(self._ref)

    def recover(self) -> None:
        """Finish what a killed command left half done; nothing where there is nothing.

        Raises GitError where it cannot, or another command of ours is at work for too long.
        """
        if self._intent.exists() or self._tree.locked():
            with _disk(), held(self._lock, doing="finishing what an earlier command began"):
                self._finish_pending()

    def move(
        self, base: Commit | None, commit: Commit, refs: Mapping[str, Commit]
    ) -> Published | LostRace:
        """Move the branch from `base` to `commit` and create `refs`, all or nothing.

        Raises RefusedError where the branch is checked out elsewhere, or here with changes in the
        files concerned; GitError where a ref is there with another target.
        """
        with _disk(), held(self._lock, doing=f"writing to {self._branch}"):
            self._finish_pending()
            tip, wanted = self._look({ref: target.sha for ref, target in refs.items()})
            if tip != (base.sha if base else None):
                return LostRace(Commit(tip) if tip else None)
            if commit == base and not wanted:
                return Published(commit)
            files = self._files(base, commit)
            try:
                if files:
                    self._tree.lock()
                    self._tree.check_clean([file.path for file in files])
                intent = Intent(self._ref, base.sha if base else None, commit.sha, wanted, files)
                self._save(intent)
                moved = self._finish(intent)
            finally:
                if not self._intent.exists():
                    self._tree.unlock()
            return Published(commit) if moved is not None else LostRace(self.tip())

    def _files(self, base: Commit | None, commit: Commit) -> tuple[FileChange, ...]:
        """What changes in the work tree: nothing unless the branch is checked out here."""
        if commit == base or not self._tree.holds(self._ref):
            return ()
        changes = self._repository.changed(base, commit)
        return tuple(FileChange(c.path, c.old, c.new, c.mode) for c in changes)

    def _save(self, intent: Intent) -> None:
        try:
            self._intent.parent.mkdir(exist_ok=True)
            intent.save(self._intent)
        except OSError:
            # nothing has moved: without the intent, nothing will
            for left in (self._intent, beside(self._intent)):
                left.unlink(missing_ok=True)
            raise

    def _finish_pending(self) -> None:
        beside(self._intent).unlink(missing_ok=True)
        intent = Intent.load(self._intent)
        if intent is not None:
            if intent.files:
                self._tree.lock()
            self._finish(intent)
        if self._tree.locked():
            self._tree.unlock()

    def _finish(self, intent: Intent) -> str | None:
        """Do what the intent says, from wherever it stands; the branch's tip then.

        None where the branch went another way meanwhile: nothing was changed.
        """
        try:
            staged = self._tree.stage(intent.files) if intent.files else None
            tip = patiently(lambda: self._move_refs(intent))
        except (OSError, GitError):
            self._undo(intent)
            raise
        if staged is not None and tip == intent.new:
            try:
                self._tree.install(staged)
            except OSError as exc:
                raise GitError(
                    f"{self._branch} has moved, but the work tree could not follow: {_said(exc)}",
                    hint="Mend that, then run any mlops command: it finishes this first",
                ) from exc
        elif staged is not None:
            self._tree.discard(intent.files)
        self._forget()
        return tip

    def _undo(self, intent: Intent) -> None:
        """Back to the old state, where the branch has not moved yet."""
        tip = self._repository.ref(intent.ref)
        if tip is None or tip.sha != intent.new:
            self._tree.discard(intent.files)
            self._forget()

    def _forget(self) -> None:
        self._intent.unlink()
        with contextlib.suppress(OSError):  # should it come back, it is found done
            sync_directory(self._intent.parent)

    def _move_refs(self, intent: Intent) -> str | None:
        """Compare and swap the branch, and create the refs, in one transaction of git's."""
        tip, missing = self._look(intent.refs, intent.ref)
        steps = [f"create {ref} {sha}" for ref, sha in missing.items()]
        if tip == intent.old and intent.old != intent.new:
            steps.insert(
                0, f"update {intent.ref} {intent.new} {intent.old or self._repository.zero}"
            )
            tip = intent.new
        elif tip is None or not self._contains(tip, intent.new):
            return None
        if steps:
            doing = f"moving {intent.ref}"
            content = "\n".join(("start", *steps, "prepare", "commit", ""))
            done = self._repository.git.attempt(
                "update-ref", "-m", "mlops", "--stdin", doing=doing, stdin=os.fsencode(content)
            )
            if done.code != 0:
                raise failure(doing, done.complaint)
        return tip

    def _contains(self, tip: str, commit: str) -> bool:
        if tip == commit:
            return True
        done = self._repository.git.run(
            "merge-base", "--is-ancestor", commit, tip, doing="looking for our commit", ok=(0, 1)
        )
        return done.code == 0

    def _look(
        self, refs: Mapping[str, str], branch: str | None = None
    ) -> tuple[str | None, dict[str, str]]:
        """The branch's tip, and those refs that are not there yet. Raises GitError where one of
        them has another target."""
        branch = branch or self._ref
        text = self._repository.git.text(
            "for-each-ref", "--format=%(refname) %(objectname)", branch, *refs, doing="reading refs"
        )
        there = dict(line.split(" ", 1) for line in text.splitlines())
        for ref, target in refs.items():
            if there.get(ref, target) != target:
                raise GitError(
                    f"{ref} is there already, at {there[ref][:12]} and not {target[:12]}",
                    hint=f"Look at it: git show {ref}",
                )
        return there.get(branch), {ref: sha for ref, sha in refs.items() if ref not in there}


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise GitError(
            f"cannot write to the repository: {_said(exc)}", hint="Then try again"
        ) from exc


def _said(exc: OSError) -> str:
    return f"{exc.strerror} ({exc.filename})" if exc.filename else str(exc.strerror)
