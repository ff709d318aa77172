"""A DVC remote by http that takes what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Remote:
    """`held` is what it was sent, by path."""

    url: str
    held: dict[str, bytes]


@contextmanager
def remote(host: str = "127.0.0.1") -> Iterator[Remote]:
    """Serve one on a free port until the block ends."""
    held: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(held.get(self.path), body=True)

        def do_HEAD(self) -> None:
            self._answer(held.get(self.path), body=False)

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                held[self.path] = b"".join(iter(self._chunk, b""))
            else:
                held[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(b"", body=True)

        def _chunk(self) -> bytes:
            content = self.rfile.read(int(self.rfile.readline(), 16))
            self.rfile.readline()
            return content

        def _answer(self, content: bytes | None, *, body: bool) -> None:
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if body:
                self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Remote(f"http://{host}:{server.server_port}/dvc", held)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
