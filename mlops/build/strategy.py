"""The `layers` strategy: environment image and release image, assembled without a daemon.

base → dependencies → server make the environment image; code and model on the same layers make
the release image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mlops.build import dependencies, host, project, server, tar
from mlops.build.compression import Compression
from mlops.build.custody import Custody
from mlops.build.environment import VENV
from mlops.build.image import (
    BASE_DIGEST,
    BASE_MANIFEST,
    BASE_NAME,
    EPOCH,
    Health,
    Image,
    complete,
    load,
    put,
)
from mlops.build.interpreter import of_base
from mlops.build.layering import Share
from mlops.build.layers import Layer, LayerKind, put_layer
from mlops.build.shelf import PackageSource
from mlops.build.toolchain import BaseRunner, BaseSource, Installer
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.source import Commit
from mlops.errors import BuildError, OutsideError
from mlops.ports import ImageStore

# mlops.lock's `builder`: with another, bytes may differ
BUILDER = ", ".join(("mlops layers 3", *(each.version for each in Compression)))
_AT_ONCE = 2  # layers compiled and compressed
_USER = "65532:65532"  # by number: restricted Pod Security must see that it is not root


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
    """The outside programs of a build; `runner` and `bases` are needed for bases other than `host`.
    With `packages`, wheels and sdists are taken into custody, and from there; `say` hears of it.
    `packed_here`: a base `host` is this machine's, and its interpreter need not be looked for in it."""

    installer: Installer
    runner: BaseRunner | None = None
    bases: BaseSource | None = None
    packages: PackageSource | None = None
    say: Callable[[str], None] = lambda _: None
    packed_here: bool = True


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """What an environment image is made of.

    `project` is where relative paths in `base.ref` start. `requirements` are the bytes of
    requirements.lock, empty where there are none. `server` is false where mlops.yaml has
    `serve.command`. `prefix` stands before repository names (`registry.example.com/ml/`), empty in a
    layout. With `bytecode`, the base's Python compiles what can be imported. `rebuild` ignores an
    environment image that was built before.
    """

    model: str
    base: PinnedBase
    requirements: bytes
    project: Path
    server: bool = True
    allow_builds: tuple[str, ...] = ()
    bytecode: bool = True
    compression: Compression = Compression.GZIP
    prefix: str = ""
    rebuild: bool = False


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """What a release image adds to an environment image.

    `environment` is the environment image's manifest. `committed` is the source's commit time (aware).
    `tree` is the directory of the project's files; `code` names files or directories in it, relative,
    that go below /app; none means the whole tree, except hidden directories and environments/. `artifact` is
    the model's path in the project; its bytes are read from `tree / artifact`. An empty `command`
    means the built-in server. `labels` are the project's own, pairs; those of mlops win.
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
    labels: tuple[tuple[str, str], ...] = ()
    compression: Compression = Compression.GZIP
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """A stored image; `ref.digest` is `manifest` as long as an image has one platform.

    `base` is `{ref, index, platform, manifest}`, as release records have it; `reused` says
    that nothing was built. `notes` are for a person: what the installer warned of.
    """

    ref: ImageRef
    manifest: Digest
    platform: str
    layers: tuple[Layer, ...]
    base: Mapping[str, str]
    reused: bool = False
    notes: tuple[str, ...] = ()


def build_environment(
    store: ImageStore, request: EnvironmentRequest, tools: Toolchain
) -> BuiltImage:
    """Assemble the environment image `<prefix><model>-env`, tagged `env-<key>`.

    What has that tag already is the answer, unless `rebuild`. Raises BuildError or RegistryError.
    """
    repository, tag = f"{request.prefix}{request.model}-env", environment_tag(request)
    known = None if request.rebuild else store.resolve(repository, tag)
    if known is not None and complete(store, known):
        return _built(store, repository, known, reused=True)
    base = _base(store, request, tools)
    runner = None if request.base.ref == host.HOST and tools.packed_here else tools.runner
    python = of_base(base, request.base.manifest, tools.runner, request.base.ref)
    site = dependencies.Site(request.base.manifest, base.platform, python, tools.installer, runner)
    with store.staging() as scratch:
        found = dependencies.install(
            site,
            request.requirements,
            request.allow_builds,
            scratch,
            Custody(store, request.prefix, request.model),
            tools.packages,
            tools.say,
        )
        layers = _put(store, LayerKind.DEPENDENCIES, found.shares, request, site)
    if request.server:
        tree = (Share("", server.tree()),)
        layers += _put(store, LayerKind.SERVER, tree, request, site)
    image = replace(
        base,
        layers=(*base.layers, *layers),
        env=(*base.env, *_environment_variables(base)),
        annotations=_base_annotations(request.base),
        entrypoint=(),
        command=("python",),
        created=EPOCH,
    )
    built = _built(store, repository, put(store, image, repository, tag))
    return replace(built, notes=found.notes)


def _put(
    store: ImageStore,
    kind: LayerKind,
    shares: Sequence[Share],
    request: EnvironmentRequest,
    site: dependencies.Site,
) -> list[Layer]:
    """A layer for each share: compiled apart, so that its bytes do not depend on the others'."""

    def put_share(share: Share) -> Layer:
        tree = dependencies.compiled(site, share.tree) if request.bytecode else share.tree
        return put_layer(store, kind, tree, request.compression, share.name)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(put_share, shares))


