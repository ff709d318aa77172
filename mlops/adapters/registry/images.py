"""Whole images on their way up, or across: blobs first, then manifests, the top one last.

Whatever has its manifest in a registry is thus whole, a push that was killed leaves nothing that
anybody sees, and the next one finds what came through. Bytes are never written anew: digests stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mlops.adapters import ociindex
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import uploads
from mlops.adapters.registry.client import KINDS, Registry
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UsageError

AT_ONCE = 4  # blobs on their way together
MOST_LAYERS = 256
MOST_FILES = 2048  # of an artifact, which nobody mounts
_DEEPEST = 3  # an index of indexes is legal; more is a trap
_MOST_MANIFESTS = 256
_INDEXES = (KINDS[0], KINDS[2])


class Source(Protocol):
    """Where an image comes from: blobs as files of this machine."""

    location: str

    def manifest(self, digest: Digest) -> bytes: ...
    def has_manifest(self, digest: Digest) -> bool: ...
    def blob_path(self, digest: Digest) -> Path:
        """A file with the blob's bytes, brought here where it is not. Raises RegistryError."""
        ...

    def referrers(self, subject: Digest) -> tuple[Mapping[str, Any], ...]: ...


@dataclass(frozen=True, slots=True)
class Part:
    """One manifest of an image, and the blobs that it names with their sizes in bytes."""

    digest: Digest
    content: bytes
    media_type: str
    blobs: Mapping[Digest, int] = field(default_factory=dict)


def parts(manifest: Callable[[Digest], bytes], top: Digest, depth: int = 0) -> Iterator[Part]:
    """Every manifest of an image, those that an index lists before it. Raises RegistryError where
    it is no image, has a part that lies elsewhere, or has too many parts."""
    content = manifest(top)
    document = ociindex.parse(content)
    kind = document.get("mediaType")
    if kind in _INDEXES or "manifests" in document:
        listed = ociindex.listed(document)
        if depth >= _DEEPEST or len(listed) > _MOST_MANIFESTS:
            raise RegistryError(f"the index {top} is nested too deep or lists too many manifests")
        for descriptor in listed:
            yield from parts(manifest, ociindex.digest_of(descriptor), depth + 1)
        yield Part(top, content, str(kind or KINDS[0]))
    else:
        yield Part(top, content, str(kind or KINDS[1]), blobs(document, top))


def blobs(document: Mapping[str, Any], digest: Digest) -> dict[Digest, int]:
    """Configuration and layers of a manifest, with their sizes in bytes.

    Raises RegistryError where it has too many, or one that is to be had elsewhere alone."""
    try:
        config, layers = document["config"], list(document["layers"])
        # by the digest, and not by what it is said to be: such a one can be run by nobody
        artifact = config["digest"] == ociindex.EMPTY_CONFIG
        most = MOST_FILES if artifact else MOST_LAYERS
        if len(layers) > most:
            what = "files" if artifact else "layers"
            raise RegistryError(f"image {digest} has {len(layers)} {what}, over {most}")
        found: dict[Digest, int] = {}
        for each in (config, *layers):
            size = each["size"]
            if not isinstance(size, int) or isinstance(size, bool) or size < 0:
                raise TypeError(size)
            if each.get("urls"):
                raise RegistryError(
                    f"image {digest} has a foreign layer {str(each['digest'])[:71]}, which lies outside"
                    " of registries",
                    hint="Use an image without such layers: they are made for Windows",
                )
            if found.setdefault(Digest.parse(each["digest"]), size) != size:
                raise TypeError("one blob of two sizes")
    except (KeyError, TypeError, AttributeError, UsageError) as exc:
        raise RegistryError(f"{digest} is no image that can be run") from exc
    return found


