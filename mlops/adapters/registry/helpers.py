"""Programs that keep passwords: `docker-credential-NAME get` (docker's credential helper protocol).

What they write is a stranger's: capped, and taken for credentials only where it is such a document.
"""

from __future__ import annotations

import json
import re

from mlops.adapters import process
from mlops.errors import RegistryError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of a program on the PATH, never a path
_LARGEST = 64 << 10  # bytes of an answer
_PATIENCE = 20.0  # seconds: some ask a person
_NONE = "credentials not found"


def ask(name: str, server: str) -> tuple[str, str] | None:
    """The name and secret that a helper keeps for a server; None where it keeps none.

    Raises RegistryError, which never repeats what the helper answered, where it fails or answers
    something else.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name[:64]!a} names no credential helper")
    called = program(name)
    done = process.run(
        (called, "get"),
        doing=f"asking {called} for the credentials of {server}",
        stdin=server.encode(),
        timeout=_PATIENCE,
        check=False,
        error=RegistryError,
    )
    if done.code:
        if _NONE in (done.stdout + done.stderr)[:_LARGEST].decode(errors="replace"):
            return None
        raise RegistryError(
            f"{called} gives no credentials for {server}: it exited {done.code}",
            hint=f"Try: echo {server} | {called} get",
        )
    return _pair(done.stdout, called)


def program(name: str) -> str:
    """What a helper is called on the PATH."""
    return f"docker-credential-{name}"


def _pair(content: bytes, program: str) -> tuple[str, str]:
    try:
        found = json.loads(content) if len(content) <= _LARGEST else None
    except (ValueError, RecursionError):
        found = None
    name = found.get("Username") if isinstance(found, dict) else None
    secret = found.get("Secret") if isinstance(found, dict) else None
    if not (isinstance(name, str) and isinstance(secret, str) and name and secret):
        raise RegistryError(f"{program} answers something that is no credentials")
    return name, secret
