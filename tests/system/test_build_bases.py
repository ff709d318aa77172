"""Bases from layouts and archives, and builds inside a base that is not this machine."""

import io
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.bases import LocalBases, parse
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host, image, strategy
from mlops.build.interpreter import of_base
from mlops.build.layers import LayerKind, put_layer
from mlops.build.strategy import EnvironmentRequest, PinnedBase, Toolchain
from mlops.build.tar import Content, Link
from mlops.domain.digest import Digest
from mlops.errors import BuildError, ConfigError, RegistryError

AMD, ARM = "linux/amd64", "linux/arm64"


def small(store: OciLayout, text: str, tag: str = "", platform: str = AMD) -> Digest:
    """An image of one file, in repository `python`."""
    layer = put_layer(store, LayerKind.BASE, {"etc/name": Content(text.encode())})
    return image.put(store, image.Image(platform, (layer,)), "python", tag)


def index_of(store: OciLayout, tag: str, **platforms: Digest) -> Digest:
    entries = []
    for architecture, digest in platforms.items():
        size = len(store.manifest(digest))
        about = {"os": "linux", "architecture": architecture}
        entries.append(
            {
                "mediaType": image.MANIFEST_TYPE,
                "digest": str(digest),
                "size": size,
                "platform": about,
            }
        )
    document = {"schemaVersion": 2, "manifests": entries}
    media_type = "application/vnd.oci.image.index.v1+json"
    return store.put_manifest(json.dumps(document).encode(), media_type, "python", tag)


def archived(root: Path, into: Path) -> Path:
    with tarfile.open(into, "w") as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, path.relative_to(root), recursive=False)
    return into


def fetch(ref: str, tmp_path: Path, platform: str = AMD) -> tuple[OciLayout, Digest, Digest]:
    store = OciLayout(tmp_path / "project-registry")
    top, manifest = LocalBases().fetch(ref, tmp_path, platform, store)
    return store, top, manifest


def content(store: OciLayout, manifest: Digest) -> bytes:
    (layer,) = image.load(store, manifest).layers
    with tarfile.open(store.blob_path(layer.digest, size=layer.size, verify=True)) as tar:
        file = tar.extractfile("etc/name")
        assert file is not None
        return file.read()


def test_by_tag_digest_or_alone(tmp_path: Path):
    layout = OciLayout(tmp_path / "bases")
    one, two = small(layout, "one", "3.12"), small(layout, "two", "3.13")
    for ref, expected in (
        ("oci:bases:3.12", one),
        ("oci:bases:python:3.13", two),
        (f"oci:{tmp_path}/bases:3.13", two),
        (f"oci:bases@{one}", one),
    ):
        store, top, manifest = fetch(ref, tmp_path)
        assert (top, manifest) == (expected, expected)
        assert store.manifest(manifest) == layout.manifest(expected)
        assert content(store, manifest) == (b"one" if expected == one else b"two")
    with pytest.raises(BuildError, match="names 2 images") as refused:
        fetch("oci:bases", tmp_path)
    assert "python:3.12, python:3.13" in refused.value.hint


def test_the_platform_is_chosen_from_an_index(tmp_path: Path):
    layout = OciLayout(tmp_path / "bases")
    amd, arm = small(layout, "amd", platform=AMD), small(layout, "arm", platform=ARM)
    index = index_of(layout, "latest", amd64=amd, arm64=arm)
    for platform, expected, text in ((AMD, amd, b"amd"), (ARM, arm, b"arm")):
        store, top, manifest = fetch("oci:bases:latest", tmp_path, platform)
        assert (top, manifest, content(store, manifest)) == (index, expected, text)
    with pytest.raises(BuildError, match=r"has no image for linux/riscv64"):
        fetch("oci:bases:latest", tmp_path, "linux/riscv64")


def test_an_archive_of_a_layout(tmp_path: Path):
    layout = OciLayout(tmp_path / "bases")
    one = small(layout, "one", "3.12")
    archived(layout.root, tmp_path / "base.tar")
    store, top, manifest = fetch("oci-archive:base.tar", tmp_path)
    assert (top, manifest, content(store, manifest)) == (one, one, b"one")
    assert list((store.root / "tmp").iterdir()) == []