def push(
    source: Source,
    top: Digest,
    into: Registry,
    *,
    tag: str = "",
    mounts: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Bring an image from here into a repository; `mounts` are repositories of the same host that
    may have its blobs. Raises RegistryError, and nothing of the image is seen then."""
    found = list(parts(source.manifest, top))
    wanted = {digest: size for part in found for digest, size in part.blobs.items()}
    push_blobs(source, wanted, into, mounts, say)
    for part in found:
        last = part.digest == top
        if last or not into.has_manifest(part.digest):
            into.push_manifest(part.content, part.media_type, tag if last else "")


def push_blobs(
    source: Source,
    wanted: Mapping[Digest, int],
    into: Registry,
    mounts: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Bring blobs into a repository, several at once, the largest first."""
    from_there = tuple(dict.fromkeys(each for each in mounts if each != into.repository.path))

    def bring(digest: Digest, size: int) -> str:
        if into.has_blob(digest):
            return "there"
        having = (each for each in from_there if into.beside(each).has_blob(digest))
        return uploads.push(into, digest, partial(_file, source, digest, size), next(having, ""))

    order = sorted(wanted.items(), key=lambda each: -each[1])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        doing = {pool.submit(bring, digest, size): (digest, size) for digest, size in order}
        try:
            for done in as_completed(doing):
                digest, size = doing[done]
                if done.result() == "pushed":
                    say(f"pushed {digest.short} ({told_size(size)})")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def told_size(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _file(source: Source, digest: Digest, size: int) -> Path:
    path = source.blob_path(digest)
    found = path.stat().st_size
    if found != size:
        raise RegistryError(f"{source.location} has {found} bytes for {digest}, not {size}")
    return path


def attached(source: Source, subject: Digest) -> tuple[Digest, ...]:
    """What refers to an image, and what refers to that in turn. Raises RegistryError."""
    found: dict[Digest, None] = {}
    asked = [subject]
    while asked:
        for descriptor in source.referrers(asked.pop()):
            digest = ociindex.digest_of(descriptor)
            if digest not in found:
                found[digest] = None
                asked.append(digest)
        if len(found) > _MOST_MANIFESTS:
            raise RegistryError(f"more than {_MOST_MANIFESTS} manifests refer to {subject}")
    return tuple(found)


def copy(
    source: Source,
    top: Digest,
    into: Registry,
    *,
    tag: str = "",
    mounts: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Bring an image with all that refers to it into a repository, digest-exact: image or index,
    then referrers. What is there is left. Raises RegistryError."""
    push(source, top, into, tag=tag, mounts=mounts, say=say)
    for digest in attached_there(source, top, say):
        push(source, digest, into, mounts=mounts, say=say)


def copy_to_layout(
    source: Source,
    top: Digest,
    into: OciLayout,
    repository: str,
    *,
    name: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """As `copy`, into a layout on this machine: there the image is called `name`, to the letter."""
    for digest in (top, *attached_there(source, top, say)):
        for part in parts(source.manifest, digest):
            for blob, size in part.blobs.items():
                if not into.has_blob(blob):
                    into.put_blob(_file(source, blob, size), blob)
            last = name if part.digest == top else ""
            into.put_manifest(part.content, part.media_type, repository, name=last)


def attached_there(source: Source, top: Digest, say: Callable[[str], None]) -> Iterator[Digest]:
    """What refers to an image; what is listed and not there is said and left out."""
    for digest in attached(source, top):
        if source.has_manifest(digest):
            yield digest
        else:
            say(f"{digest.short} is listed as referring to {top.short}, and is not there: left out")


class Holder(Protocol):
    """A place that may have parts of an image."""

    def has_blob(self, digest: Digest) -> bool: ...
    def has_manifest(self, digest: Digest) -> bool: ...


def lacking(source: Source, top: Digest, into: Holder) -> tuple[dict[Digest, int], bool]:
    """What a copy would bring: the blobs that the repository lacks, with their sizes in bytes, and
    whether it lacks the image's manifest."""
    found = {d: size for part in parts(source.manifest, top) for d, size in part.blobs.items()}
    absent = {digest: size for digest, size in found.items() if not into.has_blob(digest)}
    return absent, not into.has_manifest(top)
