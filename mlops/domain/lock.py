"""mlops.lock: what tags, versions and requirements were resolved to, once, by `mlops lock`."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.domain.digest import Digest

TOOL = "mlops"  # the name under which the tool image is locked
BASES = "base"  # the repository in which bases are in custody


def base_tag(manifest: Digest) -> str:
    """What a base is called in custody: registries collect what has no tag."""
    return f"base-{manifest.hex[:24]}"


@dataclass(frozen=True, slots=True)
class LockedImage:
    """An image as locked for one platform.

    `name` is the base as mlops.yaml writes it (`host`, `python:3.12-slim`), or `mlops` for the tool
    image; `ref` is where it was found, without the digest. `digest` is the top-level one (an index,
    or the manifest itself), `manifest` the platform's.
    """

    name: str
    ref: str
    digest: Digest
    manifest: Digest
    platform: str

    @property
    def by_digest(self) -> str:
        """The name with the locked digest, which wins over a tag in it: `python:3.12@sha256:…`."""
        return f"{self.name.partition('@sha256:')[0]}@{self.digest}"


@dataclass(frozen=True, slots=True)
class LockedRequirements:
    """A requirements lock: its `path`, and the digest of what it was resolved from."""

    path: str
    inputs: Digest


@dataclass(frozen=True, slots=True)
class ProjectLock:
    """mlops.lock; `tools` are name and version, `builder` is the version of the image builder, `tasks`
    are images of Tekton documents: the name with its tag, and the top-level digest."""

    images: tuple[LockedImage, ...] = ()
    tools: tuple[tuple[str, str], ...] = ()
    requirements: tuple[LockedRequirements, ...] = ()
    builder: str = ""
    tasks: tuple[tuple[str, Digest], ...] = ()

    def task(self, name: str) -> Digest | None:
        """What the tag of an image of Tekton documents is locked to, None where it is not locked."""
        return dict(self.tasks).get(name)

    def image(self, name: str, platform: str = "") -> LockedImage | None:
        """The image locked under `name` (for `platform`, where given), None where there is none."""
        for image in self.images:
            if image.name == name and platform in ("", image.platform):
                return image
        return None

    def tool(self, name: str) -> str | None:
        """The locked version of a tool, None where it is not locked."""
        return dict(self.tools).get(name)

    def inputs(self, path: str) -> Digest | None:
        """The digest of the inputs of the requirements lock at `path`, None where not locked."""
        return next((found.inputs for found in self.requirements if found.path == path), None)
