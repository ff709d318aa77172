"""The tool image of a release: builds it, publishes it and names it in the package, holds one against the other.

    python scripts/tool_image.py build WHEEL --store DIRECTORY [--base BASE]
    python scripts/tool_image.py publish --store DIRECTORY… --to REPOSITORY
    python scripts/tool_image.py check DISTRIBUTION…

build makes the image for this machine's platform, of a wheel that names no image, on the base that pyproject.toml
pins, and prints the manifest's digest. publish pushes such images, one for each platform, below one index, prints
the index's digest and writes it into the checkout: wheels and sdists that are built from then on name it. check
reads such distributions, fetches the image that they name, and exits 1 where it holds another mlops than they do.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mlops.adapters import ociindex, pulling
from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.bases import LocalBases
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images
from mlops.adapters.rootfs import for_this_machine, machine_cache
from mlops.adapters.uv import Uv
from mlops.build import host, image, toolcheck, toolrelease, wheel
from mlops.build.strategy import PinnedBase, Toolchain
from mlops.build.toolrelease import ToolRequest
from mlops.config.toolimage import dump_tool_image, parse_tool_image
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.lock import TOOL
from mlops.domain.toolimage import ToolImage
from mlops.errors import BuildError, MlopsError, RefusedError, UsageError

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements-tool.txt"
RECORD = ROOT / wheel.TOOL_IMAGE


def say(text: str) -> None:
    """Tell the story on stderr; stdout is the answer."""
    print(text, file=sys.stderr)


def build(arguments: argparse.Namespace) -> int:
    """Build the image for this machine's platform, and print its digest."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mlops"]["tool-image"]
    store = OciLayout(arguments.store)
    request = ToolRequest(
        base(arguments.base or settings["base"], store),
        wheel.read(arguments.wheel),
        REQUIREMENTS.read_bytes(),
        tuple(settings["sources"]),
    )
    say(f"building on {request.base.ref} ({request.base.manifest.short}, {request.base.platform})")
    tools = Toolchain(Uv(ROOT), SandboxedBase(store, machine_cache()))
    print(toolrelease.build(store, request, tools))
    return 0


def base(name: str, store: OciLayout) -> PinnedBase:
    """Bring the base into the store: `oci:DIRECTORY[:TAG]`, or an image of a registry by its digest."""
    platform = host.host_platform()
    if name.startswith(("oci:", "oci-archive:")):
        ref = name
        top, manifest = LocalBases().fetch(name, Path.cwd(), platform, store)
    else:
        ref, _, digest = name.partition("@")
        if not digest:
            raise UsageError(f"the base {name} is pinned by no digest", hint=f"{ref}@sha256:…")
        top = Digest.parse(digest)
        say(f"fetching {name}")
        pulling.pull(Registry(_untagged(ref), ours=False), top, store)
        document = ociindex.parse(store.manifest(top))
        manifest = for_this_machine(document, top) if "manifests" in document else top
    found = image.load(store, manifest).platform
    if found.split("/")[:2] != platform.split("/"):
        raise BuildError(f"the base {name} is for {found}, and this machine is {platform}")
    return PinnedBase(ref, top, manifest, platform)


def _untagged(ref: str) -> str:
    before, slash, last = ref.rpartition("/")
    return f"{before}{slash}{last.partition(':')[0]}"


