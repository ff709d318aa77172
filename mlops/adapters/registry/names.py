"""Where images lie: the names of repositories, and which hosts are this machine or one site."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.domain.hosts import hostname, loopback
from mlops.domain.imagename import HOST, PATH, TAG
from mlops.errors import UsageError

HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HUB_ANSWERS = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Repository:
    """Where images lie: `host[:port]` and the path of the repository there."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Read `registry.example.com/ml/spam`. A first part without a dot or port is Docker Hub's.

        Raises UsageError where it names no repository."""
        host, slash, path = text.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            host, path = "docker.io", text
        if host in HUB:
            host, path = _HUB_ANSWERS, path if "/" in path else f"library/{path}"
        if not (HOST.match(host) and PATH.match(path)):
            raise UsageError(f"{text!a} names no repository of a registry")
        return cls(host, path)

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


def tag(text: str) -> str:
    """`text`, where it can be a tag. Raises UsageError."""
    if not TAG.match(text):
        raise UsageError(f"{text!a} is no tag")
    return text


def same_site(realm: str, registry: str) -> bool:
    """Whether a realm may be told who we are: the registry's own host, or one of the same domain.

    Public registries keep their token server beside them: `auth.docker.io`, `registry-1.docker.io`."""
    host = hostname(registry)
    if loopback(realm) or loopback(host):
        return loopback(realm) and loopback(host)
    domain = host.partition(".")[2]
    beside = "." in domain and (realm == domain or realm.endswith(f".{domain}"))
    return realm == host or beside
