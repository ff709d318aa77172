"""The published tool image of a release of mlops, as the release's own package names it."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL, LockedImage


@dataclass(frozen=True, slots=True)
class ToolImage:
    """`repository` is where it was published, `digest` the index's; `manifests` are pairs of platform
    and manifest, one at least, sorted."""

    version: str
    repository: str
    digest: Digest
    manifests: tuple[tuple[str, Digest], ...]

    def locked(self) -> LockedImage:
        """As mlops.lock pins it. Documents name the index, so that each node takes its own image; the
        platform is the first one, whichever machine locks."""
        platform, manifest = self.manifests[0]
        return LockedImage(TOOL, self.repository, self.digest, manifest, platform)
