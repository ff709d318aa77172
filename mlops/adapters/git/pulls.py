"""Pull requests as git has them: their heads are refs of the repository that they are for, whatever fork
they come from (`refs/pull/N/head` on GitHub, Gitea and Forgejo, `refs/merge-requests/N/head` on GitLab)."""

from __future__ import annotations

from mlops.adapters.git.repository import Repository
from mlops.domain.source import Commit
from mlops.errors import GitError, GitUsageError

_PLACES = ("refs/pull/{}/head", "refs/merge-requests/{}/head")
_KEPT = "refs/mlops/pulls/{}"  # in this clone alone: what is fetched is not collected as garbage


def fetch_pull(repository: Repository, number: int) -> Commit:
    """The head of a pull request, freshly fetched. Raises GitUsageError where there is none."""
    name = repository.remote_name()
    if name is None:
        raise GitUsageError(
            "the repository has no remote, and so no pull requests",
            hint="Add one: git remote add origin URL",
        )
    remote = repository.remote(name)
    kept = _KEPT.format(number)
    for place in _PLACES:
        doing = f"fetching pull request {number} from {name}"
        if remote.fetch([f"+{place.format(number)}:{kept}"], doing=doing):
            return repository.resolve(kept)
    raise GitUsageError(
        f"{name} has no pull request {number}",
        hint="It needs refs/pull/N/head or refs/merge-requests/N/head, as GitHub, GitLab and Gitea have",
    )


def forget_pulls(repository: Repository, numbers: frozenset[int]) -> None:
    """Let go of what was fetched of other pull requests than these."""
    listing = ("for-each-ref", "--format=%(refname)", _KEPT.format(""))
    refs = repository.git.text(*listing, doing="listing pull requests").splitlines()
    kept = {_KEPT.format(number) for number in numbers}
    for ref in refs:
        if ref not in kept:
            repository.git.run("update-ref", "-d", ref, doing=f"removing {ref}")


def merge_base(repository: Repository, a: Commit, b: Commit) -> Commit:
    """The commit that two lines of work share. Raises GitError where there is none, or a shallow
    clone cannot tell."""
    doing = f"comparing {a.short} with {b.short}"
    done = repository.git.run("merge-base", a.sha, b.sha, doing=doing, ok=(0, 1))
    if found := done.text.strip():
        return Commit.parse(found)
    if repository.is_shallow():
        raise repository.cut_off(doing)
    raise GitError(f"{a.short} and {b.short} have no commit in common")


def fetch_target(repository: Repository, branch: str) -> Commit:
    """The tip of the branch that pull requests are for, freshly fetched."""
    name = repository.remote_name()
    if name is None or not repository.remote(name).fetch_branch(branch):
        raise GitUsageError(f"there is no branch {branch} on the remote to compare with")
    return repository.resolve(repository.remote(name).tracking(branch))
