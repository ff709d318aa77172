"""Blobs on their way up: mounted, whole, or in chunks that go on where a connection broke.

OCI distribution-spec 1.1, pushing blobs. Small ones are sent whole; of a large one each chunk is
told of, and after a break the registry is asked how far it got. A registry that has lost the upload,
or got a part of it that nobody told of (docker-registry 2 then cancels it), is sent it from the start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.adapters.barehttpx import httpx
from mlops.adapters.registry import wire
from mlops.adapters.registry.wire import TRIES, Body, Call
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UnreachableError

if TYPE_CHECKING:
    from mlops.adapters.registry.client import Registry

CHUNK = 64 << 20  # bytes; what is smaller is sent whole
_PIECE = 1 << 20  # bytes read at once
_SLOW = 300.0  # seconds that a registry may take to put a blob away
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_BINARY = {"Content-Type": "application/octet-stream"}
_STARTED, _DONE = frozenset((202, 404)), frozenset((200, 201, 202, 204))
_LOST = frozenset((404, 416))  # the registry knows the upload no more, or not so far


@dataclass(slots=True)
class _Upload:
    """A session of the registry: where it goes on, how much it has, how small a chunk may be."""

    location: str
    have: int = 0
    least: int = 0


def push(registry: Registry, digest: Digest, file: Callable[[], Path], source: str = "") -> str:
    """As `Registry.push_blob`, of a blob that is not there; `file` brings it here where it must be sent."""
    upload = _mount(registry, digest, source) if source else None
    if source and upload is None:
        return "mounted"
    path = file()
    try:
        size = path.stat().st_size
    except OSError as exc:
        raise RegistryError(f"cannot read {path}: {exc.strerror}") from exc
    for number in range(TRIES):
        try:
            upload = upload or _begin(registry)
            _send(registry, upload, digest, path, size)
        except UnreachableError as exc:
            if number + 1 == TRIES or not exc.retryable:
                raise
            wire.pause(number)
            upload = _resumed(registry, upload)
        else:
            return "pushed"
    raise AssertionError("the last try ends or raises")


def _mount(registry: Registry, digest: Digest, source: str) -> _Upload | None:
    """None where the blob is here now; else the session that the registry began instead."""
    target = registry.target(f"blobs/uploads/?mount={digest}&from={source}")
    call = Call(
        "POST", target, registry.may_push(source), good=frozenset((201, 202, 404)), headers=_BINARY,
        body=lambda: iter(()),
    )  # fmt: skip
    with registry.wire.asked(call) as answer:
        if answer.status_code == 202:
            return _session(registry, answer)
    return None if registry.has_blob(digest) else _begin(registry)


def _begin(registry: Registry) -> _Upload:
    target = registry.target("blobs/uploads/")
    call = Call(
        "POST", target, registry.may_push(), good=_STARTED, headers=_BINARY, body=lambda: iter(())
    )
    with registry.wire.asked(call) as answer:
        if answer.status_code == 404:
            raise RegistryError(
                f"{registry.repository.host} has no repository {registry.repository.path}, and does"
                " not make it by itself",
                hint="Create it there, and repeat",
            )
        return _session(registry, answer)


def _session(registry: Registry, answer: httpx.Response, have: int = 0) -> _Upload:
    told = answer.headers.get("Location", "")
    if not told:
        raise RegistryError(f"{registry.location} begins an upload and does not say where it goes")
    least = answer.headers.get("OCI-Chunk-Min-Length", "")
    fits = least.isascii() and least.isdigit() and len(least) < 12
    try:
        location = str(answer.request.url.join(told))
    except httpx.InvalidURL as exc:
        raise RegistryError(f"{registry.location} says an upload goes nowhere") from exc
    return _Upload(location, have, int(least) if fits else 0)


def _send(registry: Registry, upload: _Upload, digest: Digest, path: Path, size: int) -> None:
    """Send what is missing, and close. Raises UnreachableError where the connection breaks."""
    chunk = max(CHUNK, upload.least)
    while size - upload.have > chunk:
        _patch(registry, upload, path, min(chunk, size - upload.have))
    rest = size - upload.have
    url = httpx.URL(upload.location).copy_merge_params({"digest": str(digest)})
    headers = dict(_BINARY)
    if upload.have and rest:
        headers["Content-Range"] = f"{upload.have}-{size - 1}"
    call = Call(
        "PUT", str(url), registry.may_push(), good=_DONE | _LOST, headers=headers,
        body=_part(path, upload.have, rest), length=rest, again=False, slow=_SLOW,
    )  # fmt: skip
    with registry.wire.asked(call) as answer:
        _known(registry, answer)
        said = answer.headers.get("Docker-Content-Digest", "")
    if said.startswith("sha256:") and said != str(digest):
        raise RegistryError(f"{registry.location} says it stored {said}, and was sent {digest}")


def _patch(registry: Registry, upload: _Upload, path: Path, length: int) -> None:
    start = upload.have
    headers = {**_BINARY, "Content-Range": f"{start}-{start + length - 1}"}
    call = Call(
        "PATCH", upload.location, registry.may_push(), good=_DONE | _LOST, headers=headers,
        body=_part(path, start, length), length=length, again=False, slow=_SLOW,
    )  # fmt: skip
    with registry.wire.asked(call) as answer:
        _known(registry, answer)
        have = _told(answer, start + length)
        new = _session(registry, answer, have)
    if not start < have <= start + length:
        raise RegistryError(f"{registry.location} has {have} bytes of {start + length} sent")
    upload.location, upload.have = new.location, new.have


def _known(registry: Registry, answer: httpx.Response) -> None:
    if answer.status_code in _LOST:
        raise UnreachableError(f"{registry.location} has lost an upload", retryable=True)


def _resumed(registry: Registry, upload: _Upload | None) -> _Upload | None:
    """How far the registry got; None where it must be sent from the start."""
    if upload is None:
        return None
    call = Call(
        "GET", upload.location, registry.may_push(), good=frozenset((200, 202, 204)), again=False
    )
    with suppress(RegistryError), registry.wire.asked(call) as answer:
        have = _told(answer, 0)
        location = answer.headers.get("Location") or upload.location
        there = _Upload(str(answer.request.url.join(location)), have, upload.least)
        return there if have >= upload.have else None
    return None


def _told(answer: httpx.Response, else_: int) -> int:
    """How many bytes the registry has: `Range: 0-N`, where N is the last one's place."""
    match = _RANGE.fullmatch(answer.headers.get("Range", ""))
    if match is None:
        return else_
    last = int(match.group(1))
    return last + 1 if last else 0  # `0-0` is what an empty one says


def _part(path: Path, start: int, length: int) -> Body:
    def pieces() -> Iterator[bytes]:
        left = length
        with path.open("rb") as file:
            file.seek(start)
            while left:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    raise RegistryError(f"{path} became shorter while it was sent")
                left -= len(piece)
                yield piece

    return pieces
