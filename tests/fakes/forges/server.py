"""What the fakes share: HTTP, ETags, rate limits, pages, faults on demand, and a book of what was asked."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

TOKEN = "t0ken-of-tests"
WHEN = "2026-01-31T12:00:00Z"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str  # below the API's base, as sent
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Fault:
    """What is answered instead; `path` is a pattern of the paths that it is for. `status` 0 hangs up; `after`
    lets the request be carried out first, so that only the answer is lost."""

    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    after: bool = False


@dataclass(frozen=True)
class Reply:
    status: int
    document: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Status:
    """A commit status as it was said."""

    number: int
    context: str
    state: str
    description: str
    link: str


@dataclass
class Pull:
    """A pull request. `fork`: its branch is another repository's."""

    number: int
    branch: str
    into: str
    title: str
    body: str
    state: str = "open"
    head: str = ""
    waits: bool = False
    fork: bool = False


Route = Callable[..., Reply]


def sha(branch: str) -> str:
    return hashlib.sha1(branch.encode()).hexdigest()  # noqa: S324 - as git names commits


class FakeForge:
    """One repository, `ada/ml`. `routes` are (method, pattern of the path, name of the method that answers)."""

    prefix: ClassVar[str]
    size: ClassVar[str]  # the query that asks for a page's size
    routes: ClassVar[tuple[tuple[str, str, str], ...]]

    def __init__(self, repository: str = "ada/ml") -> None:
        self.repository = repository
        self.statuses: dict[str, list[Status]] = {}
        self.pulls: list[Pull] = []
        self.heads: Callable[[str], str] = sha
        self.asked: list[Asked] = []
        self.answered: list[tuple[Asked, Reply]] = []
        self.faults: list[Fault] = []
        self.remaining: int | None = None  # of the rate limit
        self.reset = 0
        self.longest_page = 100
        self.pushes = True
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._server = _Quiet(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def web(self) -> str:
        return f"http://{self.host}"

    @property
    def api(self) -> str:
        return self.web + self.prefix

    def writes(self) -> list[Asked]:
        """What was asked to be changed."""
        return [each for each in self.asked if each.method != "GET"]

    # -- answering

    def knows(self, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") in (f"Bearer {TOKEN}", f"token {TOKEN}")

    def answer(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            if not self.knows(asked.headers):
                return Reply(401, {"message": "Bad credentials"})
            if self.remaining is not None:
                if self.remaining == 0:
                    return Reply(403, {"message": "API rate limit exceeded"}, self.limits())
                self.remaining -= 1
            for method, pattern, name in self.routes:
                match = re.fullmatch(pattern, asked.path)
                if match is not None and method == asked.method:
                    return getattr(self, name)(asked, *map(unquote, match.groups()))
            return Reply(404, {"message": "Not Found"})

    def limits(self) -> Mapping[str, str]:
        if self.remaining is None:
            return {}
        return {"X-RateLimit-Remaining": str(self.remaining), "X-RateLimit-Reset": str(self.reset)}

    def fault(self, path: str, *, after: bool) -> Fault | None:
        for each in self.faults:
            if each.after == after and re.search(each.path, path):
                self.faults.remove(each)
                return each
        return None

    def paged(self, asked: Asked, items: list[Any]) -> Reply:
        """One page of a list, with the Link of the next (RFC 8288)."""
        size = min(self.longest_page, int(asked.query.get(self.size, 30)))
        page = int(asked.query.get("page", 1))
        here = items[(page - 1) * size : page * size]
        if page * size >= len(items):
            return Reply(200, here)
        query = urlencode({**asked.query, "page": page + 1})
        following = f'<{self.api}/{asked.path}?{query}>; rel="next"'
        return Reply(200, here, {"Link": following})

    # -- state

    def add_status(self, sha: str, context: str, state: str, description: str, link: str) -> Status:
        kept = self.statuses.setdefault(sha, [])
        number = 1 + sum(map(len, self.statuses.values()))
        kept.append(Status(number, context, state, description, link))
        return kept[-1]

    def newest(self, sha: str) -> list[Status]:
        """The last status of each context, newest first."""
        found: dict[str, Status] = {}
        for each in reversed(self.statuses.get(sha, [])):
            found.setdefault(each.context, each)
        return list(found.values())

    def said(self, sha: str) -> dict[str, tuple[str, str]]:
        """Context → state and description."""
        return {each.context: (each.state, each.description) for each in self.newest(sha)}

    def add_pull(self, branch: str, into: str, title: str, body: str) -> Pull:
        pull = Pull(len(self.pulls) + 1, branch, into, title, body, head=self.heads(branch))
        self.pulls.append(pull)
        return pull

    def open_pulls(self) -> list[Pull]:
        return [each for each in self.pulls if each.state == "open"]

    def open_of(self, branch: str, into: str) -> Pull | None:
        ours = (each for each in self.open_pulls() if not each.fork)
        return next((each for each in ours if (each.branch, each.into) == (branch, into)), None)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is none."""


def _handler(forge: FakeForge) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send(*self.reply(self.read()))

        def read(self) -> Asked:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = parts.path.removeprefix(forge.prefix).lstrip("/")
            return Asked(
                self.command,
                "graphql" if parts.path == "/api/graphql" else path,
                {name: values[0] for name, values in parse_qs(parts.query).items()},
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(content) if content else None,
            )

        def reply(self, asked: Asked) -> tuple[int, bytes, Mapping[str, str]]:
            fault = forge.fault(asked.path, after=False)
            if fault is not None:
                forge.asked.append(asked)
                return fault.status, fault.body, fault.headers
            reply = forge.answer(asked)
            forge.answered.append((asked, reply))
            fault = forge.fault(asked.path, after=True)
            if fault is not None:
                return fault.status, fault.body, fault.headers
            body = b"" if reply.document is None else json.dumps(reply.document).encode()
            tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
            headers = {**forge.limits(), **reply.headers, "ETag": tag}
            same = self.command == "GET" and self.headers.get("If-None-Match") == tag
            return (304, b"", headers) if same else (reply.status, body, headers)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - as http.server names them

        def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status not in (204, 304):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
