"""Whether an image is whole in its store: manifest, configuration and every layer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from threading import Thread
from typing import Any

from mlops.domain.digest import Digest
from mlops.errors import MlopsError, RegistryError
from mlops.ports import ImageReader

_DEEPEST = 3  # an index of indexes is legal; more is a trap
_MOST = 1000  # blobs of one image
_AT_ONCE = 8


def missing(images: ImageReader, digest: Digest) -> str:
    """What of an image the store lacks, in words; empty where all of it is there.

    Of an index every manifest is looked at (OCI image-spec 1.1, image-index.md). Raises RegistryError
    where the content is not what it must be, or the store cannot be asked.
    """
    blobs: dict[Digest, None] = {}
    lacking = _manifests(images, digest, blobs, 0)
    if lacking:
        return lacking
    if len(blobs) > _MOST:
        raise RegistryError(f"{digest} has more than {_MOST} layers")
    for blob, there in _asked(images, tuple(blobs)):
        if not there:
            return f"{images.location} has no layer {blob}"
    return ""


def _manifests(images: ImageReader, digest: Digest, blobs: dict[Digest, None], depth: int) -> str:
    if not images.has_manifest(digest):
        return f"{images.location} has no manifest {digest}"
    document = _document(images, digest)
    if depth < _DEEPEST:
        for entry in document.get("manifests", ()):
            lacking = _manifests(images, Digest.parse(entry["digest"]), blobs, depth + 1)
            if lacking:
                return lacking
    parts = [document["config"]] if "config" in document else []
    for part in [*parts, *document.get("layers", ())]:
        if not part.get("urls"):  # a foreign layer lies elsewhere
            blobs[Digest.parse(part["digest"])] = None
    return ""


def _document(images: ImageReader, digest: Digest) -> Mapping[str, Any]:
    try:
        found = json.loads(images.manifest(digest))
    except (ValueError, RecursionError) as exc:
        raise RegistryError(f"{digest} in {images.location} is no manifest") from exc
    if not isinstance(found, dict):
        raise RegistryError(f"{digest} in {images.location} is no manifest")
    return found


def _asked(images: ImageReader, blobs: tuple[Digest, ...]) -> Iterator[tuple[Digest, bool]]:
    """Each blob and whether it is there, several asked at once; in order.

    Daemon threads: a store that hangs must not hold up the exit.
    """
    waiting: SimpleQueue[Digest | None] = SimpleQueue()
    answers: SimpleQueue[tuple[Digest, bool | MlopsError]] = SimpleQueue()

    def work() -> None:
        while (blob := waiting.get()) is not None:
            try:
                answers.put((blob, images.has_blob(blob)))
            except MlopsError as exc:
                answers.put((blob, exc))

    threads = min(_AT_ONCE, len(blobs))
    for blob in (*blobs, *[None] * threads):
        waiting.put(blob)
    for _ in range(threads):
        Thread(target=work, daemon=True).start()
    found = dict(answers.get() for _ in blobs)
    for blob in blobs:
        answer = found[blob]
        if isinstance(answer, MlopsError):
            raise answer
        yield blob, answer
