"""Who we are to a registry: what `docker login` or `podman login` left on this machine.

Environment first (`MLOPS_REGISTRY_USERNAME`, `MLOPS_REGISTRY_PASSWORD`), then the auth files in the
order that podman and docker look (containers-auth.json(5)); in each the helper that it names for the
host, its own entry, its helper for all hosts. Nothing here is ever printed.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlops.adapters.registry import helpers
from mlops.adapters.registry.names import HUB
from mlops.errors import RegistryError

VARIABLES = "MLOPS_REGISTRY_USERNAME and MLOPS_REGISTRY_PASSWORD"
_LARGEST = 1 << 20  # bytes of an auth file
_HUB_SERVER = "https://index.docker.io/v1/"  # what docker's helpers call Docker Hub
_TOKEN_USER = "<token>"  # noqa: S105 - the name beside an identity token, docker's helper protocol


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password for one registry, or an identity token, for which it gives others."""

    username: str
    password: str = field(repr=False)
    identity: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"

    def hidden(self, text: str) -> str:
        """A text without our secrets, should a registry repeat them."""
        for secret in (self.password, self.identity, self.basic.removeprefix("Basic ")):
            text = text.replace(secret, "…") if len(secret) > 3 else text
        return text


@dataclass(frozen=True, slots=True)
class Known:
    """What is known for a registry; `complaint` tells of a helper that should have known more, `source`
    where the credentials come from, in words."""

    credentials: Credentials | None = None
    complaint: str = ""
    source: str = ""

    def advice(self, host: str) -> str:
        """What to do where the host does not take them: who they come from, and what would mend it."""
        login = f"docker login {host}"
        if self.complaint:
            return f"{self.complaint}. Then run: {login}"
        if self.source == VARIABLES:
            told = f"It was told those of {VARIABLES}, which win over all others"
            return f"{told}. Mend or unset them, then run: {login}"
        if self.source:
            return f"It was told those of {self.source}. Mend them: {login}"
        return f"Nothing on this machine has any for it. Run: {login}"


def find(
    host: str,
    environment: Mapping[str, str] | None = None,
    *,
    ours: bool = True,
    path: str = "",
) -> Known:
    """What is known for a registry (`host` or `host:port`), and the repository `path` there.

    The two variables name no host: they are for the project's registry, `ours`, and no other.
    """
    env = os.environ if environment is None else environment
    name, password = env.get("MLOPS_REGISTRY_USERNAME"), env.get("MLOPS_REGISTRY_PASSWORD")
    if ours and name and password is not None:
        return Known(Credentials(name, password), source=VARIABLES)
    complaint = ""
    for file in _files(env):
        found = _in_file(_read(file), host, path)
        complaint = complaint or found.complaint
        if found.credentials is not None:
            return found if found.source else replace(found, source=str(file))
    return Known(complaint=complaint)


def _files(env: Mapping[str, str]) -> Iterator[Path]:
    home = Path(env.get("HOME") or "/")
    if env.get("REGISTRY_AUTH_FILE"):
        yield Path(env["REGISTRY_AUTH_FILE"])
    if env.get("XDG_RUNTIME_DIR"):
        yield Path(env["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    yield Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"
    yield Path(env.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _read(path: Path) -> Mapping[str, Any]:
    """A file's content; nothing where there is none, or it is not one."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _in_file(content: Mapping[str, Any], host: str, path: str) -> Known:
    per_host = content.get("credHelpers")
    helpers_of = per_host if isinstance(per_host, dict) else {}
    names = HUB if host in HUB else (host,)
    named = next((helpers_of[name] for name in names if helpers_of.get(name)), "")
    found = _helped(named, host) if named else Known()
    auths = content.get("auths")
    if found.credentials is None and isinstance(auths, dict):
        entry = _entry(auths, host, path)
        found = Known(entry, found.complaint) if entry is not None else found
    store = content.get("credsStore")
    if found.credentials is None and store and not named:
        found = _helped(store, host)
    return found


def _helped(name: object, host: str) -> Known:
    server = _HUB_SERVER if host in HUB else host
    try:
        pair = helpers.ask(str(name), server)
    except RegistryError as exc:
        return Known(complaint=str(exc))
    if pair is None:
        return Known()
    source = f"the helper {helpers.program(str(name))}"
    if pair[0] == _TOKEN_USER:
        return Known(Credentials("", "", pair[1]), source=source)
    return Known(Credentials(*pair), source=source)


def _entry(auths: Mapping[str, Any], host: str, path: str) -> Credentials | None:
    """The entry of the host, or the closest of those for a part of its repositories."""
    names = HUB if host in HUB else (host,)
    found: tuple[int, Credentials] | None = None
    for key, value in auths.items():
        bare, _, below = key.removeprefix("https://").removeprefix("http://").partition("/")
        below = "" if below.strip("/") in ("v1", "v2") else below.strip("/")
        if bare not in names or not (not below or f"{path}/".startswith(f"{below}/")):
            continue
        pair = _pair(value) if isinstance(value, dict) else None
        if pair is not None and (found is None or len(below) > found[0]):
            found = (len(below), pair)
    return None if found is None else found[1]


def _pair(value: Mapping[str, Any]) -> Credentials | None:
    identity = value.get("identitytoken")
    if isinstance(identity, str) and identity:
        return Credentials("", "", identity)
    if isinstance(value.get("auth"), str) and value["auth"]:
        try:
            text = base64.b64decode(value["auth"], validate=True).decode()
        except (binascii.Error, ValueError):
            return None
        name, colon, password = text.partition(":")
        return Credentials(name, password.rstrip("\0")) if colon else None
    user, secret = value.get("username"), value.get("password")
    if isinstance(user, str) and isinstance(secret, str) and user:
        return Credentials(user, secret)
    return None
