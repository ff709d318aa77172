"""Reads from an OCI registry: manifests by digest or tag, and blobs.

Follows OCI distribution-spec 1.1 (pulling manifests, pulling blobs). Anonymous and basic
authentication, and the token challenge that public registries put before anonymous pulls. Answers
are strangers' bytes: capped in size, checked against their digest; credentials go to the registry's
own host alone. Raises RegistryError, and UnreachableError where it could not be asked.
"""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from mlops import __version__
from mlops.adapters import credentials
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UnreachableError, UsageError

LARGEST = 4 << 20  # bytes of a manifest: what registries commonly take at most
_KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = ", ".join(_KINDS)  # without a fitting kind a manifest is not found
_TIMEOUT = httpx.Timeout(8.0, connect=3.0)  # seconds
_TRIES = 3
_PAUSE, _LONGEST_PAUSE = 0.2, 2.0  # seconds
_REDIRECTS = 5
_LONGEST_ANSWER = 30.0  # seconds that a body may take, whatever it trickles
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)  # distribution-spec 1.1
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")  # distribution-spec 1.1, pulling manifests
_PARAM = re.compile(r'(\w+)="([^"]*)"')
_TRANSIENT = frozenset((408, 429, 500, 502, 503, 504))


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
        if host in ("docker.io", "index.docker.io"):
            host, path = "registry-1.docker.io", path if "/" in path else f"library/{path}"
        if not (_HOST.fullmatch(host) and _PATH.fullmatch(path)):
            raise UsageError(f"{text!a} names no repository of a registry")
        return cls(host, path)

    @property
    def base(self) -> str:
        """The URL below which the repository answers: plain http on this machine alone."""
        scheme = "http" if _loopback(urlsplit(f"//{self.host}").hostname or "") else "https"
        return f"{scheme}://{self.host}/v2/{self.path}"

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


