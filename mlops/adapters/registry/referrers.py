"""What refers to a manifest (OCI distribution-spec 1.1, listing referrers and the referrers tag schema).

A registry without the API keeps an index under the tag `sha256-<hex>`, which clients read, change
and write back; it has no compare-and-swap, so of two at once one would be lost. Each of us therefore
tags its own manifest first (`sha256-<hex>.<12 hex of its own digest>`), and after each write looks
whether every manifest tagged so is in the index. Whoever wrote last sees the tags of all who wrote
before, so nothing of ours is lost; a client that does not do so can still lose its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops.adapters import ociindex
from mlops.adapters.ociindex import INDEX_TYPE, Descriptor, fallback_tag
from mlops.adapters.registry import wire
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UsageError

if TYPE_CHECKING:
    from mlops.adapters.registry.client import Registry

_MOST_PAGES = 1000
_ROUNDS = 20


def subject_of(content: bytes) -> Digest | None:
    """The manifest that a manifest names as its subject; None where it names none."""
    try:
        subject = json.loads(content).get("subject")
        return None if subject is None else Digest.parse(str(subject["digest"]))
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError, UsageError) as exc:
        raise RegistryError("a manifest with a subject that names nothing") from exc


def listed(registry: Registry, subject: Digest) -> tuple[Descriptor, ...]:
    """Descriptors of what names `subject`, each once."""
    found: dict[str, Descriptor] = {}
    target = registry.target(f"referrers/{subject}")
    for _ in range(_MOST_PAGES):
        with registry.ask("GET", target, INDEX_TYPE) as answer:
            if answer.status_code == 404:
                return _fallback(registry, subject)
            page = ociindex.listed(registry.document(registry.wire.body(answer)))
            target = registry.following(answer)
        for descriptor in page:
            found.setdefault(str(descriptor["digest"]), descriptor)
        if not target:
            return tuple(found.values())
    raise RegistryError(f"{registry.location} lists no end of referrers of {subject}")


def enter(registry: Registry, subject: Digest, content: bytes, media_type: str) -> None:
    """Enter a stored manifest into the index of its subject's referrers.

    Raises RegistryError where others change it again and again, or it is no index."""
    digest = Digest.of(content)
    prefix = f"{fallback_tag(subject)}."
    with registry.put(content, media_type, f"{prefix}{digest.short}"):
        pass
    kept: dict[str, Descriptor] = {}
    described = {"mediaType": media_type, "digest": str(digest), "size": len(content)}
    ours = {str(digest): ociindex.referrer(described, json.loads(content))}
    for number in range(_ROUNDS):
        kept |= ours | _tagged(registry, prefix, kept)
        index = {str(each["digest"]): each for each in _fallback(registry, subject)}
        if kept.keys() <= index.keys():
            return
        document = ociindex.index_document([*(index | kept).values()])
        with registry.put(document, INDEX_TYPE, fallback_tag(subject)):
            pass
        if number:
            wire.pause(min(number, 3))
    raise RegistryError(
        f"others change the referrers of {subject} in {registry.location} again and again:"
        f" {digest} may be missing there",
        hint="Repeat the command",
        retryable=True,
    )


def _tagged(
    registry: Registry, prefix: str, kept: Mapping[str, Descriptor]
) -> dict[str, Descriptor]:
    """The descriptors of the manifests that others of us tagged, which are not known yet."""
    found: dict[str, Descriptor] = {}
    shorts = {digest.removeprefix("sha256:")[:12] for digest in kept}
    for tag in registry.tags():
        if not tag.startswith(prefix) or tag.removeprefix(prefix) in shorts:
            continue
        content = registry.tagged(tag)
        if content is None:
            continue
        document: Any = registry.document(content)
        digest = Digest.of(content)
        described = {
            "mediaType": str(document.get("mediaType") or ociindex.MANIFEST_TYPE),
            "digest": str(digest),
            "size": len(content),
        }
        found[str(digest)] = ociindex.referrer(described, document)
    return found


def _fallback(registry: Registry, subject: Digest) -> tuple[Descriptor, ...]:
    """What the index under the fallback tag lists; nothing where there is none."""
    content = registry.tagged(fallback_tag(subject))
    if content is None:
        return ()
    found: dict[str, Descriptor] = {}
    for descriptor in ociindex.listed(registry.document(content)):
        found.setdefault(str(descriptor["digest"]), descriptor)
    return tuple(found.values())