def publish(arguments: argparse.Namespace) -> int:
    """Push one image for each platform below an index, write its digest into the checkout, print it."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    stores = [OciLayout(path) for path in arguments.store]
    built = [(store, _built(store, version)) for store in stores]
    content, manifests = toolrelease.index(built)
    digest, registry = Digest.of(content), Registry(arguments.to)
    before = registry.resolve(version)
    if before not in (None, digest):
        raise RefusedError(
            f"{arguments.to}:{version} is published already, as {before}, and this is {digest}",
            hint="Whoever installed it runs that image: raise the version",
        )
    for store, manifest in built:
        say(f"pushing {manifest.short} to {arguments.to}")
        images.push(store, manifest, registry, say=say)
    registry.push_manifest(content, ociindex.INDEX_TYPE, version)
    found = ToolImage(version, arguments.to, digest, tuple(manifests.items()))
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    arguments.record.write_bytes(dump_tool_image(found))
    say(f"{arguments.record} names it: build wheel and sdist now")
    print(ImageRef(arguments.to, digest))
    return 0


def _built(store: OciLayout, version: str) -> Digest:
    digest = store.resolve(TOOL, version)
    if digest is None or not image.complete(store, digest):
        raise UsageError(
            f"{store.location} has no tool image of mlops {version}",
            hint="Build it: python scripts/tool_image.py build WHEEL --store DIRECTORY",
        )
    return digest


def check(arguments: argparse.Namespace) -> int:
    """Exit 1 where distributions name no image, or one that holds another mlops than they do."""
    named = {path: _named(path) for path in arguments.distribution}
    if len(set(named.values())) > 1:
        raise RefusedError(f"{', '.join(map(str, named))} name different tool images")
    found = next(iter(named.values()))
    wheels = [wheel.read(path) for path in named if path.suffix == ".whl"]
    faults = [fault for each in wheels for fault in _faults(found, each)]
    for fault in faults:
        print(fault)
    if not faults:
        platforms = ", ".join(platform for platform, _ in found.manifests)
        print(f"{found.repository}@{found.digest} holds mlops {found.version}: {platforms}")
    return 1 if faults else 0


def _named(path: Path) -> ToolImage:
    """What a wheel or sdist says of its tool image."""
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                content = archive.read(wheel.TOOL_IMAGE)
        else:
            with tarfile.open(path) as archive:
                top = path.name.removesuffix(".tar.gz")
                file = archive.extractfile(f"{top}/{wheel.TOOL_IMAGE}")
                content = file.read() if file is not None else b""
    except KeyError:
        raise RefusedError(
            f"{path} names no tool image", hint="Publish the image, then build it again"
        ) from None
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as exc:
        raise UsageError(f"{path} cannot be read as a wheel or sdist: {exc}") from exc
    return parse_tool_image(content, f"{path}: {wheel.TOOL_IMAGE}")


def _faults(named: ToolImage, built: wheel.Wheel) -> Iterator[str]:
    if built.version != named.version:
        yield f"{built.path} is mlops {built.version}, and names the image of {named.version}"
        return
    registry = Registry(named.repository)
    index = ociindex.parse(registry.manifest(named.digest))
    listed = {str(ociindex.digest_of(each)) for each in ociindex.listed(index)}
    with tempfile.TemporaryDirectory() as scratch:
        store = OciLayout(Path(scratch))
        for platform, manifest in named.manifests:
            if str(manifest) not in listed:
                yield f"{platform}: {manifest} is not in {named.digest}"
                continue
            _fetch(registry, manifest, store)
            if image.load(store, manifest).platform != platform:
                yield f"{platform}: {manifest} is for {image.load(store, manifest).platform}"
            yield from (
                f"{platform}: {text}" for text in toolcheck.differences(store, manifest, built)
            )


def _fetch(registry: Registry, manifest: Digest, store: OciLayout) -> None:
    """The manifest of an image, its configuration and uppermost layer, which is mlops' own."""
    content = registry.manifest(manifest)
    sizes = images.blobs(ociindex.parse(content), manifest)
    digests = list(sizes)
    with store.staging() as staging:
        for digest in {digests[0], digests[-1]}:
            registry.fetch(digest, sizes[digest], staging / digest.hex)
            store.put_blob(staging / digest.hex, digest, known=True)
    store.put_manifest(content, image.MANIFEST_TYPE, TOOL)


def main() -> int:
    """Read the command line, and do as it says."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    made = commands.add_parser("build", help="build the image for this machine's platform")
    made.add_argument("wheel", type=Path)
    made.add_argument("--store", type=Path, required=True, help="the OCI layout to build into")
    made.add_argument("--base", default="", help="instead of the one that pyproject.toml pins")
    made.set_defaults(run=build)
    sent = commands.add_parser(
        "publish", help="push images below one index, and name it in the checkout"
    )
    sent.add_argument("--store", type=Path, action="append", required=True, help="once a platform")
    sent.add_argument("--to", required=True, help="the repository: ghcr.io/OWNER/mlops")
    sent.add_argument("--record", type=Path, default=RECORD, help=argparse.SUPPRESS)
    sent.set_defaults(run=publish)
    held = commands.add_parser(
        "check", help="hold wheels and sdists against the image that they name"
    )
    held.add_argument("distribution", type=Path, nargs="+")
    held.set_defaults(run=check)
    arguments = parser.parse_args()
    try:
        return int(arguments.run(arguments))
    except MlopsError as exc:
        say(f"error: {exc.message}")
        if exc.hint:
            say(f"  {exc.hint}")
        return exc.exit_code


if __name__ == "__main__":
    sys.exit(main())
