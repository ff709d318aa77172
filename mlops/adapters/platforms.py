"""Which image of an index is for a platform (OCI image-spec 1.1, image-index.md, `platform`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops.adapters import ociindex
from mlops.domain.digest import Digest
from mlops.errors import BuildError, RegistryError

INDEXES = (
    ociindex.INDEX_TYPE,
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_DEEPEST = 4
_LARGEST_CONFIG = 4 << 20  # bytes
# what a platform without a variant means (containerd's normalisation)
_USUAL_VARIANT = {"amd64": "v1", "arm64": "v8", "arm": "v7"}


def chosen(manifest: Callable[[Digest], bytes], top: Digest, platform: str, ref: str) -> Digest:
    """The manifest for the platform (`linux/arm/v7`), `top` itself or below it. Raises BuildError that
    lists the platforms there are."""
    there: dict[str, None] = {}
    for found, digest in _offered(manifest, top, 0):
        if not found or _usual(found) == _usual(platform):
            return digest
        there[found] = None
    raise BuildError(
        f"the base {ref} has no image for {platform}",
        hint=f"There are: {', '.join(there) or 'none'}. Name one as build: {{platforms: […]}}, or another base",
    )


def _offered(
    manifest: Callable[[Digest], bytes], top: Digest, depth: int
) -> Iterator[tuple[str, Digest]]:
    """Platform and digest of every image; no platform where the top one is an image itself."""
    document = ociindex.parse(manifest(top))
    if document.get("mediaType") not in INDEXES and "manifests" not in document:
        yield "", top
        return
    for entry in ociindex.listed(document):
        if entry.get("mediaType") in INDEXES:
            if depth < _DEEPEST:
                yield from _offered(manifest, ociindex.digest_of(entry), depth + 1)
        elif isinstance(about := entry.get("platform"), Mapping) and about.get("os") != "unknown":
            yield _written(about), ociindex.digest_of(entry)


def check(config: Path, platform: str, ref: str) -> None:
    """See that an image's configuration is for the platform: an index may say so of another one, and
    of an image alone nothing else does. Raises BuildError, RegistryError where it is none."""
    try:
        if config.stat().st_size > _LARGEST_CONFIG:
            raise RegistryError(f"the configuration of the base {ref} is too large")
        found = _written(json.loads(config.read_bytes()))
    except (OSError, ValueError, RecursionError, AttributeError) as exc:
        raise RegistryError(f"the base {ref} has no configuration that can be read") from exc
    if _usual(found) != _usual(platform):
        raise BuildError(
            f"the base {ref} is for {found}, and {platform} is wanted",
            hint=f"Name another base, or set build: {{platforms: [{found}]}}",
        )


def _written(about: Mapping[str, Any]) -> str:
    parts = (about.get("os"), about.get("architecture"), about.get("variant"))
    return "/".join(str(part) for part in parts if part)


def _usual(platform: str) -> tuple[str, ...]:
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    return system, architecture, variant or _USUAL_VARIANT.get(architecture, "")
