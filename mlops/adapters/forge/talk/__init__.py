"""Pull requests of anybody and what is said on them, on each forge."""

from __future__ import annotations

from typing import assert_never

from mlops.adapters.forge.gitea import dress as as_gitea
from mlops.adapters.forge.github import dress as as_github
from mlops.adapters.forge.gitlab import dress as as_gitlab
from mlops.adapters.forge.talk.gitea import GiteaTalk
from mlops.adapters.forge.talk.github import GitHubTalk
from mlops.adapters.forge.talk.gitlab import GitLabTalk
from mlops.adapters.forge.tokens import Token
from mlops.adapters.forge.wire import Memory, Wire
from mlops.domain.forge import Kind, Place
from mlops.ports.pulls import Conversations


def converse(place: Place, token: Token, memory: Memory | None = None) -> Conversations:
    """As `mlops.adapters.forge.connecting.connect`, for conversations."""
    match place.kind:
        case Kind.GITHUB:
            return GitHubTalk(place, Wire(place.api, as_github, token, memory))
        case Kind.GITLAB:
            return GitLabTalk(place, Wire(place.api, as_gitlab, token, memory))
        case Kind.GITEA | Kind.FORGEJO:
            return GiteaTalk(place, Wire(place.api, as_gitea, token, memory))
        case other:
            assert_never(other)
