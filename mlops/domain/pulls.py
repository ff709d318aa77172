"""Pull requests of anybody (GitLab: merge requests), and the comments on them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment. `author` is a login, empty where the account is gone; `trusted` tells that it belongs to
    the repository (GitHub: owner, member, collaborator; elsewhere: may push), `edited` that the text is not
    the one it was made with, `mine` that we made it."""

    ident: int
    author: str
    body: str
    trusted: bool = False
    edited: bool = False
    mine: bool = False


@dataclass(frozen=True, slots=True)
class PullRequest:
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
