"""Base images as `mlops lock` sees them: what a name stands for, and what can run on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlops.build import host, tool
from mlops.build.image import complete, copy, load
from mlops.build.interpreter import of_base
from mlops.build.strategy import Toolchain
from mlops.domain.lock import BASES, TOOL, LockedImage, base_tag
from mlops.errors import BuildError
from mlops.ports import ImageStore, Target


@dataclass(frozen=True, slots=True)
class Bases:
    """Meets `ports.BaseImages`; relative paths in names start at `project`.

    Images come into `cache`, where the projects of this machine share them, to be looked into; `keep`
    copies those that are locked into `store`, which others read.
    """

    store: ImageStore
    tools: Toolchain
    project: Path
    cache: ImageStore

    def pin(self, name: str, platform: str) -> LockedImage:
        if name == host.HOST:
            return self._host(platform)
        if self.tools.bases is None:
            raise BuildError(f"the base {name} cannot be fetched here")
        digest, manifest = self.tools.bases.fetch(name, self.project, platform, self.cache)
        return LockedImage(name, name, digest, manifest, platform)

    def restore(self, image: LockedImage) -> None:
        if image.name == host.HOST:
            found = self._host(image.platform).manifest
        elif self.tools.bases is None:
            raise BuildError(f"the base {image.name} cannot be fetched here")
        else:
            _, found = self.tools.bases.fetch(
                image.by_digest, self.project, image.platform, self.cache
            )
        if found != image.manifest:
            raise BuildError(
                f"the base {image.name} is {found} here, and mlops.lock pins {image.manifest}",
                hint=f"Take it from a machine or registry that has it, or move on: "
                f"mlops lock --upgrade {image.name}",
            )

    def has(self, image: LockedImage) -> bool:
        return complete(self.cache, image.manifest) or complete(self.store, image.manifest)

    def keep(self, image: LockedImage) -> None:
        published = image.name == TOOL and image.ref != TOOL
        if published or not complete(self.cache, image.manifest):
            return  # it is in the store, or where it was published
        if image.name in (TOOL, host.HOST):
            repository, tag = TOOL if image.name == TOOL else host.REPOSITORY, ""
        else:
            repository, tag = BASES, base_tag(image.manifest)
        copy(self.cache, self.store, image.manifest, repository, tag)

    def target(self, image: LockedImage) -> Target:
        copy(self.store, self.cache, image.manifest, BASES)  # where it is not there yet
        base = load(self.cache, image.manifest)
        found = of_base(base, image.manifest, self.tools.runner, image.name)
        return found.target(image.platform)

    def tool(self) -> LockedImage:
        platform = host.host_platform()
        digest = tool.build(self.cache, self.tools.installer)
        return LockedImage(TOOL, TOOL, digest, digest, platform)

    def _host(self, platform: str) -> LockedImage:
        here = host.host_platform()
        if platform != here:
            raise BuildError(
                f"`base: host` is {here} here, and the model wants {platform}",
                hint=f"Set build: {{platforms: [{here}]}} in mlops.yaml, or name another base",
            )
        digest, _ = host.pack(self.cache, self.tools.installer)
        return LockedImage(host.HOST, host.HOST, digest, digest, here)
