"""One registry's host: asking it, saying who we are, trying again, following redirects.

What says who we are goes to the registry's own host alone. Answers are strangers' bytes, capped.
Raises RegistryError, and UnreachableError where the host could not be asked.
"""

from __future__ import annotations

import json
import random
import ssl
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from mlops import __version__
from mlops.adapters import retryafter
from mlops.adapters.barehttpx import httpx
from mlops.adapters.registry import settings
from mlops.adapters.registry.tokens import Scope, Tokens
from mlops.domain.hosts import hostname, loopback
from mlops.errors import RegistryError, UnreachableError

LARGEST = 4 << 20  # bytes of a manifest: what registries commonly take at most
TRIES = 4
_CONNECT, _READ = 3.0, 8.0  # seconds until there is a connection, and between two pieces
_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds
_LONGEST_ASKED = 30.0  # seconds that we wait because a registry asks for it
_REDIRECTS = 5
_LONGEST_ANSWER = 30.0  # seconds that a body may take, whatever it trickles
_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
# OpenSSL's reasons (ssl/sslerr.h) where the other side speaks no TLS: older and newer ones
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
_REDIRECT = frozenset((301, 302, 303, 307, 308))
_LONGEST_WORDS = 300  # characters of a registry's own words in an error

Body = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Call:
    """One question. `target` is below `/v2/`, or a whole URL; `good` are the statuses that are an answer.

    `body` makes the bytes to send, anew for each try; `length` is how many. `again` is False where
    the caller sees to a broken connection itself. `slow` is how long the host may think, in seconds."""

    method: str
    target: str
    scopes: tuple[Scope, ...]
    good: frozenset[int] = frozenset((200, 404))
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    length: int = 0
    again: bool = True
    slow: float = 0.0


