"""What speaks to the forge at a place."""

from __future__ import annotations

from typing import assert_never

from mlops.adapters.forge import gitea, github, gitlab
from mlops.adapters.forge.gitea import Gitea
from mlops.adapters.forge.github import GitHub
from mlops.adapters.forge.gitlab import GitLab
from mlops.adapters.forge.tokens import Token
from mlops.adapters.forge.wire import Memory, Wire
from mlops.domain.forge import Kind, Place
from mlops.ports.forge import Forge


def connect(place: Place, token: Token, memory: Memory | None = None) -> Forge:
    """The repository at a place; nothing is asked yet. The token was found by `tokens.find` for that place."""
    match place.kind:
        case Kind.GITHUB:
            return GitHub(place, Wire(place.api, github.dress, token, memory))
        case Kind.GITLAB:
            return GitLab(place, Wire(place.api, gitlab.dress, token, memory))
        case Kind.GITEA | Kind.FORGEJO:
            return Gitea(place, Wire(place.api, gitea.dress, token, memory))
        case other:
            assert_never(other)