class Registry:
    """One repository of a registry; meets `ports.ImageReader`. Safe for threads."""

    def __init__(self, name: str, *, ours: bool = True) -> None:
        """`name` is the repository with its host; `ours` where that is the project's own registry,
        which alone is told the credentials in the environment. Raises UsageError where it names none."""
        self.repository = Repository.parse(name)
        self.location = str(self.repository)
        self._credentials = credentials.find(self.repository.host, ours=ours)
        self._client = httpx.Client(
            timeout=_TIMEOUT,
            headers={"User-Agent": f"mlops/{__version__}"},
            verify=_authorities(),
        )
        weakref.finalize(self, self._client.close)  # its connections end with their owner
        self._token = ""
        self._lock = threading.Lock()

    def has_manifest(self, digest: Digest) -> bool:
        return self._there("manifests", str(digest))

    def has_blob(self, digest: Digest) -> bool:
        return self._there("blobs", str(digest))

    def manifest(self, digest: Digest) -> bytes:
        """The bytes of a manifest or index, checked against its digest. Raises RegistryError where
        it is absent, too large, or another."""
        content = self._get(str(digest))
        if content is None:
            raise RegistryError(f"{self.location} has no manifest {digest}")
        if Digest.of(content) != digest:
            raise RegistryError(f"{self.location} gave other bytes than {digest} names")
        return content

    def resolve(self, tag: str) -> Digest | None:
        """The digest that a tag names now, taken of the bytes themselves; None where there is no
        such tag. Raises UsageError where it can be no tag, RegistryError where the registry
        announces another digest than it sends."""
        if not _TAG.fullmatch(tag):
            raise UsageError(f"{tag!a} is no tag")
        content = self._get(tag)
        return None if content is None else Digest.of(content)

    def fetch(
        self, digest: Digest, size: int, into: Path, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Write a blob to the file `into`, going on where a broken connection left it.

        Its bytes are not checked here. Raises RegistryError where it is absent or larger than `size`
        bytes, UnreachableError where it does not come whole, or nobody wants it any more."""
        for number in range(_TRIES):
            try:
                self._more(digest, size, into, wanted)
            except UnreachableError:
                if number + 1 == _TRIES or not wanted():
                    raise
                _pause(number, "")
            else:
                return

    def _more(self, digest: Digest, size: int, into: Path, wanted: Callable[[], bool]) -> None:
        have = into.stat().st_size if into.exists() else 0
        if have == size and size:
            return
        with self._asked("GET", f"blobs/{digest}", have) as answer:
            if answer.status_code == 404:
                raise RegistryError(f"{self.location} has no blob {digest}")
            if answer.status_code == 200:
                have = 0  # it does not know ranges
            with into.open("r+b" if have else "wb") as file:
                file.seek(have)
                for piece in answer.iter_raw():
                    have += len(piece)
                    if have > size:
                        raise RegistryError(
                            f"{self.location} sent more than {size} bytes of {digest}"
                        )
                    file.write(piece)
                    if not wanted():
                        raise UnreachableError(f"fetching {digest} was given up")
        if have < size:
            raise UnreachableError(f"{self.location} sent {have} of {size} bytes of {digest}")

    # -- asking

    def _there(self, kind: str, name: str) -> bool:
        with self._asked("HEAD", f"{kind}/{name}") as answer:
            return answer.status_code == 200

    def _get(self, reference: str) -> bytes | None:
        """A manifest's bytes by digest or tag; None where absent."""
        with self._asked("GET", f"manifests/{reference}") as answer:
            if answer.status_code == 404:
                return None
            content = _body(answer, self.location)
            said = answer.headers.get("Docker-Content-Digest", "")
        if said.startswith("sha256:") and said != str(Digest.of(content)):
            raise RegistryError(f"{self.location} announced {said} and sent other bytes")
        return content

    @contextmanager
    def _asked(self, method: str, path: str, start: int = 0) -> Iterator[httpx.Response]:
        """The answer, with status 200 or 404, or 206 where it begins at `start`; its body is not read yet."""
        url = f"{self.repository.base}/{path}"
        for number in range(_TRIES):
            try:
                answer = self._send(method, url, start)
            except httpx.HTTPError as exc:
                if number + 1 == _TRIES:
                    raise self._unreachable(type(exc).__name__, exc) from exc
                _pause(number, "")
                continue
            try:
                if answer.status_code in (200, 404) or (start and _begins(answer, start)):
                    yield answer
                    return
            except httpx.HTTPError as exc:
                raise self._unreachable("the answer broke off", exc) from exc
            finally:
                answer.close()
            if answer.status_code not in _TRANSIENT or number + 1 == _TRIES:
                raise self._refused(answer)
            _pause(number, answer.headers.get("Retry-After", ""))

    def _send(self, method: str, url: str, start: int) -> httpx.Response:
        sent = self._token
        answer = self._follow(method, url, sent, start)
        if answer.status_code != 401:
            return answer
        with self._lock:  # another thread may have answered the same challenge meanwhile
            if self._token == sent:
                self._answered(answer.headers.get("WWW-Authenticate", ""))
            token = self._token
        if token == sent:
            return answer
        answer.close()
        return self._follow(method, url, token, start)

    def _follow(self, method: str, url: str, token: str, start: int) -> httpx.Response:
        """Send, and follow redirects; what says who we are goes to the registry's own host alone."""
        own = httpx.URL(url)
        at = own
        for _ in range(_REDIRECTS + 1):
            headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity"}
            if start:
                headers["Range"] = f"bytes={start}-"
            if (at.scheme, at.netloc) == (own.scheme, own.netloc) and token:
                headers["Authorization"] = token
            request = self._client.build_request(method, at, headers=headers)
            answer = self._client.send(request, stream=True)
            if answer.status_code not in (301, 302, 303, 307, 308):
                return answer
            answer.close()
            at = at.join(answer.headers.get("Location", ""))  # httpx has read it: a URL
            if not self._private(at):
                raise RegistryError(f"{self.location} redirects to {at.host} without TLS")
        raise RegistryError(f"{self.location} redirects more than {_REDIRECTS} times")

    def _private(self, url: httpx.URL) -> bool:
        """Whether nobody on the way can read: TLS, or from this machine to itself. No registry
        elsewhere leads us to what listens here."""
        own = httpx.URL(self.repository.base)
        local = url.scheme == "http" and _loopback(url.host)
        return (url.scheme == "https" and bool(url.host)) or (local and _loopback(own.host))

    def _answered(self, challenge: str) -> None:
        """Take what a 401 can be answered with, if there is anything (RFC 9110, 11.6.1)."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._credentials is not None:
            self._token = self._credentials.basic
        elif scheme.lower() == "bearer":
            self._token = self._bearer(dict(_PARAM.findall(rest)))

    def _bearer(self, asked: dict[str, str]) -> str:
        """A token of the realm that the registry names (distribution's token specification)."""
        try:
            realm = httpx.URL(asked.get("realm", ""))
        except httpx.InvalidURL:
            return ""
        if not self._private(realm):
            return ""
        params = {"scope": f"repository:{self.repository.path}:pull"}
        if asked.get("service"):
            params["service"] = asked["service"]
        headers = {"Accept-Encoding": "identity"}
        if self._credentials is not None and _same_site(realm.host, self.repository.host):
            headers["Authorization"] = self._credentials.basic
        with self._client.stream("GET", realm, params=params, headers=headers) as answer:
            if answer.status_code != 200:
                return ""
            content = _body(answer, realm.host)
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            return ""
        token = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else ""
        return f"Bearer {token}" if isinstance(token, str) and token.isascii() and token else ""

    # -- saying no

    def _unreachable(self, what: str, exc: httpx.HTTPError) -> UnreachableError:
        said = " ".join(str(exc).split())
        return UnreachableError(
            f"{self.repository.host} cannot be asked: {said or what}",
            hint="Check the network and the registry",
            retryable=True,
        )

    def _refused(self, answer: httpx.Response) -> UnreachableError:
        host, code = self.repository.host, answer.status_code
        if code in (401, 403):
            return UnreachableError(
                f"{host} does not accept the credentials, or there are none ({code})",
                hint=f"Run: docker login {host}",
            )
        return UnreachableError(
            f"{host} answers {code} {answer.reason_phrase}".rstrip(),
            hint="Try again, or ask who runs the registry",
            retryable=code in _TRANSIENT,
        )


@cache
def _authorities() -> ssl.SSLContext:
    """Whom TLS trusts, read once: that takes longer than most answers."""
    return httpx.create_ssl_context()


def _body(answer: httpx.Response, location: str) -> bytes:
    found = bytearray()
    end = time.monotonic() + _LONGEST_ANSWER
    for piece in answer.iter_raw():
        found += piece
        if len(found) > LARGEST:
            raise RegistryError(f"{location} sent a manifest of more than {LARGEST} bytes")
        if time.monotonic() > end:
            raise UnreachableError(f"{location} takes over {_LONGEST_ANSWER:g} s to answer")
    return bytes(found)


def _begins(answer: httpx.Response, start: int) -> bool:
    """Whether it is the part of a blob that was asked for (RFC 9110, 15.3.7)."""
    told = answer.headers.get("Content-Range", "")
    return answer.status_code == 206 and told.startswith(f"bytes {start}-")


def _pause(number: int, retry_after: str) -> None:
    asked = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    time.sleep(min(_LONGEST_PAUSE, max(asked, _PAUSE * 2**number)))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _same_site(realm: str, registry: str) -> bool:
    """Whether a realm may be told who we are: the registry's own host, or one of the same domain.

    Public registries keep their token server beside them: `auth.docker.io`, `registry-1.docker.io`."""
    host = urlsplit(f"//{registry}").hostname or ""
    if _loopback(realm) or _loopback(host):
        return _loopback(realm) and _loopback(host)
    domain = host.partition(".")[2]
    beside = "." in domain and (realm == domain or realm.endswith(f".{domain}"))
    return realm == host or beside
