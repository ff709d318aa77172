"""Stands between a client and a real registry, and misbehaves where a test asks for it."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass
class Asked:
    """A request as it came; `body` is empty where it was cut."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Answer:
    """Say this instead of asking the registry."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Cut:
    """Hand on so many bytes of the request's body, then close both connections."""

    after: int


class Forget(Exception):  # noqa: N818 - an order, no error
    """Hand the request on, and close without an answer."""


Rule = Callable[[Asked], "Answer | Cut | type[Forget] | None"]


class Between:
    """A proxy; `rule` sees each request before it is handed on, `seen` keeps those that were."""

    def __init__(self, upstream: str, rule: Rule = lambda _: None, *, strip: bool = False) -> None:
        """`strip` takes off who the client says it is: the proxy alone checks that."""
        self.seen: list[Asked] = []
        self.rule = rule
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                headers = dict(self.headers.items())
                length = int(headers.get("Content-Length") or 0)
                asked = Asked(self.command, self.path, headers)
                if self.command == "POST":  # forms; nothing that tests cut
                    asked.body, length = self.rfile.read(length), 0
                found = outer.rule(asked)
                if isinstance(found, Cut):
                    outer.cut(upstream, asked, self.rfile.read(min(length, found.after)))
                    self.close_connection = True
                    return
                asked.body += self.rfile.read(length)
                outer.seen.append(asked)
                if isinstance(found, Answer):
                    self.say(found.status, found.headers, found.body)
                    return
                if strip:
                    asked.headers.pop("Authorization", None)
                connection = http.client.HTTPConnection(upstream, timeout=60)
                with contextlib.closing(connection):
                    connection.request(asked.method, asked.path, asked.body or None, asked.headers)
                    answer = connection.getresponse()
                    body = answer.read()
                    if found is Forget:
                        self.close_connection = True
                        return
                    self.say(answer.status, dict(answer.getheaders()), body)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_any  # noqa: N815

            def say(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "date"):
                        self.send_header(name, value.replace("@", outer.host))
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that went away is what some tests are about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @staticmethod
    def cut(upstream: str, asked: Asked, part: bytes) -> None:
        connection = http.client.HTTPConnection(upstream, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(
                asked.method, asked.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in asked.headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(part)

    def asked(self, method: str, word: str = "") -> list[Asked]:
        return [each for each in self.seen if each.method == method and word in each.path]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
