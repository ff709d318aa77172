"""Content addresses: what an image, a layer or a release is named by."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from mlops.errors import UsageError

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")
# distribution-spec 1.1: a repository name is path components of lower case letters and digits
# parted by single separators; the host before it may carry a port.
_REPOSITORY = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z"
)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A sha256 content address; `hex` is 64 lower case hexadecimal digits."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<64 hex>`. Raises UsageError on anything else, a tag for instance."""
        match = _DIGEST.match(text)
        if match is None:
            raise UsageError(
                f"{text!r} is not a digest", hint="It looks like sha256:<64 hex digits>"
            )
        return cls(match.group(1))

    @classmethod
    def of(cls, content: bytes) -> Digest:
        return cls(hashlib.sha256(content).hexdigest())

    @property
    def short(self) -> str:
        """The first twelve hex digits: for people and for tag names."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


@dataclass(frozen=True, slots=True, order=True)
class ImageRef:
    """An image by digest, in a repository: `ghcr.io/x/m@sha256:…`."""

    repository: str
    digest: Digest

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Read `repository@sha256:<hex>`. Raises UsageError where a tag stands for the digest."""
        repository, at, digest = text.partition("@")
        if not at or _REPOSITORY.match(repository) is None:
            raise UsageError(
                f"{text!r} names no image by digest",
                hint="It looks like name@sha256:<64 hex digits>",
            )
        return cls(repository, Digest.parse(digest))

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True, order=True)
class ReleaseId:
    """A release: model name and image digest, `spam@sha256:…`."""

    model: str
    digest: Digest

    @classmethod
    def parse(cls, text: str) -> ReleaseId:
        model, at, digest = text.partition("@")
        if not at or not model:
            raise UsageError(f"{text!r} names no release", hint="It looks like spam@sha256:<hex>")
        return cls(model, Digest.parse(digest))

    @property
    def short(self) -> str:
        return f"{self.model}@sha256:{self.digest.short}"

    def __str__(self) -> str:
        return f"{self.model}@{self.digest}"
