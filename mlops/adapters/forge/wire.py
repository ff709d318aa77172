"""One forge's API: asking it, saying who we are, trying again, keeping its limits.

The token goes to the API's own host alone, over TLS unless that was allowed. Answers are strangers' bytes:
capped, and JSON. What was asked before is asked with its ETag (RFC 9110, 13.1.2). Raises ForgeError.
"""

from __future__ import annotations

import json
import random
import ssl
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlops import __version__
from mlops.adapters import retryafter
from mlops.adapters.barehttpx import httpx
from mlops.adapters.forge import limits
from mlops.adapters.forge.tokens import Token
from mlops.errors import ForgeError

TRIES = 4
MOST_PAGES = 10
_LARGEST = 4 << 20  # bytes of an answer
_LONGEST_ANSWER = 30.0  # seconds that a body may take, whatever it trickles
_CONNECT, _READ = 3.0, 10.0  # seconds
_PAUSE, _LONGEST_PAUSE = 0.3, 4.0  # seconds
_LONGEST_ASKED = (
    5.0  # seconds that a call waits because the forge asks for it; more is for the next look
)
_REDIRECTS = 3
_KEPT, _LARGEST_KEPT = 512, 256 << 10  # answers with an ETag, and bytes of one
_WORDS = 300  # characters of a forge's own words in an error
_TRANSIENT = frozenset((408, 425, 500, 502, 503, 504))
_REDIRECT = frozenset((301, 302, 307, 308))


@dataclass(frozen=True, slots=True)
class Call:
    """One question: `path` is below the API's base. `good` are the statuses that are an answer; `again` is
    False where asking twice might do something twice."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    good: frozenset[int] = frozenset((200, 201))
    again: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A status that is good, the JSON document (None: none), and where the next page is."""

    status: int
    document: Any
    following: str = ""
    scopes: str = ""  # what the token may do, where the forge says so (GitHub's classic tokens)


@dataclass(slots=True)
class Memory:
    """What was answered with an ETag: url → (tag, answer). Shared by the looks of one process."""

    kept: OrderedDict[str, tuple[str, Answer]] = field(default_factory=OrderedDict)

    def put(self, url: str, tag: str, answer: Answer) -> None:
        self.kept[url] = (tag, answer)
        self.kept.move_to_end(url)
        while len(self.kept) > _KEPT:
            self.kept.popitem(last=False)


