"""The tool image that is published: a wheel of mlops on a base that has Python and git.

Base and locked requirements make an environment image, as for any model; the wheel is the layer above.
The wheel lacks the file that names the image: that is written into the package once the image is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from packaging.utils import canonicalize_name

from mlops.build import dependencies, locked, wheel
from mlops.build.image import MANIFEST_TYPE, canonical, load, put
from mlops.build.interpreter import of_base
from mlops.build.layers import LayerKind, put_layer
from mlops.build.strategy import EnvironmentRequest, PinnedBase, Toolchain, build_environment
from mlops.build.tar import Content
from mlops.build.toolchain import BaseRunner
from mlops.build.wheel import Wheel
from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL
from mlops.errors import BuildError
from mlops.ports import ImageStore

VERSION = "org.opencontainers.image.version"
_INDEX = "application/vnd.oci.image.index.v1+json"
_USER = "65532:65532"
_NAMED = f"nonroot:x:{_USER}:nonroot:/tmp:/usr/sbin/nologin\n"  # ssh runs for nobody without a name
_USERS = "etc/passwd"
# For a number that no passwd has: where anybody may write, and a name, which DVC asks for
_VARIABLES = (("HOME", "/tmp"), ("DVC_SITE_CACHE_DIR", "/tmp/dvc"), ("USER", "nonroot"))  # noqa: S108
# What the steps of a run start, and the authorities that https is trusted by. Only the shell's own
# commands: a base for another processor starts no second program here.
_ASK = """
for name in git ssh; do command -v $name >/dev/null || echo $name; done
[ -s /etc/ssl/certs/ca-certificates.crt ] || echo /etc/ssl/certs/ca-certificates.crt
"""


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """What a tool image is made of: `requirements` are the bytes of a hashed lock, `sources` those of
    its packages that are built from source. `rebuild` ignores an environment built before."""

    base: PinnedBase
    wheel: Wheel
    requirements: bytes
    sources: tuple[str, ...] = ()
    rebuild: bool = False


def build(store: ImageStore, request: ToolRequest, tools: Toolchain) -> Digest:
    """Build the tool image for one platform, tagged `mlops:<version>`; its manifest.

    The base is in the store. Raises BuildError, RegistryError.
    """
    if wheel.TOOL_IMAGE in request.wheel.names:
        raise BuildError(
            f"{request.wheel.path} names a tool image already, so it cannot be what is in one",
            hint=f"Remove {wheel.TOOL_IMAGE} from the checkout, and build the wheel again",
        )
    if tools.runner is None:
        raise BuildError("a tool image cannot be built here: commands cannot run in its base")
    _check_base(tools.runner, request.base)
    _check_locked(request.wheel, request.requirements)
    asked = EnvironmentRequest(
        TOOL,
        request.base,
        request.requirements,
        request.wheel.path.parent,
        server=False,
        allow_builds=request.sources,
        rebuild=request.rebuild,
    )
    ground = load(store, build_environment(store, asked, tools).manifest)
    base = load(store, request.base.manifest)
    python = of_base(base, request.base.manifest, tools.runner, request.base.ref)
    site = dependencies.Site(
        request.base.manifest, base.platform, python, tools.installer, tools.runner
    )
    with store.staging() as scratch:
        tree = dependencies.wheel(site, request.wheel.line(), Path(mkdtemp(dir=scratch)))
        tree[_USERS] = Content((_passwd(tools.runner, request.base) + _NAMED).encode())
        layer = put_layer(store, LayerKind.CODE, dependencies.compiled(site, tree))
    image = replace(
        ground,
        layers=(*ground.layers, layer),
        env=(*ground.env, *_VARIABLES),
        labels=(*ground.labels, (VERSION, request.wheel.version)),
        user=_USER,
        command=(TOOL, "--help"),
    )
    return put(store, image, TOOL, request.wheel.version)


def index(stores: Sequence[tuple[ImageStore, Digest]]) -> tuple[bytes, Mapping[str, Digest]]:
    """An image index over one image for each platform: its bytes, and the manifests by platform.

    The same images give the same bytes, in whatever order. Raises BuildError where two are for one
    platform, or of different versions.
    """
    found: dict[str, tuple[Digest, int]] = {}
    versions = set()
    for store, manifest in stores:
        image = load(store, manifest)
        versions.add(image.label(VERSION))
        if image.platform in found:
            raise BuildError(f"there are two tool images for {image.platform}: one is needed")
        found[image.platform] = (manifest, len(store.manifest(manifest)))
    if len(versions) != 1:
        raise BuildError(
            f"tool images of one version are needed, not {', '.join(sorted(versions))}"
        )
    entries = [
        {
            "mediaType": MANIFEST_TYPE,
            "digest": str(digest),
            "size": size,
            "platform": _platform(platform),
        }
        for platform, (digest, size) in sorted(found.items())
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": entries,
        "annotations": {VERSION: versions.pop()},
    }
    return canonical(document), {name: found[name][0] for name in sorted(found)}


def _platform(text: str) -> dict[str, str]:
    names = ("os", "architecture", "variant")
    return dict(zip(names, text.split("/"), strict=False))


def _check_base(runner: BaseRunner, base: PinnedBase) -> None:
    doing = f"looking for git in {base.ref}"
    missing = runner.run(base.manifest, ("/bin/sh", "-c", _ASK), doing=doing).decode().split()
    if missing:
        raise BuildError(
            f"the base {base.ref} lacks {', '.join(missing)}, which steps of a run need",
            hint="Name a base that has them, as buildpack-deps:…-scm does",
        )


def _passwd(runner: BaseRunner, base: PinnedBase) -> str:
    """The users of the base, without any that has our number."""
    read = f'while read -r line; do echo "$line"; done </{_USERS}'
    text = runner.run(
        base.manifest, ("/bin/sh", "-c", read), doing=f"reading the users of {base.ref}"
    )
    number = _USER.partition(":")[0]
    lines = text.decode(errors="surrogateescape").splitlines()
    return "".join(f"{line}\n" for line in lines if line.split(":")[2:3] != [number])


def _check_locked(built: Wheel, requirements: bytes) -> None:
    """What the wheel needs must be among the pins, in a version that fits. Raises BuildError."""
    pins = {pin.name: pin for pin in locked.parse(requirements)}
    for needed in built.requires:
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        pin = pins.get(canonicalize_name(needed.name))
        if pin is None or (pin.version and not needed.specifier.contains(pin.version, True)):
            raise BuildError(
                f"the wheel needs {needed}, and its lock has {pin.version if pin else 'none'}",
                hint="Run: make lock",
            )
