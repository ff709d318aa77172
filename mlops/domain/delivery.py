"""A delivery: what a forge says of a repository. It means "look", and nothing in it is built."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mlops.domain import giturl


class Provider(StrEnum):
    """Whose scheme a delivery follows."""

    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    FORGEJO = "forgejo"
    BITBUCKET = "bitbucket"  # Cloud
    BITBUCKET_SERVER = "bitbucket-data-center"
    GENERIC = "generic"  # Standard Webhooks, with a document of ours


@dataclass(frozen=True, slots=True)
class RefMove:
    """A ref's full name, and what it led to before and after; None where it was not, or is no more."""

    ref: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An authenticated delivery. `repositories` are URLs and paths (`team/shop`) by which the forge calls
    the one repository; `digest` is the SHA-256 of the raw body, in hex; `received` is aware, in UTC."""

    provider: Provider
    id: str
    event: str
    repositories: tuple[str, ...]
    refs: tuple[RefMove, ...]
    received: datetime
    digest: str

    def concerns(self, url: str) -> bool:
        """Whether the repository at `url` (as `git remote` has it) may be meant.

        Hosts have several names (an alias of ssh, a mirror inside), so a path that is the same will do:
        a look too many costs one `git ls-remote`. One that names no repository concerns each.
        """
        asked = giturl.path(url).lower()
        return not self.repositories or any(
            giturl.same(name, url) or _path(name) == asked for name in self.repositories
        )


def _path(name: str) -> str:
    plain = name if ":" not in name else giturl.path(name)
    return plain.strip("/").removesuffix(".git").lower()
