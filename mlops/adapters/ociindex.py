"""Descriptors and image indexes as values: what OciLayout keeps in index.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UsageError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
EMPTY_CONFIG = str(Digest.of(b"{}"))  # of an artifact (image-spec 1.1, manifest.md)
REF_NAME = "org.opencontainers.image.ref.name"
REPOSITORY = "dev.mlops.repository"

Descriptor = Mapping[str, Any]


def digest_of(descriptor: Descriptor) -> Digest:
    """The descriptor's digest. Raises RegistryError where it has none."""
    try:
        return Digest.parse(str(descriptor["digest"]))
    except (KeyError, TypeError, UsageError) as exc:
        raise RegistryError("a descriptor has no sha256 digest") from exc


def annotation(descriptor: Descriptor, name: str) -> str:
    found = descriptor.get("annotations")
    return str(found.get(name, "")) if isinstance(found, Mapping) else ""


def parse(content: bytes) -> Mapping[str, Any]:
    """A manifest or index. Raises RegistryError where the bytes are no JSON object."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise RegistryError(f"a manifest is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise RegistryError("a manifest is not a JSON object")
    return document


def listed(index: Mapping[str, Any]) -> list[Descriptor]:
    """The descriptors of an index. Raises RegistryError where one has no digest."""
    found = index.get("manifests")
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise RegistryError("an index has no list of manifests")
    for descriptor in found:
        digest_of(descriptor)
    return list(found)


def entered(
    entries: Sequence[Descriptor], descriptor: Descriptor, repository: str, name: str
) -> list[Descriptor]:
    """The entries with a manifest entered: a name moves here, and what had it stays, without one."""
    here = [entry for entry in entries if _same(entry, descriptor, repository)]
    if any(not name or annotation(entry, REF_NAME) == name for entry in here):
        return list(entries)
    kept = [
        _untagged(entry) if name and annotation(entry, REF_NAME) == name else entry
        for entry in entries
    ]
    named = {REPOSITORY: repository} | ({REF_NAME: name} if name else {})
    new = {**descriptor, "annotations": named}
    others = [entry for entry in kept if not _bare(entry, descriptor, repository)]
    return _once([*others, new])


def referrer(descriptor: Descriptor, manifest: Mapping[str, Any]) -> Descriptor:
    """The descriptor that a referrers list has for a manifest (distribution-spec 1.1,
    listing referrers): with its artifact type and annotations."""
    config = manifest.get("config")
    kind = manifest.get("artifactType") or (
        config.get("mediaType") if isinstance(config, Mapping) else None
    )
    found: dict[str, Any] = dict(descriptor)
    if kind:
        found["artifactType"] = kind
    if isinstance(manifest.get("annotations"), Mapping):
        found["annotations"] = manifest["annotations"]
    return found


def index_document(descriptors: Sequence[Descriptor]) -> bytes:
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(descriptors)}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def fallback_tag(subject: Digest) -> str:
    """The tag of a subject's referrers (distribution-spec 1.1, referrers tag schema)."""
    return f"sha256-{subject.hex}"


def _untagged(entry: Descriptor) -> Descriptor:
    annotations = {k: v for k, v in entry["annotations"].items() if k != REF_NAME}
    return {**entry, "annotations": annotations}


def _same(entry: Descriptor, descriptor: Descriptor, repository: str) -> bool:
    return (
        entry.get("digest") == descriptor["digest"] and annotation(entry, REPOSITORY) == repository
    )


def _bare(entry: Descriptor, descriptor: Descriptor, repository: str) -> bool:
    return _same(entry, descriptor, repository) and not annotation(entry, REF_NAME)


def _once(entries: Sequence[Descriptor]) -> list[Descriptor]:
    """Without an untagged entry beside a tagged one of the same manifest and repository."""
    tagged = {
        (entry.get("digest"), annotation(entry, REPOSITORY))
        for entry in entries
        if annotation(entry, REF_NAME)
    }
    return [
        entry
        for entry in entries
        if annotation(entry, REF_NAME)
        or (entry.get("digest"), annotation(entry, REPOSITORY)) not in tagged
    ]
