"""What a registry is told when it asks who we are: a password, or a token for what is to be done.

Challenges follow RFC 9110, 11.6.1; tokens distribution's token specification, with its OAuth2 form
for identity tokens. A token is asked for the least that a call needs, and again before it ends.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops import __version__
from mlops.adapters.barehttpx import httpx
from mlops.adapters.registry import credentials
from mlops.adapters.registry.credentials import Credentials, Known
from mlops.adapters.registry.names import same_site

PULL, PUSH = "pull", "pull,push"
DELETE = "pull,push,delete"
_PART = re.compile(
    r'([A-Za-z0-9_-]{1,64})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([A-Za-z][A-Za-z0-9-]{0,63})'
)
_LONGEST_CHALLENGE = 8192  # characters
_LEAST = 60.0  # seconds that a token lasts where it does not say (token specification)
_MARGIN = 0.9  # of its life: the rest is the way there


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What may be done in one repository: `actions` is `pull`, or more parted by commas."""

    path: str
    actions: str = PULL

    def __str__(self) -> str:
        return f"repository:{self.path}:{self.actions}"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to say who we are: `scheme` in lower case."""

    scheme: str
    params: Mapping[str, str]


def challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of a 401's `WWW-Authenticate` headers; what is none is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        for match in _PART.finditer(header[:_LONGEST_CHALLENGE]):
            name, quoted, bare, scheme = match.groups()
            if scheme is not None:
                found.append((scheme.lower(), {}))
            elif found:
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
                found[-1][1].setdefault(name.lower(), value)
    return tuple(Challenge(scheme, params) for scheme, params in found)


@dataclass(frozen=True, slots=True)
class _Held:
    header: str
    until: float  # on the monotonic clock


Asker = Callable[[httpx.Request], bytes | None]
"""Sends a request to a token server; the body of a 200, None for every other answer."""


class Tokens:
    """The answers to one host's challenges, kept as long as they hold. Safe for threads."""

    def __init__(
        self, host: str, ask: Asker, private: Callable[[httpx.URL], bool], *, ours: bool
    ) -> None:
        """`private` tells whether nobody on the way to a URL can read."""
        self._host = host
        self._ask = ask
        self._private = private
        self._ours = ours
        self._lock = threading.Lock()
        self._held: dict[tuple[Scope, ...], _Held] = {}
        self._known: dict[str, Known] = {}

    def header(self, scopes: tuple[Scope, ...]) -> str:
        """What to send; empty where nothing was asked for yet, or it has ended."""
        held = self._held.get(scopes)
        return held.header if held is not None and time.monotonic() < held.until else ""

    def known(self, path: str) -> Known:
        """Who we are in a repository; its helper is asked once, and not before it is needed."""
        if path not in self._known:
            self._known[path] = credentials.find(self._host, ours=self._ours, path=path)
        return self._known[path]

    def hidden(self, text: str) -> str:
        """A text without our secrets."""
        for known in tuple(self._known.values()):
            if known.credentials is not None:
                text = known.credentials.hidden(text)
        return text

    @property
    def complaint(self) -> str:
        """Why credentials that should be there are not."""
        return next((each.complaint for each in self._known.values() if each.complaint), "")

    def answer(self, headers: Iterable[str], scopes: tuple[Scope, ...], sent: str) -> str:
        """What to send after a 401 to `sent`: another thread may have answered it meanwhile.

        The same as `sent` where there is nothing better."""
        with self._lock:
            now = self.header(scopes)
            if now and now != sent:
                return now
            path = scopes[0].path if scopes else ""
            asked = challenges(headers)
            bearer = next((each for each in asked if each.scheme == "bearer"), None)
            basic = next((each for each in asked if each.scheme == "basic"), None)
            held = None
            if bearer is not None:
                held = self._token(bearer.params, scopes, self.known(path).credentials)
            elif basic is not None:
                found = self.known(path).credentials
                if found is not None and not found.identity:
                    held = _Held(found.basic, float("inf"))
            if held is None:
                return sent
            self._held[scopes] = held
            return held.header

    def _token(
        self, asked: Mapping[str, str], scopes: tuple[Scope, ...], who: Credentials | None
    ) -> _Held | None:
        try:
            realm = httpx.URL(asked.get("realm", ""))
        except httpx.InvalidURL:
            return None
        if not realm.host or not self._private(realm):
            return None
        began = time.monotonic()
        told = who if who is not None and same_site(realm.host, self._host) else None
        content = self._ask(_request(realm, asked.get("service", ""), scopes, told))
        try:
            found = json.loads(content) if content is not None else None
        except (ValueError, RecursionError):
            return None
        return _held(found, began) if isinstance(found, dict) else None


def _request(
    realm: httpx.URL, service: str, scopes: tuple[Scope, ...], who: Credentials | None
) -> httpx.Request:
    headers = {"Accept-Encoding": "identity", "User-Agent": f"mlops/{__version__}"}
    common = {"service": service} if service else {}
    if who is not None and who.identity:
        form = {
            **common,
            "grant_type": "refresh_token",
            "client_id": "mlops",
            "scope": " ".join(map(str, scopes)),
            "refresh_token": who.identity,
        }
        return httpx.Request("POST", realm, data=form, headers=headers)
    if who is not None:
        headers["Authorization"] = who.basic
    pairs = [*common.items(), *(("scope", str(scope)) for scope in scopes)]
    url = realm.copy_with(params=[*realm.params.multi_items(), *pairs])
    return httpx.Request("GET", url, headers=headers)


def _held(found: dict[str, Any], began: float) -> _Held | None:
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        return None
    lasts = found.get("expires_in")
    known = isinstance(lasts, int | float) and not isinstance(lasts, bool) and 0 < lasts < 1e9
    return _Held(f"Bearer {token}", began + _MARGIN * (float(lasts) if known else _LEAST))  # type: ignore[arg-type]