class Wire:
    """Speaks to one API. `dress` says who we are in the way of the forge."""

    def __init__(
        self,
        base: str,
        dress: Callable[[Token], Mapping[str, str]],
        token: Token,
        memory: Memory | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`base` is the API's URL; whether the token may go there was asked before (`tokens.find`)."""
        self._base = httpx.URL(base.rstrip("/") + "/")
        self._dress = dress
        self._token = token
        self._memory = memory if memory is not None else Memory()
        self._sleep = sleep
        self._clock = clock
        self._until = 0.0  # the forge's limit is spent until then, in seconds since the epoch
        self.host = self._base.netloc.decode()

    def get(self, path: str, **query: str | int) -> Any:
        """The document at a path."""
        return self.ask(Call("GET", path, query)).document

    def pages(self, path: str, size: str, **query: str | int) -> Iterator[Any]:
        """The items of a list, page by page, at most MOST_PAGES; `size` names the query of a page's size."""
        call = Call("GET", path, {**query, size: 50 if size == "limit" else 100})
        for _ in range(MOST_PAGES):
            answer = self.ask(call)
            if not isinstance(answer.document, list):
                raise self.odd(f"{path} is no list")
            yield from answer.document
            if not answer.following:
                return
            call = Call("GET", answer.following)

    def odd(self, what: str) -> ForgeError:
        """An answer that cannot be."""
        return ForgeError(
            f"{self.host} answers what no forge does: {_plain(what)}",
            hint="Look whether forge.url in mlops.yaml is its API",
        )

    def ask(self, call: Call) -> Answer:
        """Ask, again where that may help."""
        for number in range(TRIES):
            self._heed()
            last = number + 1 == TRIES or not call.again
            try:
                answer, body = self._send(call)
            except httpx.HTTPError as exc:
                if last:
                    raise self._unreachable(exc) from exc
                self._pause(number)
                continue
            code = answer.status_code
            spent = limits.spent(code, answer.headers, body, self._clock())
            if spent is not None:  # it was not done: asking again does nothing twice
                self._until = spent
                if number + 1 == TRIES:
                    raise self._limited()
                continue
            if code == 304 or code in call.good:
                self._until = limits.after(answer.headers, self._clock()) or 0.0
                return self._read(answer, body)
            if code not in _TRANSIENT or last:
                raise self._refused(call, code, limits.words(body))
            self._pause(number, answer.headers.get("Retry-After", ""))
        raise AssertionError  # not reached

    # -- waiting

    def _heed(self) -> None:
        """Wait until the forge's limit is open again, where that is soon."""
        left = self._until - self._clock()
        if left > _LONGEST_ASKED:
            raise self._limited()
        if left > 0:
            self._sleep(left)
            self._until = 0.0

    def _limited(self) -> ForgeError:
        left = max(1, round(self._until - self._clock()))
        return ForgeError(
            f"{self.host} has had enough of our questions for now",
            hint=f"Its limit opens again in {left} s",
            retryable=True,
        )

    def _pause(self, number: int, asked: str = "") -> None:
        longest = min(_LONGEST_PAUSE, _PAUSE * 2.0**number)
        chance = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads rivals
        self._sleep(max(chance, min(_LONGEST_ASKED, retryafter.seconds(asked))))

    # -- sending

    @cached_property
    def graphql(self) -> str:
        """Where GitHub's GraphQL is, seen from the base: beside `/api/v3`, or at api.github.com."""
        return "graphql" if self._base.path == "/" else "../graphql"

    @cached_property
    def _client(self) -> httpx.Client:
        plain = self._base.scheme == "http"  # which needs no list of authorities, long to read
        try:
            client = httpx.Client(
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
                timeout=httpx.Timeout(_READ, connect=_CONNECT),
                headers={
                    "User-Agent": f"mlops/{__version__}",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    **self._dress(self._token),
                },
            )
        except (OSError, ValueError, httpx.InvalidURL) as exc:  # certificates, or a proxy's URL
            raise ForgeError(
                f"{self.host} cannot be asked: the settings of TLS or of a proxy: {_plain(str(exc))}",
                hint="Look at SSL_CERT_FILE, HTTPS_PROXY and ALL_PROXY",
            ) from exc
        weakref.finalize(self, client.close)
        return client

    def _send(self, call: Call) -> tuple[httpx.Response, bytes]:
        """Send, and follow redirects on the API's own host."""
        at = self._joined(self._base, call.path)
        if call.query:
            at = at.copy_merge_params(dict(call.query))
        headers = {}
        if call.method == "GET" and str(at) in self._memory.kept:
            headers["If-None-Match"] = self._memory.kept[str(at)][0]
        for _ in range(_REDIRECTS + 1):
            if (at.scheme, at.netloc) != (self._base.scheme, self._base.netloc):
                raise ForgeError(
                    f"{self.host} leads to {_plain(at.host) or 'nowhere'}: the token is not sent there",
                    hint="Say in mlops.yaml where the API is: forge: {url: …}",
                )
            request = self._client.build_request(call.method, at, headers=headers, json=call.body)
            answer = self._client.send(request, stream=True)
            try:
                body = self._body(answer)
            finally:
                answer.close()
            code = answer.status_code
            if code not in _REDIRECT or (call.method != "GET" and code not in (307, 308)):
                return answer, body
            at = self._joined(at, answer.headers.get("Location", ""))
        raise self.odd(f"more than {_REDIRECTS} redirects")

    def _joined(self, base: httpx.URL, text: str) -> httpx.URL:
        try:
            return base.join(text)
        except (httpx.InvalidURL, ValueError) as exc:
            raise self.odd("something that is no URL") from exc

    def _body(self, answer: httpx.Response) -> bytes:
        found = bytearray()
        end = time.monotonic() + _LONGEST_ANSWER
        for piece in answer.iter_raw():  # as it comes: nothing unpacks to more than it is
            found += piece
            if len(found) > _LARGEST:
                raise self.odd(f"more than {_LARGEST} bytes")
            if time.monotonic() > end:
                raise httpx.ReadTimeout(f"it takes over {_LONGEST_ANSWER:g} s to answer")
        return bytes(found)

    def _read(self, answer: httpx.Response, body: bytes) -> Answer:
        url = str(answer.request.url)
        if answer.status_code == 304:
            if url not in self._memory.kept:
                raise self.odd("nothing changed, of what was never asked")
            return self._memory.kept[url][1]
        following = answer.links.get("next", {}).get("url", "")
        scopes = answer.headers.get("X-OAuth-Scopes", "")
        found = Answer(answer.status_code, self._document(body), following, scopes)
        tag = answer.headers.get("ETag", "")
        if tag and answer.request.method == "GET" and len(body) <= _LARGEST_KEPT:
            self._memory.put(url, tag, found)
        return found

    def _document(self, body: bytes) -> Any:
        if not body.strip():
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise self.odd("a page, or something else that is no JSON") from exc

    # -- saying no

    def _unreachable(self, exc: httpx.HTTPError) -> ForgeError:
        said = self._token.hidden(_plain(str(exc))) or type(exc).__name__
        return ForgeError(
            f"{self.host} cannot be asked: {said}",
            hint="Check the network and the forge",
            retryable=True,
        )

    def refused(self, call: Call, answer: Answer) -> ForgeError:
        """The error for an answer whose status was taken for a good one."""
        return self._refused(call, answer.status, limits.said(answer.document))

    def _refused(self, call: Call, code: int, words: str) -> ForgeError:
        words = self._token.hidden(_plain(words))
        told = f" ({words})" if words else ""
        if code == 401:
            return ForgeError(
                f"{self.host} does not accept the token (401){told}",
                hint="Make another one, and put it where the old one is: mlops doctor says where",
            )
        if code in (403, 404):
            return ForgeError(
                f"{self.host} does not let the token {call.method} {call.path} ({code}){told}",
                hint="Give the token the rights that docs/how-to/forges.md lists",
            )
        return ForgeError(
            f"{self.host} answers {code} to {call.method} {call.path}{told}",
            hint="Try again later" if code in _TRANSIENT else "Look at the forge's own logs",
            retryable=code in _TRANSIENT,
        )


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()[:_WORDS]
