"""URLs of git repositories, compared by what they lead to."""

from __future__ import annotations

import re

_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)\Z")
_LOGIN = re.compile(r"\A(https?://)[^/]*@", re.IGNORECASE)
_SERVER = re.compile(r"https?://[^/]+", re.IGNORECASE)
_URL = re.compile(r"[a-z+]+://(?:[^@/]*@)?([^/:]+)(?::\d+)?/(.+)\Z")


def canonical(url: str) -> str:
    """Host and path, in which URLs of one repository agree; a path of this machine is itself."""
    match = _URL.match(url) or _SCP.match(url)
    host, path = (match[1].lower(), match[2]) if match else ("", url)
    return f"{host}/{path.strip('/').removesuffix('.git')}"


def same(one: str, other: str) -> bool:
    """Whether two URLs name one repository: `git@example.com:a/b.git` and `https://example.com/a/b` do."""
    return canonical(one) == canonical(other)


def without_login(url: str) -> str:
    """The URL without user and password, where it is http's: others name a user who has no password there."""
    return _LOGIN.sub(r"\1", url)


def path(url: str) -> str:
    """What a forge calls the repository: `team/shop` of `git@example.com:team/shop.git`."""
    return canonical(url).partition("/")[2]


def by_ssh(url: str) -> bool:
    """Whether git asks ssh for it."""
    return url.startswith(("ssh://", "git+ssh://")) or ("://" not in url and bool(_SCP.match(url)))


def by_https(url: str) -> str:
    """The URL that most forges have beside one of ssh."""
    return f"https://{canonical(url)}.git"


def server(url: str) -> str:
    """Scheme, host and port of an http URL, as git keeps logins by them; what has none is given as it is."""
    found = _SERVER.match(without_login(url))
    return found[0].lower() if found else url


def covers(prefix: str, url: str) -> bool:
    """Whether a login for `prefix` (`https://HOST`, perhaps with a path) is one for `url`, as
    gitcredentials(7) has it."""
    if server(prefix) != server(url):
        return False
    inner, path = (without_login(each)[len(server(each)) :].strip("/") for each in (prefix, url))
    return not inner or f"{path}/".startswith(f"{inner}/")
