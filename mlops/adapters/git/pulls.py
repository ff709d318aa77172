"""Pull requests as git has them: their heads are refs of the repository that they are for, whatever fork
they come from (`refs/pull/N/head` on GitHub, Gitea and Forgejo, `refs/merge-requests/N/head` on GitLab)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from mlops.adapters.git.remote import RefUpdate, Remote
from mlops.adapters.git.repository import Repository
from mlops.domain.pulls import APPROVED, DEFINITION, MARK, mark
from mlops.domain.source import Commit
from mlops.errors import GitError, GitUsageError

_PLACES = ("refs/pull/{}/head", "refs/merge-requests/{}/head")
_ID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_KEPT = "refs/mlops/pulls/{}"  # in this clone alone: what is fetched is not collected as garbage


class PullRefs:
    """Meets `ports.pulls.PullRefs`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def fetch(self, number: int) -> Commit:
        name = self._repository.remote_name()
        if name is None:
            raise GitUsageError(
                "the repository has no remote, and so no pull requests",
                hint="Add one: git remote add origin URL",
            )
        remote = self._repository.remote(name)
        kept = _KEPT.format(number)
        for place in _PLACES:
            doing = f"fetching pull request {number} from {name}"
            if remote.fetch([f"+{place.format(number)}:{kept}"], doing=doing):
                return self._repository.resolve(kept)
        raise GitUsageError(
            f"{name} has no pull request {number}",
            hint="It needs refs/pull/N/head or refs/merge-requests/N/head: GitHub, GitLab and Gitea have them",
        )

    def target(self, branch: str) -> Commit:
        name = self._repository.remote_name()
        if name is None or not self._repository.remote(name).fetch_branch(branch):
            raise GitUsageError(f"there is no branch {branch} on the remote to compare with")
        return self._repository.resolve(self._repository.remote(name).tracking(branch))

    def merge_base(self, a: Commit, b: Commit) -> Commit:
        doing = f"comparing {a.short} with {b.short}"
        done = self._repository.git.run("merge-base", a.sha, b.sha, doing=doing, ok=(0, 1))
        if found := done.text.strip():
            return Commit.parse(found)
        if self._repository.is_shallow():
            raise self._repository.cut_off(doing)
        raise GitError(f"{a.short} and {b.short} have no commit in common")

    def before(self, merged: Commit) -> Commit:
        parents = self._repository.commit(merged).parents
        return Commit(parents[0]) if parents else merged

    def settle(self, head: Commit, tip: Commit) -> Commit:
        name = self._repository.remote_name()
        if name is None:
            raise GitUsageError("the repository has no remote, and so no pull requests")
        remote, ref = self._repository.remote(name), f"{APPROVED}{head.sha}"
        found = remote.refs(ref).get(ref)
        if found is None:
            made = self._made(head, tip)
            update = RefUpdate(ref, made.sha, None)
            answer = remote.push([update], doing=f"pushing what is run of {head.short} to {name}")
            found = remote.refs(ref).get(ref)  # ours, or that of who was quicker
            if found is None:
                raise answer.error or GitError(f"{name} has no {ref} after the push")
        remote.fetch([f"+{ref}:{ref}"], doing=f"fetching what is run of {head.short}")
        return Commit.parse(found)

    def _made(self, head: Commit, tip: Commit) -> Commit:
        """The files of `head`, the definition of `tip`, and a mark. Raises GitError where something else than
        a file is in their place."""
        entries = {each.path: each for each in self._repository.files(head)}
        files: dict[str, bytes | None] = {}
        for path in DEFINITION:
            entry = entries.get(path)
            if any(each.startswith(f"{path}/") for each in entries):
                raise GitError(f"{path} of {head.short} is a directory: it is not run")
            theirs = self._repository.read(tip, path)
            if theirs is not None or entry is not None:
                files[path] = theirs
        if any(each == MARK or each.startswith(f"{MARK}/") for each in entries):
            raise GitError(f"{head.short} has a file {MARK} of its own: it is not run")
        files[MARK] = mark(head.sha)
        when = self._repository.info(head).committed
        message = f"Run {head.short} with the definition of {tip.short}\n"
        return self._repository.write_commit(head, files, message, when=when)

    def proposed(self) -> frozenset[str]:
        """The heads of the pull requests that the remote has, open or not. Raises GitError."""
        remote = self._remote()
        listed = (
            [remote.refs(f"{place.partition('{}')[0]}*") for place in _PLACES] if remote else []
        )
        return frozenset(sha for refs in listed for sha in refs.values())

    def approved(self) -> dict[Commit, Commit]:
        """Head → what is run of it, each of them here now. Raises GitError."""
        remote = self._remote()
        refs = remote.refs(f"{APPROVED}*") if remote is not None else {}
        if remote is not None and refs:
            remote.fetch([f"+{ref}:{ref}" for ref in refs], doing="fetching what is run of others")
        found = {ref.removeprefix(APPROVED): Commit.parse(sha) for ref, sha in refs.items()}
        return {Commit.parse(head): made for head, made in found.items() if _ID.match(head)}

    def drop(self, approved: Mapping[Commit, Commit]) -> tuple[Commit, ...]:
        """Remove what was run of heads, there and here; the heads of which it is gone. Raises GitError."""
        remote = self._remote()
        if remote is None or not approved:
            return ()
        updates = [RefUpdate(f"{APPROVED}{h.sha}", "", made.sha) for h, made in approved.items()]
        doing = f"removing {len(updates)} commits of pull requests on {remote.name}"
        answer = remote.push(updates, doing=doing, together=False)
        there = remote.refs(f"{APPROVED}*")
        gone = tuple(head for head in approved if f"{APPROVED}{head.sha}" not in there)
        if answer.error is not None and not gone:
            raise answer.error
        for head in gone:
            ref = f"{APPROVED}{head.sha}"
            self._repository.git.run("update-ref", "-d", ref, doing=f"removing {ref}")
        return gone

    def _remote(self) -> Remote | None:
        name = self._repository.remote_name()
        return self._repository.remote(name) if name is not None else None

    def forget(self, numbers: Collection[int]) -> None:
        listing = ("for-each-ref", "--format=%(refname)", _KEPT.format(""))
        refs = self._repository.git.text(*listing, doing="listing pull requests").splitlines()
        kept = {_KEPT.format(number) for number in numbers}
        for ref in refs:
            if ref not in kept:
                self._repository.git.run("update-ref", "-d", ref, doing=f"removing {ref}")
