"""Images of releases on their way into another registry: meets `ports.ImageCopies`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlops.adapters.registry import images
from mlops.adapters.registry.client import Registry
from mlops.adapters.registry.images import Source
from mlops.adapters.registry.store import RegistryStore
from mlops.domain.digest import ReleaseId
from mlops.errors import RegistryError


class Copies:
    """`own` gives the project's store of a model's images, `other` such a store in another registry."""

    def __init__(
        self,
        own: Callable[[str], Source],
        other: Callable[[str, str], RegistryStore],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._own = own
        self._other = other
        self._say = say

    def needed(self, release: ReleaseId, into: str, sources: Sequence[str] = ()) -> str:
        target = self._other(into, release.model).repository(release.model)
        source = self._source(release, sources)
        absent, manifest = images.lacking(source, release.digest, target)
        if absent:
            blobs = "1 blob" if len(absent) == 1 else f"{len(absent)} blobs"
            return f"{blobs}, {images.told_size(sum(absent.values()))}"
        return "its manifest" if manifest else ""

    def bring(self, release: ReleaseId, into: str, sources: Sequence[str] = ()) -> None:
        target = self._other(into, release.model).repository(release.model)
        source = self._source(release, sources)
        self._say(f"copying {release.short} to {target.location}")
        images.copy(source, release.digest, target, mounts=_mounts(source, target), say=self._say)

    def _source(self, release: ReleaseId, others: Sequence[str]) -> Source:
        """The project's own store, else the first of the others that has the image. Raises
        RegistryError where none has it."""
        own = self._own(release.model)
        if own.has_manifest(release.digest):
            return own
        for registry in others:
            store = self._other(registry, release.model)
            if store.has_manifest(release.digest):
                return store
        raise RegistryError(
            f"{release} is not in {own.location}",
            hint="Promote it where its image is, or build it again: mlops run COMMIT --again",
        )


def _mounts(source: Source, target: Registry) -> tuple[str, ...]:
    """The source's repositories, where they are on the target's host."""
    if not isinstance(source, RegistryStore) or source.host != target.repository.host:
        return ()
    return source.paths
