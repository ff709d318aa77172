"""Deliveries of forges: who sent one is settled over the raw body, before anything in it is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops.domain.delivery import Delivery, Provider
from mlops.policy.webhooks import (
    bitbucket,
    bitbucket_server,
    documents,
    generic,
    gitea,
    github,
    gitlab,
)
from mlops.policy.webhooks.verdict import (
    Fault,
    Headers,
    Ignored,
    Pushed,
    Refused,
    Verified,
    malformed,
    unauthenticated,
)

__all__ = ["Fault", "Headers", "Ignored", "Refused", "Verified", "headers_of", "read", "verify"]

_ID = re.compile(r"[\x21-\x7e]{1,200}\Z")
_EVENT = re.compile(r"[\x20-\x7e]{0,100}\Z")


@dataclass(frozen=True, slots=True)
class _Scheme:
    provider: Provider
    marks: tuple[str, ...]  # headers of which one tells that it is this scheme
    verify: Callable[[Headers, bytes, Sequence[str], float], Verified | Refused]
    read: Callable[[str, bytes], Pushed | Ignored]
    beside: frozenset[Provider] = frozenset()  # whose marks it bears as well


_GITHUB, _GITEA, _SERVER = Provider.GITHUB, Provider.GITEA, Provider.BITBUCKET_SERVER
_SCHEMES = (
    _Scheme(
        Provider.FORGEJO,
        gitea.FORGEJO_MARK,
        gitea.verify_forgejo,
        gitea.read,
        frozenset({_GITEA, _GITHUB}),
    ),
    _Scheme(_GITEA, gitea.MARK, gitea.verify, gitea.read, frozenset({_GITHUB})),
    _Scheme(_GITHUB, github.MARK, github.verify, github.read),
    _Scheme(
        Provider.GITLAB, gitlab.MARK, gitlab.verify, gitlab.read, frozenset({Provider.GENERIC})
    ),
    _Scheme(
        Provider.BITBUCKET, bitbucket.MARK, bitbucket.verify, bitbucket.read, frozenset({_SERVER})
    ),
    _Scheme(_SERVER, bitbucket_server.MARK, bitbucket_server.verify, bitbucket_server.read),
    _Scheme(Provider.GENERIC, generic.MARK, generic.verify, generic.read),
)
_READ = {scheme.provider: scheme.read for scheme in _SCHEMES}
_ASKED = frozenset(
    (
        *(*github.NAMES, *gitlab.NAMES, *gitea.NAMES, *gitea.FORGEJO_NAMES),
        *(*bitbucket.NAMES, *bitbucket_server.NAMES, *generic.NAMES),
    )
)
_RAW = {name.encode(): name for name in _ASKED}


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> Headers | Refused:
    """The headers that schemes ask for, of pairs whose names are in lower case. One that is there twice
    is refused: others on the way may have gone by the other of them."""
    found: dict[str, str] = {}
    for name, value in raw:
        known = _RAW.get(name)
        if known is None:
            continue
        if known in found:
            return unauthenticated(f"{known} is there twice")
        found[known] = value.decode("latin-1")
    return found


def verify(headers: Headers, body: bytes, secrets: Sequence[str], now: float) -> Verified | Refused:
    """Who sent the body; `now` in seconds since 1970. Nothing of the body is read, and none of it matters
    to how long that takes but its length."""
    if not secrets:
        return unauthenticated("there is no secret")
    borne = [scheme for scheme in _SCHEMES if any(mark in headers for mark in scheme.marks)]
    if not borne:
        return unauthenticated("no header of a forge")
    scheme, *others = borne
    if any(other.provider not in scheme.beside for other in others):
        names = ", ".join(each.provider for each in borne)
        return unauthenticated(f"headers of several: {names}")
    verified = scheme.verify(headers, body, secrets, now)
    if isinstance(verified, Refused):
        return verified
    if not _ID.match(verified.id) or not _EVENT.match(verified.event):
        return malformed("the delivery's id or event is lacking or no such thing")
    return verified


def read(verified: Verified, body: bytes, received: datetime) -> Delivery | Ignored | Refused:
    """What the delivery says, once it is verified."""
    try:
        found = _READ[verified.provider](verified.event, body)
    except documents.DocumentError as exc:
        return malformed(str(exc))
    if isinstance(found, Ignored):
        return found
    return Delivery(
        verified.provider,
        verified.id,
        verified.event,
        found.repositories,
        found.refs,
        received,
        hashlib.sha256(body).hexdigest(),
    )
