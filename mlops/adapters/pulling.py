"""Brings an image from a registry into a layout: blobs first, the manifest last.

So whatever has its manifest there is whole, and a pull that broke off leaves nothing. Only what
this machine can run is taken of an index.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry
from mlops.adapters.registry.images import blobs as image_blobs
from mlops.adapters.rootfs import INDEXES, for_this_machine
from mlops.domain.digest import Digest
from mlops.errors import RegistryError
from mlops.ports import ImageStore

LARGEST = 64 << 30  # bytes of an image's blobs, compressed
SPARED = 1 << 30  # bytes that a pull leaves free on the disk
_AT_ONCE = 4  # blobs on their way together


def pull(
    registry: Registry, digest: Digest, into: OciLayout, wanted: Callable[[], bool] = lambda: True
) -> None:
    """Bring the image here, if it is not; `wanted` is asked on the way whether to go on.

    Raises RegistryError where it is absent, damaged, too large for us or for the disk, or has
    nothing for this machine; UnreachableError where the registry does not give it.
    """
    if into.has_manifest(digest):
        return
    content = registry.manifest(digest)
    document = _parse(content, digest)
    if _is_index(document):
        chosen = for_this_machine(document, digest)
        below = registry.manifest(chosen)
        _bring(registry, chosen, below, into, wanted)
    else:
        _bring(registry, digest, content, into, wanted)
        return
    into.put_manifest(content, str(document.get("mediaType", "")), registry.location)


def _parse(content: bytes, digest: Digest) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise RegistryError(f"manifest {digest} is not JSON") from exc
    if not isinstance(document, dict):
        raise RegistryError(f"manifest {digest} is no JSON object")
    return document


def _is_index(document: Mapping[str, Any]) -> bool:
    return document.get("mediaType") in INDEXES or "manifests" in document


def _bring(
    registry: Registry,
    digest: Digest,
    content: bytes,
    into: OciLayout,
    wanted: Callable[[], bool],
) -> None:
    document = _parse(content, digest)
    bring_blobs(registry, image_blobs(document, digest), into, wanted)
    into.put_manifest(content, str(document.get("mediaType", "")), registry.location)


def bring_blobs(
    registry: Registry,
    blobs: Mapping[Digest, int],
    into: ImageStore,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Bring the blobs (with their sizes in bytes) that a store lacks, several at once. Raises as `pull`."""
    missing = {digest: size for digest, size in blobs.items() if not into.has_blob(digest)}
    needed = sum(missing.values())
    if needed > LARGEST:
        raise RegistryError(f"the image takes {needed} bytes, {LARGEST} are allowed")
    with into.staging() as staging:
        free = shutil.disk_usage(staging).free
        if needed > free - SPARED:
            raise RegistryError(
                f"the image takes {needed >> 20} MiB, of {free >> 20} MiB that are free on the disk",
                hint=f"Make room for {into.location}, or set MLOPS_CACHE to another directory",
            )
        failed = threading.Event()

        def bring(digest: Digest, size: int) -> None:
            path = staging / digest.hex
            registry.fetch(digest, size, path, lambda: wanted() and not failed.is_set())
            into.put_blob(path, digest, known=True)

        order = sorted(missing.items(), key=lambda each: -each[1])
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            doing = [pool.submit(bring, digest, size) for digest, size in order]
            try:
                for done in as_completed(doing):
                    done.result()
            except BaseException:
                failed.set()  # the others end at their next piece
                pool.shutdown(wait=True, cancel_futures=True)
                raise
