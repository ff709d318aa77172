"""Who we are to a registry: what `docker login` or `podman login` left on this machine.

Environment first (`MLOPS_REGISTRY_USERNAME`, `MLOPS_REGISTRY_PASSWORD`), then the auth files in the
order that podman and docker look (containers-auth.json(5)). Nothing here is ever printed.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LARGEST = 1 << 20  # bytes of an auth file
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, for one registry."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


def find(
    host: str, environment: Mapping[str, str] | None = None, *, ours: bool = True
) -> Credentials | None:
    """What is known for a registry (`host` or `host:port`); None where nothing is.

    The two variables name no host: they are for the project's registry, `ours`, and no other.
    """
    env = os.environ if environment is None else environment
    name, password = env.get("MLOPS_REGISTRY_USERNAME"), env.get("MLOPS_REGISTRY_PASSWORD")
    if ours and name and password is not None:
        return Credentials(name, password)
    for path in _files(env):
        found = _entry(_read(path), host)
        if found is not None:
            return found
    return None


def _files(env: Mapping[str, str]) -> Iterator[Path]:
    home = Path(env.get("HOME") or "/")
    if env.get("REGISTRY_AUTH_FILE"):
        yield Path(env["REGISTRY_AUTH_FILE"])
    if env.get("XDG_RUNTIME_DIR"):
        yield Path(env["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    yield Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"
    yield Path(env.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _read(path: Path) -> Mapping[str, Any]:
    """The `auths` of a file; nothing where there is none, or it is not one."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    auths = found.get("auths") if isinstance(found, dict) else None
    return auths if isinstance(auths, dict) else {}


def _entry(auths: Mapping[str, Any], host: str) -> Credentials | None:
    names = _HUB if host in _HUB else (host,)
    for key, value in auths.items():
        bare = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
        if bare in names and isinstance(value, dict):
            found = _pair(value)
            if found is not None:
                return found
    return None


def _pair(value: Mapping[str, Any]) -> Credentials | None:
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
