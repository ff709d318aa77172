"""Pull requests of anybody (GitLab: merge requests), and the comments on them."""

from __future__ import annotations

from dataclasses import dataclass

COMMAND = "/ok-to-test"  # what a comment says to let a commit of a fork run, before the commit's id
PULLS = "refs/pull/"  # begins the ref that a claim of such a run is for, on every forge
APPROVED = "refs/mlops/approved/"  # before the commit's id: what is run of it
MARK = ".mlops-pull-request"  # the file that such a commit has beyond the pull request's own
# what says how a project is built, and where its data and images are: never a pull request's own
DEFINITION = ("mlops.yaml", "mlops.lock", ".dvc/config", ".dvc/config.local")


@dataclass(frozen=True, slots=True)
class PullsConfig:
    """`pull-requests:` of mlops.yaml: whether `mlops watch` comments on them, and runs those that may."""

    plan: bool = False
    run: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment on the pull request `number`. `author` is a login, empty where the account is gone;
    `trusted` tells that it belongs to the repository (GitHub: owner, member, collaborator; elsewhere: may
    push), `edited` that the text is not the one it was made with, `mine` that we made it."""

    number: int
    ident: int
    author: str
    body: str
    trusted: bool = False
    edited: bool = False
    mine: bool = False


@dataclass(frozen=True, slots=True)
class Contribution:
    """`head` is the commit it would bring, in full; `into` the branch it is for; `fork` tells that its
    branch is in another repository, or in one that is gone; `merged` is the commit that merged it, empty
    while it is open."""

    number: int
    head: str
    into: str
    fork: bool
    author: str = ""
    trusted: bool = False
    merged: str = ""


def mark(head: str) -> bytes:
    """The content of MARK in the commit that is run of a pull request at `head`, which is its parent."""
    return f"pull request at {head}\n".encode()