def docker_save(tmp_path: Path, change: Callable[[dict[str, bytes]], None] = lambda _: None) -> str:
    """What older dockers write: plain layers, a manifest.json, no digests of manifests."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("etc/name")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"saved"))
    diff_id = str(Digest.of(out.getvalue()))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    manifest = [{"Config": "c.json", "RepoTags": ["python:3.12"], "Layers": ["l/layer.tar"]}]
    files = {
        "l/layer.tar": out.getvalue(),
        "c.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    change(files)
    with tarfile.open(tmp_path / "saved.tar", "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return "docker-archive:saved.tar"


def test_what_docker_save_writes(tmp_path: Path):
    store, top, manifest = fetch(docker_save(tmp_path), tmp_path)
    assert top == manifest
    assert content(store, manifest) == b"saved"
    _, again, _ = fetch("archive:saved.tar:3.12", tmp_path)
    assert again == top


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.update({"manifest.json": b"{"}),
        lambda files: files.update(
            {"manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'}
        ),
        lambda files: files.update({"manifest.json": b'[{"Config": "absent", "Layers": []}]'}),
        lambda files: files.update({"manifest.json": b'[{"Layers": []}]'}),
        lambda files: files.pop("manifest.json"),
        lambda files: files.update({"../../planted": b"x"}),
        lambda files: files.update({"/tmp/images-planted": b"x"}),
    ],
)
def test_archives_from_strangers(tmp_path: Path, change: Callable[[dict[str, bytes]], None]):
    work = tmp_path / "a" / "b"
    work.mkdir(parents=True)
    with pytest.raises(BuildError):
        fetch(docker_save(work, change), work)
    assert not (tmp_path / "planted").exists()
    assert not Path("/tmp/images-planted").exists()


def test_a_root_file_system_is_no_image_archive(tmp_path: Path):
    with tarfile.open(tmp_path / "rootfs.tar", "w") as tar:
        for name, to in (("dev/fd", "/proc/self/fd"), ("bin/sh", "../../bin/dash")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, to
            tar.addfile(link)
        tar.addfile(tarfile.TarInfo("etc/hosts"))
    with pytest.raises(BuildError, match=r"rootfs\.tar is no image archive: neither") as refused:
        fetch("oci-archive:rootfs.tar", tmp_path)
    assert "podman import" in str(refused.value.hint)


def test_a_file_outside_is_told_with_the_archive(tmp_path: Path):
    ref = docker_save(tmp_path, lambda files: files.update({"../planted": b"x"}))
    with pytest.raises(BuildError, match=r"saved\.tar names a file outside itself: '\.\./planted'"):
        fetch(ref, tmp_path)


@pytest.mark.parametrize("data", [b"", b"no tar", b"\x1f\x8b broken"])
def test_a_file_that_is_no_archive(tmp_path: Path, data: bytes):
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(BuildError, match=r"x\.tar"):
        fetch("oci-archive:x.tar", tmp_path)


def test_damage_is_seen_and_nothing_entered(tmp_path: Path):
    layout = OciLayout(tmp_path / "bases")
    one = small(layout, "one", "3.12")
    (layer,) = image.load(layout, one).layers
    path = layout.blob_path(layer.digest)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(RegistryError, match="other bytes"):
        fetch("oci:bases:3.12", tmp_path)
    store = OciLayout(tmp_path / "project-registry")
    assert store.entries() == ()


def test_references_that_cannot_be(tmp_path: Path):
    with pytest.raises(ConfigError, match="names neither a layout nor an archive"):
        parse("python:3.12-slim", tmp_path)
    with pytest.raises(BuildError, match="absent is not an OCI image layout"):
        parse("oci:absent", tmp_path)
    with pytest.raises(BuildError, match=r"is not an image archive"):
        parse("oci-archive:absent.tar", tmp_path)


# -- a base that is not this machine: this machine's own, without the labels that say so


@pytest.fixture(scope="module")
def foreign(
    tmp_path_factory: pytest.TempPathFactory, host_store: Callable[[Path], OciLayout]
) -> tuple[OciLayout, Digest]:
    store = host_store(tmp_path_factory.mktemp("foreign"))
    digest, _ = host.pack(store, Uv())
    packed = image.load(store, digest)
    link = {"usr/local/bin/python3": Link(str(host.interpreter()))}
    layer = put_layer(store, LayerKind.BASE, link)
    stripped = replace(packed, labels=(), env=(), layers=(*packed.layers, layer))
    return store, image.put(store, stripped, "python", "slim")


@pytest.fixture(scope="module")
def runner(
    foreign: tuple[OciLayout, Digest], tmp_path_factory: pytest.TempPathFactory
) -> SandboxedBase:
    return SandboxedBase(foreign[0], tmp_path_factory.mktemp("cache"))


def test_the_interpreter_is_asked_of_the_base(
    foreign: tuple[OciLayout, Digest], runner: SandboxedBase
):
    store, digest = foreign
    packed = image.load(store, host.pack(store, Uv())[0])
    expected = of_base(packed, digest, None, "host")
    assert of_base(image.load(store, digest), digest, runner, "oci:x") == expected


def test_dependencies_are_installed_inside_the_base(
    foreign: tuple[OciLayout, Digest],
    runner: SandboxedBase,
    tmp_path: Path,
):
    """No requirements here (the index is not ours to ask), and the server compiled by the base."""
    store, digest = foreign
    made = []
    for name in ("one", "two"):
        base = PinnedBase("oci:bases:slim", digest, digest)
        request = EnvironmentRequest("wine", base, b"", tmp_path / name, rebuild=True)
        made.append(
            strategy.build_environment(store, request, Toolchain(Uv(), runner, LocalBases()))
        )
    assert made[0] == made[1]
    kinds = [layer.kind for layer in made[0].layers]
    assert kinds == [LayerKind.BASE, LayerKind.BASE, LayerKind.DEPENDENCIES, LayerKind.SERVER]
    script = "import sys; print(sys.prefix, sys.flags.no_user_site)"
    out = runner.run(made[0].manifest, ("/opt/venv/bin/python", "-c", script), doing="asking")
    assert out == b"/opt/venv 0\n"


def test_a_failing_command_says_what_it_wrote(
    foreign: tuple[OciLayout, Digest], runner: SandboxedBase
):
    with pytest.raises(BuildError, match=r"failed while trying \(exit 3\): no luck"):
        runner.run(foreign[1], ("/bin/sh", "-c", "echo no luck >&2; exit 3"), doing="trying")


def test_a_base_without_python_is_refused(foreign: tuple[OciLayout, Digest], runner: SandboxedBase):
    store, digest = foreign
    bare = replace(image.load(store, digest), env=(("PATH", "/opt/none"),))
    with pytest.raises(BuildError, match="has no python3 on its path /opt/none"):
        of_base(bare, digest, runner, "oci:x")


BROKEN = {
    "another libc": (
        lambda: host.interpreter().read_bytes().replace(b"/lib64/ld-linux", b"/lib64/ld-muslx"),
        "it needs /lib64/ld-muslx-x86-64.so.2, which the base lacks",
    ),
    "a missing library": (
        lambda: host.interpreter().read_bytes().replace(b"\0libc.so.6\0", b"\0libx.so.9\0"),
        "libx.so.9: cannot open shared object file",
    ),
    "killed": (lambda: b"#!/bin/sh\nkill -9 $$\n", "signal 9 ended it"),
    "a refusal": (lambda: b"#!/bin/sh\necho one >&2; echo no licence >&2; exit 3\n", "no licence$"),
    "silence": (lambda: b"#!/bin/sh\nexit 3\n", "exit code 3"),
    "half a program": (lambda: host.interpreter().read_bytes()[:4000], "damaged: no ELF file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_python_that_does_not_start_is_not_told_as_missing(
    foreign: tuple[OciLayout, Digest], runner: SandboxedBase, name: str
):
    content, reason = BROKEN[name][0](), BROKEN[name][1]
    store, digest = foreign
    layer = put_layer(store, LayerKind.BASE, {"opt/broken/python3": Content(content, True)})
    ground = image.load(store, digest)
    broken = replace(
        ground, layers=(*ground.layers, layer), env=(("PATH", "/opt/none:/opt/broken"),)
    )
    made = image.put(store, broken, "python", "broken")
    with pytest.raises(BuildError, match="does not start: ") as caught:
        of_base(broken, made, runner, "oci:x")
    assert caught.value.message.startswith("/opt/broken/python3 in the base oci:x")
    assert re.search(reason, caught.value.message), caught.value.message


def test_where_nothing_starts_the_base_is_not_blamed(foreign: tuple[OciLayout, Digest]):
    class Nowhere:
        enclosed = True

        def run(self, *_args, **_kwargs) -> bytes:
            raise BuildError("commands cannot run in the base: no namespaces")

    store, digest = foreign
    with pytest.raises(BuildError, match=r"^commands cannot run in the base: no namespaces$"):
        of_base(image.load(store, digest), digest, Nowhere(), "oci:x")


def test_a_musl_base_is_refused_with_the_reason(foreign: tuple[OciLayout, Digest]):
    class Musl:
        enclosed = True

        def run(self, *_args, **_kwargs) -> bytes:
            return (
                b'{"path": "/usr/bin/python3", "version": "3.12.1", "libc": "x86_64-pc-linux-musl",'
                b' "kind": "cpython", "lock": true, "wide": true}'
            )

    store, digest = foreign
    with pytest.raises(BuildError, match="built on musl, for which most packages have no wheels"):
        of_base(image.load(store, digest), digest, Musl(), "oci:x")
