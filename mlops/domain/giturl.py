"""URLs of git repositories, compared by what they lead to."""

from __future__ import annotations

import re

_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)\Z")
_LOGIN = re.compile(r"\A(https?://)[^/]*@", re.IGNORECASE)
_URL = re.compile(r"[a-z+]+://(?:[^@/]*@)?([^/:]+)(?::\d+)?/(.+)\Z")


def same(one: str, other: str) -> bool:
    """Whether two URLs name one repository: `git@example.com:a/b.git` and `https://example.com/a/b` do."""
    return _place(one) == _place(other)


def without_login(url: str) -> str:
    """The URL without user and password, where it is http's: others name a user who has no password there."""
    return _LOGIN.sub(r"\1", url)


def path(url: str) -> str:
    """What a forge calls the repository: `team/shop` of `git@example.com:team/shop.git`."""
    return _place(url).partition("/")[2]


def _place(url: str) -> str:
    match = _URL.match(url) or _SCP.match(url)
    host, path = (match[1].lower(), match[2]) if match else ("", url)
    return f"{host}/{path.strip('/').removesuffix('.git')}"
