"""Where images are, and what is asked of bases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.lock import LockedImage
from mlops.ports.packages import Target


class ImageReader(Protocol):
    """What is asked of an image store without bringing anything here: an OCI layout, or one
    repository of a registry. Every method raises UnreachableError where it cannot be asked."""

    location: str

    def manifest(self, digest: Digest) -> bytes:
        """The manifest's or index's bytes, checked. Raises RegistryError where absent."""
        ...

    def has_manifest(self, digest: Digest) -> bool: ...
    def has_blob(self, digest: Digest) -> bool: ...


class TagReader(Protocol):
    """One repository of a registry, asked what its tags name."""

    def resolve(self, tag: str) -> Digest | None:
        """The digest that a tag names now; None where there is no such tag. Raises UsageError where
        it can be no tag, UnreachableError where the registry cannot be asked, RegistryError where
        what it says cannot be true."""
        ...


class ImageFiles(Protocol):
    """Manifests and blobs by digest that are on this machine."""

    location: str

    def manifest(self, digest: Digest) -> bytes:
        """The manifest's or index's bytes, checked. Raises RegistryError where absent."""
        ...

    def blob_path(self, digest: Digest) -> Path:
        """A local file with the blob's bytes. Raises RegistryError where absent."""
        ...


class ImageStore(ImageFiles, ImageReader, Protocol):
    """Manifests and blobs by digest, to read and write: an OCI layout."""

    def staging(self) -> AbstractContextManager[Path]:
        """A directory for files on their way in, from where `put_blob` moves them."""
        ...

    def put_blob(self, path: Path, digest: Digest, *, known: bool = False) -> None:
        """Take the file in (one in `staging()` is moved). Raises RegistryError where its bytes differ;
        they are not looked at where they are `known` to be right."""
        ...

    def put_manifest(
        self, content: bytes, media_type: str, repository: str, tag: str = ""
    ) -> Digest: ...
    def resolve(self, repository: str, tag: str) -> Digest | None: ...
    def referrers(self, subject: Digest) -> tuple[Mapping[str, Any], ...]:
        """Descriptors of the manifests that name `subject` (OCI distribution-spec 1.1)."""
        ...


class ImageCopies(Protocol):
    """Images of releases on their way into the registry of an environment. `sources` are registries
    that are looked into where the project's own has the image no more."""

    def needed(self, release: ReleaseId, into: str, sources: Sequence[str] = ()) -> str:
        """What would be copied, in words; empty where all is there. Raises RegistryError."""
        ...

    def bring(self, release: ReleaseId, into: str, sources: Sequence[str] = ()) -> None:
        """Copy image or index and all that refers to it, digest-exact. Raises RegistryError, and
        the image is not there then."""
        ...


@dataclass(frozen=True, slots=True)
class Bind:
    """A host path that a command inside an image sees at `target`, read-only unless `writable`."""

    source: Path
    target: str
    writable: bool = False


class BaseImages(Protocol):
    """Base images by the names that mlops.yaml gives them, and the tool image on one of them."""

    def pin(self, name: str, platform: str) -> LockedImage:
        """What the name stands for now, copied or packed into the store. Raises BuildError."""
        ...

    def restore(self, image: LockedImage) -> None:
        """Bring a locked image back into the store by its digest, whatever its name stands for now.

        Raises BuildError where it is to be had no more.
        """
        ...

    def has(self, image: LockedImage) -> bool:
        """Whether all of the image is in the store."""
        ...

    def target(self, image: LockedImage) -> Target: ...
    def tool(self) -> LockedImage:
        """The tool image of the installed mlops; the same one as long as nothing was installed."""
        ...
