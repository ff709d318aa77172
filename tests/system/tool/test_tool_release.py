"""From an image to a package that names it: what is published, what says so, and what does not fit."""

from __future__ import annotations

import json
import socket
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import mlops
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images
from mlops.build import image
from mlops.config.toolimage import parse_tool_image
from mlops.domain.digest import Digest
from tests.system.registry.servers import Running
from tests.system.tool.conftest import PACKAGED, Built, Published, tool_image

INDEX = "application/vnd.oci.image.index.v1+json"


def altered(wheel: Path, into: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The wheel with other bytes for some files; None leaves one out."""
    made = into / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return made


def test_the_package_names_what_the_registry_has(published: Published, built: Built):
    document = Registry(published.image.repository).manifest(published.image.digest)
    (entry,) = json.loads(document)["manifests"]
    assert entry["digest"] == str(built.digest)
    assert entry["platform"] == {"os": "linux", "architecture": "amd64"}
    assert published.image.version == mlops.__version__
    with zipfile.ZipFile(published.wheel) as wheel:
        assert parse_tool_image(wheel.read(PACKAGED)) == published.image
    out = tool_image("check", published.wheel, published.sdist).stdout
    assert out == f"{published.ref} holds mlops {mlops.__version__}: linux/amd64\n"


def test_publishing_again_changes_nothing(published: Published, built: Built, tmp_path: Path):
    argv = ("publish", "--store", built.store, "--to", published.image.repository)
    again = tool_image(*argv, "--record", tmp_path / "record.yaml").stdout.strip()
    assert again == published.ref
    assert parse_tool_image((tmp_path / "record.yaml").read_bytes()) == published.image


def test_a_version_is_published_once(registry: Running, built: Built, tmp_path: Path):
    other = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    Registry(f"{registry.host}/ml/taken").push_manifest(other, INDEX, mlops.__version__)
    argv = ("publish", "--store", built.store, "--to", f"{registry.host}/ml/taken")
    done = tool_image(*argv, "--record", tmp_path / "record.yaml", code=1)
    assert "is published already" in done.stderr
    assert "raise the version" in done.stderr
    assert not (tmp_path / "record.yaml").exists()


def test_a_registry_that_is_away_leaves_no_record(built: Built, tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        away = f"127.0.0.1:{taken.getsockname()[1]}"
        argv = ("publish", "--store", built.store, "--to", f"{away}/ml/mlops")
        done = tool_image(*argv, "--record", tmp_path / "record.yaml", code=3)
    assert away in done.stderr
    assert not (tmp_path / "record.yaml").exists()


def test_a_store_without_the_image_is_told(tmp_path: Path):
    done = tool_image("publish", "--store", tmp_path / "none", "--to", "127.0.0.1:1/m", code=2)
    assert f"has no tool image of mlops {mlops.__version__}" in done.stderr


def test_two_images_for_one_platform_are_refused(built: Built, tmp_path: Path):
    argv = ("publish", "--store", built.store, "--store", built.store, "--to", "127.0.0.1:1/m")
    assert "two tool images for linux/amd64" in tool_image(*argv, code=3).stderr


def test_an_index_has_each_platform(
    built: Built, registry: Running, published: Published, tmp_path: Path
):
    store = OciLayout(built.store)
    found = image.load(store, built.digest)
    other = OciLayout(tmp_path / "arm64")
    image.copy(store, other, built.digest, "mlops")

    image.put(other, replace(found, platform="linux/arm64"), "mlops", mlops.__version__)
    to = f"{registry.host}/ml/both"
    record = tmp_path / "record.yaml"
    stores = ("--store", tmp_path / "arm64", "--store", built.store)
    ref = tool_image("publish", *stores, "--to", to, "--record", record).stdout.strip()
    named = parse_tool_image(record.read_bytes())
    assert [platform for platform, _ in named.manifests] == ["linux/amd64", "linux/arm64"]
    assert named.locked().manifest == built.digest
    wheel = altered(
        published.wheel,
        tmp_path,
        lambda name, content: record.read_bytes() if name == PACKAGED else content,
    )
    out = tool_image("check", wheel).stdout
    assert out == f"{ref} holds mlops {mlops.__version__}: linux/amd64, linux/arm64\n"


# -- what check finds


def test_a_wheel_without_a_name_is_no_release(wheel: Path):
    assert "names no tool image" in tool_image("check", wheel, code=1).stderr


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("mlops/errors.py", b"# other\n", "mlops/errors.py is another in the image"),
        ("mlops/errors.py", None, "mlops/errors.py is in the image alone"),
    ],
)
def test_another_mlops_in_the_wheel_is_found(
    published: Published, tmp_path: Path, file: str, content: bytes | None, said: str
):
    wheel = altered(published.wheel, tmp_path, lambda name, old: content if name == file else old)
    assert tool_image("check", wheel, code=1).stdout == f"linux/amd64: {said}\n"


def test_a_digest_that_is_nowhere_is_told(published: Published, tmp_path: Path):
    absent = Digest("0" * 64)

    def change(name: str, old: bytes) -> bytes:
        return old.replace(published.image.digest.hex.encode(), absent.hex.encode())

    wheel = altered(published.wheel, tmp_path, change)
    assert f"has no manifest {absent}" in tool_image("check", wheel, code=3).stderr


def test_a_manifest_outside_its_index_is_found(published: Published, built: Built, tmp_path: Path):
    def change(name: str, old: bytes) -> bytes:
        return old.replace(built.digest.hex.encode(), b"0" * 64)

    wheel = altered(published.wheel, tmp_path, change)
    assert f"is not in {published.image.digest}" in tool_image("check", wheel, code=1).stdout


@pytest.mark.parametrize("content", [b"digest: sha256:00\n", b"\xff", b"[", b""])
def test_a_damaged_name_is_told(published: Published, tmp_path: Path, content: bytes):
    wheel = altered(
        published.wheel, tmp_path, lambda name, old: content if name == PACKAGED else old
    )
    assert PACKAGED in tool_image("check", wheel, code=2).stderr


def test_what_is_no_wheel_is_told(tmp_path: Path):
    for name in ("mlops.whl", "mlops.tar.gz"):
        (tmp_path / name).write_bytes(b"nothing")
        assert "cannot be read" in tool_image("check", tmp_path / name, code=2).stderr


# -- what build refuses


def build(wheel: Path, base: str, tmp_path: Path, code: int) -> str:
    argv = ("build", wheel, "--store", tmp_path / "store", "--base", base)
    return tool_image(*argv, code=code).stderr


def test_a_wheel_that_names_an_image_goes_into_none(
    published: Published, base: str, tmp_path: Path
):
    assert "names a tool image already" in build(published.wheel, base, tmp_path, 3)


def test_a_damaged_wheel_is_told(base: str, wheel: Path, tmp_path: Path):
    cut = tmp_path / wheel.name
    cut.write_bytes(wheel.read_bytes()[:5000])
    assert "cannot be read as a wheel" in build(cut, base, tmp_path, 3)


def test_a_wheel_that_needs_more_than_its_lock_has_is_refused(
    wheel: Path, base: str, tmp_path: Path
):
    def change(name: str, old: bytes) -> bytes:
        more = b"Requires-Dist: httpx>=99\n\n"
        return old.replace(b"\n\n", b"\n" + more, 1) if name.endswith("/METADATA") else old

    other = altered(wheel, tmp_path, change)
    said = build(other, base, tmp_path, 3)
    assert "the wheel needs httpx>=99, and its lock has" in said
    assert "make lock" in said


def test_a_base_without_git_is_refused(wheel: Path, tmp_path: Path, bare: str):
    assert "lacks git, ssh" in build(wheel, bare, tmp_path, 3)


def test_a_base_for_another_platform_is_refused(wheel: Path, base: str, tmp_path: Path):
    layout = OciLayout(Path(base.removeprefix("oci:")))
    (digest,) = layout.tags("debian").values()
    other = OciLayout(tmp_path / "other")
    image.copy(layout, other, digest, "debian")

    made = image.put(other, replace(image.load(layout, digest), platform="linux/s390x"), "debian")
    said = build(wheel, f"oci:{tmp_path}/other@{made}", tmp_path, 3)
    assert "is for linux/s390x, and linux/amd64 is wanted" in said


def test_a_base_comes_from_a_registry_by_digest(
    wheel: Path, base: str, built: Built, registry: Running, tmp_path: Path
):

    layout = OciLayout(Path(base.removeprefix("oci:")))
    (digest,) = layout.tags("debian").values()
    images.push(layout, digest, Registry(f"{registry.host}/library/debian"), tag="git")
    name = f"{registry.host}/library/debian:git"
    assert "pinned by no digest" in build(wheel, name, tmp_path, 2)
    argv = ("build", wheel, "--store", tmp_path / "store", "--base", f"{name}@{digest}")
    made = Digest.parse(tool_image(*argv).stdout.strip())
    found = image.load(OciLayout(tmp_path / "store"), made)
    assert found.annotation("org.opencontainers.image.base.name") == name
    assert found.layers == image.load(OciLayout(built.store), built.digest).layers


def test_a_base_that_is_away_is_told(wheel: Path, tmp_path: Path):
    digest = "sha256:" + "0" * 64
    assert "127.0.0.1:9" in build(wheel, f"127.0.0.1:9/debian@{digest}", tmp_path, 3)