class Wire:
    """Speaks to one host for all who ask it. Safe for threads."""

    def __init__(self, host: str, *, ours: bool) -> None:
        """`ours`: whether it is the project's own registry, which alone is told the credentials in
        the environment."""
        self.host = host
        self._ours = ours
        self.tokens = Tokens(host, self._token, self.private, ours=ours)

    @cached_property
    def _settings(self) -> settings.HostSettings:
        return settings.find(self.host)

    @cached_property
    def _secure(self) -> httpx.Client:
        return self._client(self._settings.context())

    @cached_property
    def _plain(self) -> httpx.Client:
        """Trusts nobody: for plain HTTP alone, which needs no list of authorities, long to read."""
        return self._client(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _client(self, trusts: ssl.SSLContext) -> httpx.Client:
        client = httpx.Client(
            timeout=httpx.Timeout(_READ, connect=_CONNECT),
            headers={"User-Agent": f"mlops/{__version__}"},
            verify=trusts,
            limits=httpx.Limits(max_connections=16),
        )
        weakref.finalize(self, client.close)  # its connections end with their owner
        return client

    def _over(self, url: httpx.URL) -> httpx.Client:
        """What asks a URL: redirects and token servers may speak TLS where the registry does not."""
        return self._plain if url.scheme == "http" else self._secure

    @cached_property
    def base(self) -> str:
        """The URL below which the registry answers."""
        found = self._settings
        scheme = "https" if found.tls else "http"
        if found.tls and found.insecure and not self._speaks_tls():
            scheme = "http"
        return f"{scheme}://{self.host}/v2/"

    def _speaks_tls(self) -> bool:
        try:
            self._secure.head(f"https://{self.host}/v2/")
        except httpx.HTTPError:
            return False
        return True

    @contextmanager
    def asked(self, call: Call) -> Iterator[httpx.Response]:
        """The answer, with a status that is good; its body is not read yet."""
        for number in range(TRIES):
            last = number + 1 == TRIES or not call.again
            try:
                answer = self._send(call)
            except httpx.HTTPError as exc:
                if last or self._no_tls(exc):
                    raise self._unreachable(type(exc).__name__, exc) from exc
                pause(number)
                continue
            try:
                if answer.status_code in call.good:
                    yield answer
                    return
                words = "" if call.method == "HEAD" else self._words(answer)
            except httpx.HTTPError as exc:
                raise self._unreachable("the answer broke off", exc) from exc
            finally:
                answer.close()
            if answer.status_code not in _TRANSIENT or last:
                raise self._refused(call, answer, words)
            if retryafter.seconds(answer.headers.get("Retry-After", "")) > _LONGEST_ASKED:
                raise self._refused(call, answer, words)
            pause(number, answer.headers.get("Retry-After", ""))

    def body(self, answer: httpx.Response, cap: int = LARGEST) -> bytes:
        """All of an answer. Raises RegistryError where it is larger, UnreachableError where it takes long."""
        return _read(answer, self.host, cap)

    def private(self, url: httpx.URL) -> bool:
        """Whether nobody on the way can read: TLS, or from this machine to itself, or the host
        itself as it was set. No registry elsewhere leads us to what listens here."""
        local = url.scheme == "http" and loopback(url.host)
        own = httpx.URL(self.base)
        if (url.scheme, url.netloc) == (own.scheme, own.netloc):
            return True
        return (url.scheme == "https" and bool(url.host)) or (
            local and loopback(hostname(self.host))
        )

    # -- sending

    def _send(self, call: Call) -> httpx.Response:
        sent = self.tokens.header(call.scopes)
        answer = self._follow(call, sent)
        if answer.status_code != 401:
            return answer
        asked = answer.headers.get_list("WWW-Authenticate")
        header = self.tokens.answer(asked, call.scopes, sent)
        if header == sent:
            return answer
        answer.close()
        return self._follow(call, header)

    def _follow(self, call: Call, header: str) -> httpx.Response:
        """Send, and follow redirects."""
        own = httpx.URL(self.base)
        at = own.join(call.target)
        for _ in range(_REDIRECTS + 1):
            if not self.private(at):
                raise RegistryError(f"{self.host} redirects to {at.host} without TLS")
            headers = {"Accept-Encoding": "identity", **call.headers}
            if (at.scheme, at.netloc) == (own.scheme, own.netloc) and header:
                headers["Authorization"] = header
            if call.body is not None:
                headers["Content-Length"] = str(call.length)
            client = self._over(at)
            request = client.build_request(
                call.method,
                at,
                headers=headers,
                content=call.body() if call.body is not None else None,
                timeout=httpx.Timeout(max(_READ, call.slow), connect=_CONNECT),
            )
            answer = client.send(request, stream=True)
            status = answer.status_code
            if status not in _REDIRECT or (call.body is not None and status not in (307, 308)):
                return answer
            answer.close()
            at = at.join(answer.headers.get("Location", ""))  # httpx has read it: a URL
        raise RegistryError(f"{self.host} redirects more than {_REDIRECTS} times")

    def _token(self, request: httpx.Request) -> bytes | None:
        answer = self._over(request.url).send(request, stream=True)
        try:
            return _read(answer, request.url.host, LARGEST) if answer.status_code == 200 else None
        finally:
            answer.close()

    # -- saying no

    def _words(self, answer: httpx.Response) -> str:
        """The registry's own words for a refusal (distribution-spec 1.1, error codes), made safe."""
        try:
            found = json.loads(_read(answer, self.host, 64 << 10))
            first = found["errors"][0]
            told = ": ".join(str(first[key]) for key in ("code", "message") if first.get(key))
        except (RegistryError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return ""
        plain = "".join(char if char.isprintable() else " " for char in told)
        return self.tokens.hidden(plain[:_LONGEST_WORDS])

    def _unreachable(self, what: str, exc: httpx.HTTPError) -> UnreachableError:
        said = " ".join(str(exc).split())
        told = f"{self.host} cannot be asked: {self.tokens.hidden(said) or what}"
        if self._no_tls(exc):
            return UnreachableError(told, hint=settings.plain_advice(self.host))
        return UnreachableError(told, hint="Check the network and the registry", retryable=True)

    def _no_tls(self, exc: httpx.HTTPError) -> bool:
        """Whether this host, no other that it led us to, answers TLS with something else."""
        return any(each in str(exc) for each in _NO_TLS) and exc.request.url.netloc.decode() in (
            self.host,
            f"{self.host}:443",
        )

    def _refused(self, call: Call, answer: httpx.Response, words: str) -> RegistryError:
        host, code = self.host, answer.status_code
        told = f" ({words})" if words else ""
        if code in (401, 403, 405):
            return self._not_let(call, code, told)
        waits = answer.headers.get("Retry-After", "") if code in _TRANSIENT else ""
        reads = call.method in ("GET", "HEAD")  # an odd answer says nothing of what is there
        error = UnreachableError if reads or code in _TRANSIENT or code >= 500 else RegistryError
        return error(
            f"{host} answers {code} {_plain(answer.reason_phrase)}".rstrip() + told,
            hint=f"It asks to wait: try again in {retryafter.seconds(waits):g} s"
            if retryafter.seconds(waits)
            else "Try again, or ask who runs the registry",
            retryable=code in _TRANSIENT,
        )

    def _not_let(self, call: Call, code: int, told: str) -> UnreachableError:
        """401: who we are; 403: what we may do; 405: what anybody may do there."""
        host = self.host
        where = call.scopes[0].path if call.scopes else ""
        pushes = bool(call.scopes) and "push" in call.scopes[0].actions
        login = self.tokens.advice(where)
        if code == 401:
            what = f" to push to {where}" if pushes else ""
            return UnreachableError(
                f"{host} does not accept the credentials{what}, or there are none (401){told}",
                hint=login,
            )
        what = f"{'push to' if pushes else 'read'} {where or 'it'}"
        if code == 403:
            return UnreachableError(
                f"{host} does not let us {what} (403){told}",
                hint=f"{login} as somebody who may; or ask who runs the registry",
            )
        return UnreachableError(
            f"{host} lets nobody {what} (405){told}",
            hint="It may be read-only, for good or while it is looked after: ask who runs it",
        )


def pause(number: int, retry_after: str = "") -> None:
    """Wait before another try: longer each time, by chance, at least what the registry asks for."""
    longest = min(_LONGEST_PAUSE, _PAUSE * 2.0**number)
    chance = random.uniform(0.5, 1.0)  # noqa: S311 - spreads rivals
    _sleep(max(min(_LONGEST_ASKED, retryafter.seconds(retry_after)), longest * chance))


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


def _read(answer: httpx.Response, location: str, cap: int) -> bytes:
    found = bytearray()
    end = time.monotonic() + _LONGEST_ANSWER
    for piece in answer.iter_raw():
        found += piece
        if len(found) > cap:
            raise RegistryError(f"{location} sent a manifest of more than {cap} bytes")
        if time.monotonic() > end:
            raise UnreachableError(f"{location} takes over {_LONGEST_ANSWER:g} s to answer")
    return bytes(found)


def _plain(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[:_LONGEST_WORDS]
