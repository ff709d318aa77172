"""Forges: which one has a repository, where its API is, and what is said there.

Which forge it is, is decided exactly: by `forge:` of mlops.yaml, else by a host that is known. A host whose
name merely sounds like one is none: a token would be sent there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import quote, urlsplit


class Kind(StrEnum):
    """Which API a forge has."""

    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    FORGEJO = "forgejo"


_KNOWN = {
    "github.com": Kind.GITHUB,
    "gitlab.com": Kind.GITLAB,
    "gitea.com": Kind.GITEA,
    "codeberg.org": Kind.FORGEJO,
}
LINK = ("run", "model", "commit", "release")  # what a link may name
_API = {
    Kind.GITHUB: "/api/v3",
    Kind.GITLAB: "/api/v4",
    Kind.GITEA: "/api/v1",
    Kind.FORGEJO: "/api/v1",
}
_SCP = re.compile(r"(?:[^@/\s]+@)?(?P<host>[^:/@\s]+):(?!//)(?P<path>[^\s]+)\Z")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}\Z")
_WEB = ("http", "https")
_SSH = ("ssh", "git+ssh", "git")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class State(StrEnum):
    """What a commit status says."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Status:
    """What is said of a commit under one `context`; `link` may be empty."""

    context: str
    state: State
    description: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request (GitLab: merge request). `state` is open, closed or merged; `head` the commit that its
    branch has, as far as the forge knows; `waits` tells that the forge merges it by itself once it may."""

    number: int
    title: str
    body: str
    state: str
    branch: str
    into: str
    head: str
    url: str
    waits: bool = False
    ident: str = ""  # by which GitHub's GraphQL names it


@dataclass(frozen=True, slots=True)
class ForgeConfig:
    """`forge:` of mlops.yaml. Empty texts are found from the remote; `link` is a template for statuses."""

    kind: Kind | None = None
    url: str = ""
    repository: str = ""
    link: str = ""

    def elsewhere(self, remote: str) -> ForgeConfig:
        """The same for another repository of the project: on the same forge, unless its host is a known one."""
        if _parsed(remote).host in _KNOWN:
            return ForgeConfig()
        return replace(self, repository="", link="")


@dataclass(frozen=True, slots=True)
class Place:
    """A repository on a forge: `api` is the base of its API, `web` that of its pages, neither with a slash at
    the end; `repository` is `owner/name`, on GitLab perhaps with groups between. `remote` is the host that
    git speaks to, empty for a directory."""

    kind: Kind
    api: str
    web: str
    repository: str
    remote: str = ""

    @property
    def host(self) -> str:
        """`host[:port]` of the API."""
        return urlsplit(self.api).netloc

    def new_pull(self, branch: str, into: str) -> str:
        """The page on which a person opens a pull request."""
        base = f"{self.web}/{quote(self.repository, safe='/')}"
        source, target = quote(branch, safe="/"), quote(into, safe="/")
        if self.kind == Kind.GITLAB:
            ends = f"merge_request[source_branch]={source}&merge_request[target_branch]={target}"
            return f"{base}/-/merge_requests/new?{ends}"
        ends = "?expand=1" if self.kind == Kind.GITHUB else ""
        return f"{base}/compare/{target}...{source}{ends}"


@dataclass(frozen=True, slots=True)
class NoPlace:
    """No forge is known for a repository, and why."""

    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Remote:
    web: str  # scheme and host[:port] where pages are, empty for a directory
    host: str
    path: str


def place(remote: str, config: ForgeConfig) -> Place | NoPlace:
    """Where the repository of a git remote's URL is on its forge."""
    at = _parsed(remote)
    kind = config.kind or _KNOWN.get(at.host)
    if kind is None:
        where = f"the forge of {at.host} is not known" if at.host else "the remote is no forge's"
        return NoPlace(where, "Say which it is in mlops.yaml: forge: {kind: gitlab}")
    api = (config.url or _api(kind, at)).rstrip("/")
    if not api:
        return NoPlace(
            "the remote names no host", "Say where the API is in mlops.yaml: forge: {url: …}"
        )
    web = _web(api)
    below = urlsplit(web).path.strip("/")  # a forge below a path of its host
    path = config.repository or at.path.removeprefix(f"{below}/" if below else "")
    if not _is_repository(kind, path):
        return NoPlace(
            f"{path or 'the remote'!r} names no repository of {kind}",
            "Say which it is in mlops.yaml: forge: {repository: OWNER/NAME}",
        )
    return Place(kind, api, web, path, at.host)


def _parsed(remote: str) -> _Remote:
    """Host with port for http(s); the port of ssh is none of the pages'. Never with credentials."""
    if "://" not in remote:
        match = _SCP.match(remote)
        if match is None:
            return _Remote("", "", "")
        host, path = match["host"].lower(), match["path"]
        return _Remote(f"https://{host}", host, _plain(path))
    try:
        parts = urlsplit(remote)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return _Remote("", "", "")
    if not host or parts.scheme not in (*_WEB, *_SSH):
        return _Remote("", "", "")
    if ":" in host:
        host = f"[{host}]"
    if parts.scheme in _WEB:
        if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
            host = f"{host}:{port}"
        return _Remote(f"{parts.scheme}://{host}", host, _plain(parts.path))
    return _Remote(f"https://{host}", host, _plain(parts.path))


def _plain(path: str) -> str:
    return path.strip("/").removesuffix(".git")


def _api(kind: Kind, at: _Remote) -> str:
    if not at.web:
        return ""
    if kind == Kind.GITHUB and at.host == "github.com":
        return "https://api.github.com"
    if kind == Kind.GITHUB and at.host.endswith(".ghe.com"):  # Enterprise Cloud with data residency
        return f"https://api.{at.host}"
    return at.web + _API[kind]


def _web(api: str) -> str:
    parts = urlsplit(api)
    host = parts.netloc.removeprefix("api.") if not parts.path.strip("/") else parts.netloc
    path = parts.path
    for end in sorted(set(_API.values())):
        path = path.removesuffix(end)
    return f"{parts.scheme}://{host}{path}".rstrip("/")


def _is_repository(kind: Kind, path: str) -> bool:
    parts = path.split("/")
    enough = len(parts) >= 2 if kind == Kind.GITLAB else len(parts) == 2
    return enough and all(_NAME.match(part) and part not in (".", "..") for part in parts)


def shortened(text: str, longest: int) -> str:
    """At most so many characters, with a mark where some are left out."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"
