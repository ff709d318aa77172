"""The token for a forge, and whether it may go there.

It is sent to the host of the git remote, which whoever runs mlops chose, or to one that they name in
MLOPS_FORGE_HOST: mlops.yaml alone, which everybody can change who pushes, leads it nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mlops.domain.forge import Kind, Place
from mlops.domain.hosts import hostname, loopback
from mlops.errors import ConfigError

TOKEN, FILE, HOST, PLAIN = (
    "MLOPS_FORGE_TOKEN",
    "MLOPS_FORGE_TOKEN_FILE",
    "MLOPS_FORGE_HOST",
    "MLOPS_FORGE_HTTP",
)
_SHAPE = re.compile(r"[\x21-\x7e]{1,1024}\Z")


@dataclass(frozen=True, slots=True)
class Token:
    """What says who we are; `origin` is where it was found. It never stands in a text."""

    secret: str = field(repr=False)
    origin: str

    def hidden(self, text: str) -> str:
        """A text of somebody else's without it."""
        return text.replace(self.secret, "***")


@dataclass(frozen=True, slots=True)
class NoToken:
    """There is none for this forge, or none that may go there."""

    reason: str
    hint: str
    lacking: bool = False  # there is none at all


def find(place: Place, env: Mapping[str, str]) -> Token | NoToken:
    """The token for a forge. Raises ConfigError where there is one that cannot be read or used."""
    own = _own(env)
    found = own or _lent(place, env)
    if found is None:
        hint = f"Put one into {TOKEN} or {FILE}: docs/how-to/forges.md"
        return NoToken(f"no token for {place.host}", hint, lacking=True)
    if urlsplit(place.api).scheme != "https" and not _plain(place.host, env):
        return NoToken(
            f"the token is not sent to {place.host} over plain HTTP",
            f"Use https, or allow it: export {PLAIN}={place.host}",
        )
    if own is not None and not _chosen(place, env):
        return NoToken(
            f"the token is not sent to {place.host}: the git remote is at"
            f" {place.remote or 'no host'}, and mlops.yaml alone does not say where it goes",
            f"If it is the right one: export {HOST}={place.host}",
        )
    return found


def _own(env: Mapping[str, str]) -> Token | None:
    if env.get(TOKEN):
        return _token(env[TOKEN], TOKEN)
    path = env.get(FILE)
    if not path:
        return None
    try:
        with Path(path).open(encoding="ascii") as file:
            return _token(file.read(2048), f"{FILE} ({path})")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is no text"
        raise ConfigError(
            f"the token's file {path} cannot be read: {reason}", hint=f"{FILE} names it"
        ) from exc


def _lent(place: Place, env: Mapping[str, str]) -> Token | None:
    """What a CI gives its jobs, for its own forge alone."""
    if place.kind == Kind.GITLAB:
        api = env.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
        return _at(place, api, "GITLAB_TOKEN", env)
    usual = "https://api.github.com" if place.kind == Kind.GITHUB else ""
    return _at(place, env.get("GITHUB_API_URL") or usual, "GITHUB_TOKEN", env)


def _at(place: Place, api: str, name: str, env: Mapping[str, str]) -> Token | None:
    text = env.get(name)
    return _token(text, name) if text and place.api == api.rstrip("/") else None


def _token(text: str, origin: str) -> Token:
    if not _SHAPE.match(text.strip()):
        raise ConfigError(f"{origin} holds no token: it has blanks or is too long")
    return Token(text.strip(), origin)


def _chosen(place: Place, env: Mapping[str, str]) -> bool:
    named = [each.strip().lower() for each in env.get(HOST, "").split(",")]
    return place.host in named or (
        bool(place.remote) and place.remote == urlsplit(place.web).netloc
    )


def _plain(host: str, env: Mapping[str, str]) -> bool:
    return loopback(hostname(host)) or host in (
        each.strip() for each in env.get(PLAIN, "").split(",")
    )
