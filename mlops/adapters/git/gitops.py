"""The GitOps branch: pins, holds, quarantine and records, changed one commit at a time."""

from __future__ import annotations

import contextlib
import difflib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from types import MappingProxyType

from mlops.adapters.git.command import check_path, check_ref
from mlops.adapters.git.line import Line
from mlops.adapters.git.local import LocalBranch
from mlops.adapters.git.lock import held
from mlops.adapters.git.overwritten import overwritten
from mlops.adapters.git.proposals import Proposals
from mlops.adapters.git.remote import PushAnswer, RefUpdate, Remote, patiently, pause
from mlops.adapters.git.repository import Repository
from mlops.domain.forge import ForgeConfig
from mlops.domain.source import Commit
from mlops.errors import GitError, UsageError
from mlops.ports import CommitInfo, FileEntry, LineChange, LostRace, Proposal, Proposed, Published

_ATTEMPTS = 6
_PATIENCE = 30.0  # seconds after which a push is not tried again
_TURN = 5.0  # seconds to wait for others of this clone
_BY_HOST = ForgeConfig()
_NO_REFS: Mapping[str, Commit] = MappingProxyType({})


class GitOpsBranch:
    """Meets `ports.GitOps`.

    With a remote, a push that reaches it is the commit point, and no branch that a work tree has
    checked out ever moves. Without one (`remote` None) the local branch is; see `local.LocalBranch`.
    """

    def __init__(
        self,
        repository: Repository,
        branch: str,
        path: str,
        remote: str | None,
        forge: ForgeConfig = _BY_HOST,
    ) -> None:
        """`path` is the GitOps directory below the root; `remote` a configured remote's name; `forge` says
        where pull requests are opened.

        Finishes what a killed command left behind. Raises UsageError on impossible names.
        """
        self.repository = repository
        self.branch = check_ref(branch, "branch")
        self.path = check_path(path.strip("/"))
        self._remote = Remote(repository.git, remote) if remote is not None else None
        self._forge = forge
        self._seen: Commit | None = None  # the tip before the last fetch
        self._local = LocalBranch(repository, branch)
        self._local.recover()

    @property
    def remote(self) -> str | None:
        """The remote's name; None where the local branch is the commit point."""
        return self._remote.name if self._remote else None

    # -- reading

    def refresh(self) -> Commit | None:
        """Fetch, and give the branch's tip; None where the branch does not exist yet."""
        self._local.recover()
        self._seen = self.tip()
        if self._remote is not None and not self._remote.fetch_branch(self.branch):
            self._forget(self._remote)
        return self.tip()

    def tip(self) -> Commit | None:
        """The tip as last fetched (of the local branch where there is no remote)."""
        if self._remote is None:
            return self._local.tip()
        return self.repository.ref(self._remote.tracking(self.branch))

    def read(self, commit: Commit, path: str) -> bytes | None:
        return self.repository.read(commit, path)

    def blob(self, blob: str) -> bytes:
        return self.repository.blob(blob)

    def blobs(self, blobs: Sequence[str]) -> tuple[bytes, ...]:
        return self.repository.blobs(blobs)

    def files(self, commit: Commit, prefix: str = "") -> tuple[FileEntry, ...]:
        return self.repository.files(commit, prefix)

    def directories(self, commit: Commit, path: str) -> tuple[str, ...]:
        """The names of the directories right below `path`; none where it is none."""
        return self.repository.directories(commit, path)

    def line(self, tip: Commit, *prefixes: str) -> Iterator[LineChange]:
        """Commits on the line of pushed tips that changed files below any of `prefixes`, newest
        first; see `line.Line`. Lazy: what is not asked for is not read."""
        return Line(self.repository, *(prefix.strip("/") for prefix in prefixes)).walk(tip)

    def overwritten(self, tip: Commit) -> CommitInfo | None:
        """See `overwritten.overwritten`; without a remote nobody else moves the branch."""
        if self._remote is None:
            return None
        ref = self._remote.tracking(self.branch)
        return overwritten(self.repository, ref, self._seen, tip, self.path)

    def diff(self, base: Commit | None, changes: Mapping[str, bytes | None]) -> str:
        """The unified diff that `publish` would commit; empty where nothing changes."""
        parts = []
        for path in sorted(changes, key=os.fsencode):
            old = self.repository.read(base, path) if base is not None else None
            new = changes[check_path(path)]
            if old != new:
                parts.append(_file_diff(path, old, new))
        return "".join(parts)

    # -- writing

    def publish(
        self,
        base: Commit | None,
        changes: Mapping[str, bytes | None],
        message: str,
        refs: Mapping[str, Commit] = _NO_REFS,
    ) -> Published | LostRace:
        """One commit on `base` with these files written (None: removed), and `refs` created, in one
        atomic step.

        Names in `refs` are full (`refs/tags/…`), or tag names. A ref that is there with the same
        target is fine. Files that stand already make no commit. Raises GitError where the remote
        refuses for another reason than a lost race, or a ref names something else there;
        RefusedError where the branch is checked out and the files are not clean (no remote only).
        """
        full = {_full_ref(name): commit for name, commit in refs.items()}
        commit = self._commit(base, changes, message)
        if commit is None:
            raise UsageError("there is nothing to publish: no files, and no branch yet")
        if self._remote is None:
            return self._local.move(base, commit, full)
        if commit == base:
            tip = self.refresh()
            if tip != base:
                return LostRace(tip)
            if not full:
                return Published(commit)
        return self._push(self._remote, base, commit, full)

    def propose(
        self,
        base: Commit,
        changes: Mapping[str, bytes | None],
        message: str,
        topic: str,
        refs: Mapping[str, Commit] = _NO_REFS,
    ) -> Proposed | LostRace:
        """The commit that `publish` would make, on the branch `mlops/<topic>` for a pull request; see
        `proposals.Proposals.push`. Raises UsageError where there is no remote, or nothing changes."""
        if self._remote is None:
            raise UsageError(
                "gitops.mode: pull-request needs a remote, and there is none",
                hint="Add one: git remote add origin URL; or set gitops.mode: push",
            )
        commit = self._commit(base, changes, message)
        if commit is None or commit == base:
            raise UsageError("there is nothing to propose: the files stand as they are")
        full = {_full_ref(name): target for name, target in refs.items()}
        return self._proposals(self._remote).push(base, commit, topic, full)

    def proposed(self) -> tuple[Proposal, ...]:
        """See `proposals.Proposals.waiting`; none without a remote."""
        return self._proposals(self._remote).waiting(self.tip()) if self._remote else ()

    def _proposals(self, remote: Remote) -> Proposals:
        return Proposals(self.repository, remote, self.branch, self._forge)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until other processes that share this clone have had their turn, seconds at most.

        The kernel frees the lock of a process that died. It only spares lost races: who waited too
        long goes on without."""
        with contextlib.ExitStack() as stack:
            lock = self.repository.common_dir / "mlops" / "turn"
            with contextlib.suppress(GitError, OSError):
                stack.enter_context(held(lock, doing="taking turns", patience=_TURN))
            yield

    def _commit(
        self, base: Commit | None, changes: Mapping[str, bytes | None], message: str
    ) -> Commit | None:
        old = self.repository.commit(base).tree if base is not None else None
        tree = self.repository.writer.tree(old, changes)
        if tree == (old or self.repository.empty_tree):
            return base
        return self.repository.writer.commit(tree, (base,) if base else (), message)

    def _push(
        self, remote: Remote, base: Commit | None, commit: Commit, refs: Mapping[str, Commit]
    ) -> Published | LostRace:
        """Push until it is known how it ended: here, lost to another, or refused."""
        updates = [RefUpdate(ref, target.sha, None) for ref, target in refs.items()]
        if commit != base:
            branch = f"refs/heads/{self.branch}"
            updates.insert(0, RefUpdate(branch, commit.sha, base.sha if base else None))
        latest = time.monotonic() + _PATIENCE
        for number in count():
            answer = remote.push(updates, doing=f"pushing {self.branch} to {remote.name}")
            if answer.error is None:
                self._advance(remote, base, commit)
                return Published(commit)
            settled = self._settle(answer, base, commit)
            if settled is not None:
                return settled
            self._check_refs(remote, refs)
            spent = number + 1 == _ATTEMPTS or time.monotonic() > latest
            if spent or not answer.error.retryable:
                raise answer.error
            pause(number)
        raise AssertionError  # not reached: counting does not end

    def _settle(
        self, answer: PushAnswer, base: Commit | None, commit: Commit
    ) -> Published | LostRace | None:
        """What the remote itself says after a push that failed; None where nothing moved.

        A push whose answer was lost may have arrived: then the branch has our commit.
        """
        try:
            tip = self.refresh()
        except GitError as exc:
            raise answer.error or exc from exc
        if tip is not None and commit != base and self._contains(tip, commit):
            return Published(commit)
        return LostRace(tip) if tip != base else None

    def _contains(self, tip: Commit, commit: Commit) -> bool:
        done = self.repository.git.run(
            "merge-base",
            "--is-ancestor",
            commit.sha,
            tip.sha,
            doing="looking for our commit",
            ok=(0, 1),
        )
        return done.code == 0

    def _check_refs(self, remote: Remote, refs: Mapping[str, Commit]) -> None:
        for ref, target in refs.items():
            there = remote.refs(ref).get(ref)
            if there is not None and there != target.sha:
                raise GitError(
                    f"{ref} is on {remote.name} already, at {there[:12]} and not {target.sha[:12]}",
                    hint=f"Look at it: git fetch {remote.name} {ref}",
                )

    def _advance(self, remote: Remote, base: Commit | None, commit: Commit) -> None:
        """Move the remote-tracking ref on, if nobody (git itself, a fetch) did so before."""
        if self.tip() == commit:
            return
        old = base.sha if base is not None else self.repository.zero
        ref = remote.tracking(self.branch)
        done = self.repository.git.attempt(
            "update-ref", "-m", "mlops: push", ref, commit.sha, old, doing=f"moving {ref}"
        )
        if done.code != 0:
            self.refresh()

    def _forget(self, remote: Remote) -> None:
        """The branch is gone from the remote, so its remote-tracking ref goes too."""
        ref = remote.tracking(self.branch)

        def once() -> None:
            self.repository.git.run("update-ref", "-d", ref, doing=f"removing {ref}")

        if self.tip() is not None:
            patiently(once)


def _full_ref(name: str) -> str:
    return check_ref(name if name.startswith("refs/") else f"refs/tags/{name}")


def _file_diff(path: str, old: bytes | None, new: bytes | None) -> str:
    """One file's part, in the form that `git apply` takes."""
    head = f"diff --git a/{path} b/{path}\n"
    if old is None:
        head += "new file mode 100644\n"
    elif new is None:
        head += "deleted file mode 100644\n"
    before = "/dev/null" if old is None else f"a/{path}"
    after = "/dev/null" if new is None else f"b/{path}"
    try:
        old_lines, new_lines = _lines(old or b""), _lines(new or b"")
    except UnicodeDecodeError:
        return f"{head}Binary files {before} and {after} differ\n"
    body = difflib.unified_diff(old_lines, new_lines, before, after)
    marked = (
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in body
    )
    return head + "".join(marked)


def _lines(content: bytes) -> list[str]:
    """Lines as git cuts them: at newlines alone."""
    text = content.decode("utf-8")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", content, 0, 1, "NUL")
    return [line + "\n" for line in text.split("\n")[:-1]] + [t for t in text.split("\n")[-1:] if t]
