"""A request's body: as long as it may be, as slow as it may be, or not read at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import Receive

_THROWN_AWAY = (
    32 << 20
)  # bytes beyond which nobody waits for the end of what is refused: forges send 25 MiB


class SlowError(Exception):
    """The body did not arrive in time, or whoever sent it has gone."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body that is not wanted, and how that is answered."""

    status: int
    reason: str


_LARGE = Body(413, "too large")
_KIND = Body(415, "unsupported media type")


async def read_body(
    headers: Sequence[tuple[bytes, bytes]], receive: Receive, most: int, seconds: float
) -> bytes | Body:
    """The body, or why it is not read. What is too large is read and thrown away up to a limit, so that whoever
    sent it hears the answer. Raises SlowError."""
    refused = _unwanted(headers, most)
    if refused is not None and any(name == b"expect" for name, _ in headers):
        return refused  # who asks before sending has sent nothing
    try:
        async with asyncio.timeout(seconds):
            if refused is None:
                pieces, size, more = [], 0, True
                while more and size <= most:
                    piece, more = await _piece(receive)
                    pieces.append(piece)
                    size += len(piece)
                if size <= most:
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
                del pieces
            await _throw_away(receive)
    except TimeoutError as exc:
        raise SlowError from exc
    return refused or _LARGE


async def discard(receive: Receive, seconds: float) -> None:
    """Read a body that nobody asked for, so that the answer arrives; not for long."""
    try:
        async with asyncio.timeout(seconds):
            await _throw_away(receive)
    except (TimeoutError, SlowError):
        return


def _unwanted(headers: Sequence[tuple[bytes, bytes]], most: int) -> Body | None:
    kind = b""
    for name, value in headers:
        if name == b"content-length" and (not value.isdigit() or int(value[:20]) > most):
            return _LARGE
        if name == b"content-type":
            kind = value
        if name == b"content-encoding" and value != b"identity":
            return _KIND
    media = kind.split(b";", 1)[0].strip().lower()
    return None if media == b"application/json" else _KIND


async def _throw_away(receive: Receive) -> None:
    size, more = 0, True
    while more and size <= _THROWN_AWAY:
        piece, more = await _piece(receive)
        size += len(piece)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise SlowError
    return message.get("body", b""), message.get("more_body", False)
