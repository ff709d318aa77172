"""The `layers` strategy: environment image and release image, assembled without a daemon.

base → dependencies → server make the environment image; code and model on the same layers make
the release image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlops.build.layers import Layer
from mlops.build.toolchain import BaseRunner, Installer
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.source import Commit
from mlops.errors import BuildError
from mlops.ports import ImageStore


@dataclass(frozen=True, slots=True)
class PinnedBase:
    """A base image as mlops.lock pins it.

    `ref` is what mlops.yaml says (`host`, `oci:PATH[:TAG|@DIGEST]`, `archive:PATH.tar`); `digest` the
    top-level digest (an index where the base has one), `manifest` the platform's own manifest.
    """

    ref: str
    digest: Digest
    manifest: Digest
    platform: str = "linux/amd64"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The outside programs of a build; `runner` is needed for bases other than `host`."""

    installer: Installer
    runner: BaseRunner | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """What an environment image is made of.

    `project` is where relative paths in `base.ref` start. `requirements` are the bytes of
    requirements.lock, empty where there are none. `server` is false where mlops.yaml has
    `serve.command`. `prefix` stands before repository names (`registry.example.com/ml/`), empty in a
    layout. `rebuild` ignores an environment image that was built before.
    """

    model: str
    base: PinnedBase
    requirements: bytes
    project: Path
    server: bool = True
    allow_builds: tuple[str, ...] = ()
    prefix: str = ""
    rebuild: bool = False


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """What a release image adds to an environment image.

    `environment` is the environment image's manifest. `committed` is the source's commit time (aware).
    `tree` is the directory of the project's files; `code` names files or directories in it, relative,
    that go below /app: name the tracked files where directories hold outputs too. `artifact` is
    the model's path in the project; its bytes are read from `tree / artifact`. An empty `command`
    means the built-in server.
    """

    model: str
    source: Commit
    committed: datetime
    environment: Digest
    tree: Path
    code: tuple[str, ...]
    artifact: str
    command: tuple[str, ...] = ()
    port: int = 8080
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """A stored image; `ref.digest` is `manifest` as long as an image has one platform.

    `base` is `{ref, index, platform, manifest}`, as release records have it; `reused` says
    that nothing was built.
    """

    ref: ImageRef
    manifest: Digest
    platform: str
    layers: tuple[Layer, ...]
    base: Mapping[str, str]
    reused: bool = False


def build_environment(
    store: ImageStore, request: EnvironmentRequest, tools: Toolchain
) -> BuiltImage:
    """Assemble the environment image `<prefix><model>-env`, tagged `env-<key>`.

    Raises BuildError or RegistryError.
    """
    raise BuildError(f"cannot build the environment of {request.model} yet")


def build_release(store: ImageStore, request: ReleaseRequest) -> BuiltImage:
    """Assemble the release image `<prefix><model>`, tagged `source-<12 hex>`.

    Raises BuildError or RegistryError.
    """
    raise BuildError(f"cannot build the release of {request.model} yet")
