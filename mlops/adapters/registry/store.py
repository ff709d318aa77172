"""The image store of a project whose images lie in a registry: repositories below one prefix.

Meets `ports.ImageStore`. Blobs and manifests are kept in a layout on this machine as they come and go;
what counts as there is what the registry has. An image is there from the moment its manifest is put,
which sends its blobs first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mlops.adapters import ociindex
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import images
from mlops.adapters.registry.client import Registry
from mlops.adapters.registry.names import Repository
from mlops.adapters.registry.wire import Wire
from mlops.domain.digest import Digest
from mlops.errors import RegistryError


class RegistryStore:
    """Repositories `<prefix>/<name>`. `names` are those in which is looked for what a digest alone
    names, in this order, and from which blobs are mounted. `say` hears of what was sent."""

    def __init__(
        self,
        prefix: str,
        local: OciLayout,
        names: Iterable[str],
        say: Callable[[str], None] = lambda _: None,
        *,
        ours: bool = True,
    ) -> None:
        """Raises UsageError where the prefix names no place in a registry."""
        self.location = prefix
        self.local = local
        self._names = tuple(dict.fromkeys(names))
        self._say = say
        self._wire = Wire(Repository.parse(f"{prefix}/x").host, ours=ours)
        self._homes: dict[Digest, Registry] = {}  # in which repository a blob or manifest is

    def repository(self, name: str) -> Registry:
        """A repository by its whole name, or by what stands behind the prefix."""
        below = name.removeprefix(f"{self.location}/")
        return Registry(f"{self.location}/{below}", through=self._wire)

    # -- reading

    def manifest(self, digest: Digest) -> bytes:
        if self.local.has_manifest(digest):
            return self.local.manifest(digest)
        return self._home(digest, lambda each: each.has_manifest(digest), "manifest").manifest(
            digest
        )

    def has_manifest(self, digest: Digest) -> bool:
        return self._found(digest, lambda each: each.has_manifest(digest)) is not None

    def has_blob(self, digest: Digest) -> bool:
        return self._found(digest, lambda each: each.has_blob(digest)) is not None

    def blob_path(self, digest: Digest) -> Path:
        """A local file with the blob's bytes, brought here where it is not. Raises RegistryError."""
        if not self.local.has_blob(digest):
            home = self._home(digest, lambda each: each.has_blob(digest), "blob")
            self._bring(home, digest, home.blob_size(digest))
        return self.local.blob_path(digest)

    def resolve(self, repository: str, tag: str) -> Digest | None:
        home = self.repository(repository)
        found = home.resolve(tag)
        if found is not None:
            self._homes[found] = home
        return found

    def referrers(self, subject: Digest) -> tuple[Mapping[str, Any], ...]:
        home = self._found(subject, lambda each: each.has_manifest(subject))
        return () if home is None else home.referrers(subject)

    # -- writing

    def staging(self) -> AbstractContextManager[Path]:
        return self.local.staging()

    def put_blob(self, path: Path, digest: Digest, *, known: bool = False) -> None:
        self.local.put_blob(path, digest, known=known)

    def put_manifest(
        self, content: bytes, media_type: str, repository: str, tag: str = ""
    ) -> Digest:
        """Send the blobs that the manifest names, where they are not there, then the manifest."""
        home = self.repository(repository)
        document = ociindex.parse(content)
        digest = Digest.of(content)
        whole = "manifests" not in document
        if whole:
            wanted = images.blobs(document, digest)
            whole = all(map(self.local.has_blob, wanted))
            images.push_blobs(self, wanted, home, self._mounts(), self._say)
            self._homes |= dict.fromkeys(wanted, home)
        home.push_manifest(content, media_type, tag)
        self._homes[digest] = home
        if whole:  # what has its manifest on this machine is all there, here as in any layout
            self.local.put_manifest(content, media_type, home.location, tag)
        return digest

    # -- where things are

    @property
    def host(self) -> str:
        return self._wire.host

    @property
    def paths(self) -> tuple[str, ...]:
        """The repositories that are looked into, by their paths on the host."""
        return tuple(self.repository(name).repository.path for name in self._names)

    def _mounts(self) -> tuple[str, ...]:
        homes = {home.repository.path: None for home in self._homes.values()}
        return (*homes, *self.paths)

    def _found(self, digest: Digest, has: Callable[[Registry], bool]) -> Registry | None:
        known = self._homes.get(digest)
        candidates = [known] if known is not None else []
        for home in (*candidates, *(self.repository(name) for name in self._names)):
            if has(home):
                self._homes[digest] = home
                return home
        return None

    def _home(self, digest: Digest, has: Callable[[Registry], bool], what: str) -> Registry:
        found = self._found(digest, has)
        if found is None:
            raise RegistryError(f"{what} {digest} is not in {self.location}")
        return found

    def _bring(self, home: Registry, digest: Digest, size: int) -> None:
        with self.local.staging() as staging:
            path = staging / digest.hex
            home.fetch(digest, size, path)
            self.local.put_blob(path, digest, known=True)
