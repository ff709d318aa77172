"""Whether a git server or a registry asks who one is: asked once, as nobody, whatever logins are at hand."""

from __future__ import annotations

import ssl

from mlops.adapters.barehttpx import httpx
from mlops.adapters.registry import settings
from mlops.adapters.registry.names import Repository
from mlops.errors import MlopsError

_PATIENCE = 3.0  # seconds
_DENIED = 401
READ, PUSH = "git-upload-pack", "git-receive-pack"  # gitprotocol-http(5)


def of_git(url: str, service: str) -> bool | None:
    """Whether the repository at an http(s) URL asks for a login where one reads or pushes; None where
    that cannot be known from here."""
    if not url.startswith(("http://", "https://")):
        return None
    asked = f"{url.rstrip('/')}/info/refs?service={service}"
    return _asks(asked, f"application/x-{service}-advertisement", None)


def of_registry(registry: str) -> bool | None:
    """The same of a registry, `HOST/PATH`."""
    try:
        host = Repository.parse(f"{registry}/x").host
        found = settings.find(host)
        scheme, context = ("https", found.context()) if found.tls else ("http", None)
    except MlopsError:
        return None
    return _asks(f"{scheme}://{host}/v2/", "", context)


def _asks(url: str, kind: str, context: ssl.SSLContext | None) -> bool | None:
    try:
        answer = httpx.get(
            url,
            timeout=_PATIENCE,
            follow_redirects=True,
            verify=True if context is None else context,
        )
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        return None
    if answer.status_code == _DENIED:
        return True
    # a page of a proxy, or one to log in with, is no answer
    fits = answer.headers.get("Content-Type", "").startswith(kind)
    return False if answer.status_code == httpx.codes.OK and fits else None
