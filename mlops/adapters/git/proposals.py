"""Branches that wait for a pull request: one for each thing that is proposed, updated in place."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.adapters.git.command import check_ref
from mlops.adapters.git.commits import CommitObject
from mlops.adapters.git.remote import RefUpdate, Remote
from mlops.adapters.git.repository import Repository
from mlops.domain.forge import ForgeConfig, Place, place
from mlops.domain.message import ACTION, ACTOR
from mlops.domain.source import Commit
from mlops.errors import GitError
from mlops.ports import LostRace, Proposal, Proposed

PREFIX = "mlops/"


class Proposals:
    """Pushes proposals to a remote, each on a branch of its own that nobody else commits to."""

    def __init__(
        self, repository: Repository, remote: Remote, into: str, forge: ForgeConfig
    ) -> None:
        """`into` is the branch that the pull requests are to be merged into; `forge` says where a person
        opens one."""
        self._forge = forge
        self._repository = repository
        self._remote = remote
        self._into = into

    def push(
        self, base: Commit, commit: Commit, topic: str, refs: Mapping[str, Commit]
    ) -> Proposed | LostRace:
        """Put `commit`, made on `base`, on the branch of `topic`, and create `refs` in the same push.

        A branch that proposes the same on the same base stays as it is; an older proposal of ours is
        replaced. Raises GitError where somebody else committed to the branch, or the remote refuses.
        """
        branch = check_ref(f"{PREFIX}{topic}", "branch")
        ref = f"refs/heads/{branch}"
        old = self._remote.refs(ref).get(ref)
        if old is not None and self._stands(branch, old, base, commit):
            return Proposed(branch, Commit(old), self._url(branch))
        updates = [RefUpdate(ref, commit.sha, old)]
        updates += [RefUpdate(name, target.sha, None) for name, target in refs.items()]
        answer = self._remote.push(updates, doing=f"pushing {branch} to {self._remote.name}")
        if answer.error is None:
            return Proposed(branch, commit, self._url(branch))
        now = self._remote.refs(ref).get(ref)
        if now == commit.sha:  # the answer was lost, the push was not
            return Proposed(branch, commit, self._url(branch))
        if now != old:
            return LostRace(base)
        raise answer.error

    def waiting(self, tip: Commit | None) -> tuple[Proposal, ...]:
        """The branches of ours that `tip` does not have yet, freshly asked for, by name."""
        heads = "refs/heads/"
        there = self._remote.refs(f"{heads}{PREFIX}*")
        names = {ref.removeprefix(heads): sha for ref, sha in sorted(there.items())}
        absent = [name for name, sha in names.items() if not self._repository.has(Commit(sha))]
        if absent:
            specs = [f"+{heads}{name}:{self._remote.tracking(name)}" for name in absent]
            self._remote.fetch(specs, doing=f"fetching proposals from {self._remote.name}")
        found = (self._proposal(name, Commit(sha), tip) for name, sha in names.items())
        return tuple(each for each in found if each is not None)

    def _proposal(self, branch: str, commit: Commit, tip: Commit | None) -> Proposal | None:
        """None where it is merged, somebody else's, or went while it was fetched."""
        if not self._repository.has(commit):
            return None
        found = self._repository.commit(commit)
        ours = _ours(found) and len(found.parents) == 1
        if not ours or (tip is not None and self._repository.is_ancestor(commit, tip)):
            return None
        made = self._repository.info(commit).committed
        return Proposal(branch, commit, Commit(found.parents[0]), made, found.message)

    def _stands(self, branch: str, old: str, base: Commit, commit: Commit) -> bool:
        """Whether the branch proposes the same already. Raises GitError where it is not ours alone."""
        self._remote.fetch_branch(branch)
        found = self._repository.commit(Commit(old))
        if not _ours(found):
            raise GitError(
                f"somebody else committed to {branch} on {self._remote.name}: it is left as it is",
                hint=f"Merge it, or delete it: git push {self._remote.name} --delete {branch}",
            )
        mine = self._repository.commit(commit)
        return (found.parents, found.tree) == ((base.sha,), mine.tree)

    def _url(self, branch: str) -> str:
        text = self._repository.git.text(
            "remote", "get-url", "--", self._remote.name, doing="reading the remote's URL"
        )
        found = place(text, self._forge)
        return found.new_pull(branch, self._into) if isinstance(found, Place) else ""


def _ours(commit: CommitObject) -> bool:
    """Whether mlops made it."""
    return any(key in (ACTION, ACTOR) for key, _ in commit.trailers)
