"""One connection: uvicorn's own, with limits that it lacks on how slow, how long and how many.

uvicorn bounds neither the time that a request's head may take, nor its size, nor how many requests one
connection may send ahead; the parser (llhttp) refuses what is no HTTP, or has two lengths.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEAD_SECONDS = 10.0
WHOLE_SECONDS = 30.0  # from the end of the head to the last byte of the answer
HEAD_BYTES = 32 << 10
MOST_HEADERS = 100
_AHEAD = 8  # requests that wait on one connection
_PHRASES = {
    408: b"408 Request Timeout",
    431: b"431 Request Header Fields Too Large",
    503: b"503 Service Unavailable",
}


class _TooLargeError(Exception):
    """The head of a request is, or too many requests are sent ahead."""


class Connection(HttpToolsProtocol):
    """A connection that ends by itself; `turned_away` hears the reason."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        most: int,
        turned_away: Callable[[str], None],
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._most = most
        self._turned_away = turned_away
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = True  # or between two requests
        self._begun = False  # whether a byte of the head has come
        self._head = 0  # bytes of the head that came so far
        self._named = 0  # bytes of its URL and headers
        self._too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._most:
            self._end("too_many", 503)
        else:
            self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whoever has sent all may say so, and is answered; whoever breaks off is let go at once."""
        if self._answering and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        return False

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._deadline is None:  # the first byte of the next request on this connection
            self._expect(HEAD_SECONDS)
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > HEAD_BYTES and not self.transport.is_closing():
            self._end("head_too_large", 431)

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= _AHEAD:
            self._too_large = True
            raise _TooLargeError
        self._in_head, self._begun, self._named = True, True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if len(self.headers) >= MOST_HEADERS:
            self._too_large = True
            raise _TooLargeError
        if self._in_head:  # what follows a body in pieces would stand among the headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._begun, self._head = False, False, 0
        self._expect(WHOLE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True

    def on_response_complete(self) -> None:
        if not self.transport.is_closing():  # where it is, the deadline stands until it has closed
            self._expect(WHOLE_SECONDS if self.pipeline else HEAD_SECONDS if self._begun else None)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser makes of an error, and of one of ours."""
        if self._too_large:
            self._end("head_too_large", 431)
        else:
            self._turned_away("no_http")
            super().send_400_response(msg)

    @property
    def _answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._named += size
        if self._named > HEAD_BYTES:
            self._too_large = True
            raise _TooLargeError

    def _expect(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing() or self._answering:
            self._turned_away("too_slow")
            self.transport.abort()
        else:
            self._end("too_slow", 408)

    def _end(self, reason: str, status: int) -> None:
        self._turned_away(reason)
        self.transport.write(
            b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n%s\r\n"
            % (_PHRASES[status], b"retry-after: 10\r\n" if status == 503 else b"")
        )
        self.transport.close()
        self._expect(HEAD_SECONDS)  # for what it does not read
