"""Brings an image from a registry into a layout: blobs first, the manifest last.

So whatever has its manifest there is whole, and a pull that broke off leaves nothing. Only what
this machine can run is taken of an index.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry
from mlops.adapters.rootfs import INDEXES, for_this_machine
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UsageError

LARGEST = 64 << 30  # bytes of an image's blobs, compressed
SPARED = 1 << 30  # bytes that a pull leaves free on the disk
_MOST_LAYERS = 256


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


def _blobs(manifest: Mapping[str, Any], digest: Digest) -> Iterator[tuple[Digest, int]]:
    """Config and layers with their sizes in bytes."""
    try:
        described = [manifest["config"], *manifest["layers"]]
        if len(described) > _MOST_LAYERS:
            raise RegistryError(f"image {digest} has over {_MOST_LAYERS} layers")
        for each in described:
            size = each["size"]
            if not isinstance(size, int) or size < 0:
                raise TypeError(size)
            yield Digest.parse(each["digest"]), size
    except (KeyError, TypeError, UsageError) as exc:
        raise RegistryError(f"{digest} is no image that can be run") from exc


def _bring(
    registry: Registry,
    digest: Digest,
    content: bytes,
    into: OciLayout,
    wanted: Callable[[], bool],
) -> None:
    document = _parse(content, digest)
    _bring_blobs(registry, dict(_blobs(document, digest)), into, wanted)
    into.put_manifest(content, str(document.get("mediaType", "")), registry.location)


def _bring_blobs(
    registry: Registry,
    blobs: Mapping[Digest, int],
    into: OciLayout,
    wanted: Callable[[], bool],
) -> None:
    missing = {digest: size for digest, size in blobs.items() if not into.has_blob(digest)}
    needed = sum(missing.values())
    if needed > LARGEST:
        raise RegistryError(f"the image takes {needed} bytes, {LARGEST} are allowed")
    with into.staging() as staging:
        free = shutil.disk_usage(staging).free
        if needed > free - SPARED:
            raise RegistryError(
                f"the image takes {needed >> 20} MiB, of {free >> 20} MiB that are free on the disk",
                hint=f"Make room for {into.root}, or set MLOPS_CACHE to another directory",
            )
        for digest, size in missing.items():
            path = staging / digest.hex
            registry.fetch(digest, size, path, wanted)
            _check(path.stat().st_size, size, digest, registry)
            into.put_blob(path, digest)


def _check(found: int, size: int, digest: Digest, registry: Registry) -> None:
    if found != size:
        raise RegistryError(f"{registry.location} has {found} bytes for {digest}, not {size}")