def build_release(store: ImageStore, request: ReleaseRequest) -> BuiltImage:
    """Assemble the release image `<prefix><model>`, tagged `source-<12 hex>`.

    The same commit, environment, code and model bytes give the same digest. Raises BuildError or
    RegistryError.
    """
    ground = load(store, request.environment)
    code = project.code(request.tree, request.code, request.artifact)
    model = project.model(request.tree, request.artifact, request.model)
    layers = [put_layer(store, LayerKind.MODEL, model, request.compression)]
    if code:
        layers.insert(0, put_layer(store, LayerKind.CODE, code, request.compression))
    image = replace(
        ground,
        layers=(*ground.layers, *layers),
        env=(*ground.env, *_release_variables(request, code)),
        labels=(
            *ground.labels,
            *request.labels,
            ("org.opencontainers.image.revision", request.source.sha),
            ("dev.mlops.model", request.model),
            ("dev.mlops.source", request.source.sha),
        ),
        command=request.command or server.COMMAND,
        directory=project.APP,
        user=_USER,
        ports=(request.port,),
        health=None if request.command else Health(server.CHECK),
        created=request.committed,
    )
    repository = f"{request.prefix}{request.model}"
    tag = f"source-{request.source.sha[:12]}"
    return _built(store, repository, put(store, image, repository, tag))


def environment_tag(request: EnvironmentRequest) -> str:
    """`env-<24 hex>`: what an environment image depends on, in one word."""
    parts = [
        BUILDER,
        request.base.ref,
        str(request.base.digest),
        str(request.base.manifest),
        server.version() if request.server else "",
        f"{request.compression}, {'with' if request.bytecode else 'without'} bytecode",
        *sorted(request.allow_builds),
    ]
    total = hashlib.sha256("\n".join(parts).encode() + b"\0" + request.requirements)
    return f"env-{total.hexdigest()[:24]}"


def _base(store: ImageStore, request: EnvironmentRequest, tools: Toolchain) -> Image:
    """The base as it is locked; packed or copied again where the store has lost it."""
    base = request.base
    if not complete(store, base.manifest):
        found = _fetch(store, request, tools)
        if found != base.manifest:
            raise BuildError(
                f"the base {base.ref} is {found} now, and mlops.lock pins {base.manifest}",
                hint=f"Take it from a machine or registry that has it, or move on: mlops lock --upgrade "
                f"{base.ref}, and commit what it wrote",
            )
    return load(store, base.manifest)


def _fetch(store: ImageStore, request: EnvironmentRequest, tools: Toolchain) -> Digest:
    base = request.base
    if base.ref == host.HOST:
        return host.pack(store, tools.installer)[0]
    if tools.bases is None:
        raise BuildError(f"the base {base.ref} is not in {store.location}", hint="Run: mlops lock")
    # what is locked, and not what a tag names now
    named = f"{base.ref.partition('@sha256:')[0]}@{base.digest}"
    try:
        return tools.bases.fetch(named, request.project, base.platform, store)[1]
    except OutsideError as exc:
        onwards = f"lock what its tag names now: mlops lock --upgrade {base.ref}"
        raise type(exc)(
            f"{exc.message}; {store.location} has no copy of it",
            hint=f"{exc.hint}; or {onwards}" if exc.hint else onwards,
            retryable=exc.retryable,
        ) from exc


def _built(
    store: ImageStore, repository: str, manifest: Digest, *, reused: bool = False
) -> BuiltImage:
    image = load(store, manifest)
    base = {
        "ref": image.annotation(BASE_NAME),
        "index": image.annotation(BASE_DIGEST),
        "platform": image.platform,
        "manifest": image.annotation(BASE_MANIFEST),
    }
    ref = ImageRef(repository, manifest)
    return BuiltImage(ref, manifest, image.platform, image.layers, base, reused)


def _base_annotations(base: PinnedBase) -> tuple[tuple[str, str], ...]:
    return (
        (BASE_NAME, base.ref),
        (BASE_DIGEST, str(base.digest)),
        (BASE_MANIFEST, str(base.manifest)),
    )


def _environment_variables(base: Image) -> tuple[tuple[str, str], ...]:
    path = dict(base.env).get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return (
        ("PATH", f"{VENV}/bin:{path}"),
        ("VIRTUAL_ENV", str(VENV)),
        # training writes into the user's tree, where DVC hashes directories of sources
        ("PYTHONDONTWRITEBYTECODE", "1"),
    )


def _release_variables(request: ReleaseRequest, code: tar.Tree) -> tuple[tuple[str, str], ...]:
    return (
        ("PYTHONPATH", ":".join([*project.import_places(code), server.HOME])),
        ("HOME", "/tmp"),  # noqa: S108 (of a container that runs as nobody)
        ("MLOPS_MODEL", request.model),
        ("MLOPS_SOURCE", request.source.sha),
        ("PORT", str(request.port)),
    )
