"""An image as one file, read by the programs that read images."""

import io
import json
import os
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.adapters import imagearchive
from mlops.adapters.layout import OciLayout
from mlops.adapters.ociindex import INDEX_TYPE
from mlops.build import image
from mlops.build.layers import LayerKind, put_layer
from mlops.build.tar import Content
from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageName

NAME = ImageName.parse("spam:1")


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    return OciLayout(tmp_path / "layout")


@pytest.fixture
def made(layout: OciLayout) -> Digest:
    layers = tuple(
        put_layer(layout, LayerKind.BASE, {f"etc/{name}": Content(name.encode())})
        for name in ("one", "two")
    )
    wanted = image.Image("linux/amd64", layers, entrypoint=("/bin/none",), user="65532")
    return image.put(layout, wanted, "spam")


@pytest.fixture
def archive(layout: OciLayout, made: Digest, tmp_path: Path) -> Path:
    return written(layout, made, tmp_path / "spam.tar")


def written(layout: OciLayout, top: Digest, into: Path) -> Path:
    with into.open("wb") as stream:
        imagearchive.write(stream, imagearchive.parts(layout, top, NAME))
    return into


def config(layout: OciLayout, made: Digest) -> str:
    return str(json.loads(layout.manifest(made))["config"]["digest"])


def said(*argv: str, **env: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | env)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("program", ["podman", "docker"])
def test_engines_load_it(
    program: str, request: pytest.FixtureRequest, archive: Path, layout: OciLayout, made: Digest
):
    request.getfixturevalue(program)
    said(program, "load", "--input", str(archive))
    found = json.loads(said(program, "image", "inspect", "spam:1"))[0]
    assert found["Id"].removeprefix("sha256:") == config(layout, made).removeprefix("sha256:")
    assert found["Config"]["User"] == "65532"
    assert len(found["RootFS"]["Layers"]) == 2
    said(program, "rmi", "spam:1")


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_skopeo_reads_it_both_ways(
    transport: str, archive: Path, layout: OciLayout, made: Digest, tmp_path: Path
):
    said("skopeo", "copy", "--quiet", f"{transport}:{archive}", f"oci:{tmp_path / 'out'}:1")
    found = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"][0]["digest"]
    if transport == "oci-archive":
        assert found == str(made), "every byte is as it was"
    copied, wanted = (
        image.load(OciLayout(tmp_path / "out"), Digest.parse(found)),
        image.load(layout, made),
    )
    assert [layer.diff_id for layer in copied.layers] == [layer.diff_id for layer in wanted.layers]
    assert copied.user == wanted.user


def test_umoci_unpacks_it(archive: Path, tmp_path: Path):
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "dir", filter="data")
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    said("umoci", "unpack", *rootless, "--image", f"{tmp_path}/dir:1", str(tmp_path / "bundle"))
    root = tmp_path / "bundle/rootfs/etc"
    assert {path.name: path.read_text() for path in root.iterdir()} == {"one": "one", "two": "two"}


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[str]:
    """A containerd of our own; its socket."""
    with tempfile.TemporaryDirectory() as short:  # a socket's name must be short
        settings = Path(short, "config.toml")
        settings.write_text(
            f'version = 2\nroot = "{tmp_path}/root"\nstate = "{short}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{short}/sock"\n'
        )
        with (tmp_path / "log").open("wb") as log:
            daemon = subprocess.Popen(
                ["containerd", "--config", str(settings)], stdout=log, stderr=log
            )
        try:
            end = time.monotonic() + 60
            ask = ["ctr", "--address", f"{short}/sock", "version"]
            while subprocess.run(ask, check=False, capture_output=True).returncode:
                assert daemon.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(0.1)
            yield f"{short}/sock"
        finally:
            daemon.terminate()
            daemon.wait(timeout=60)


def test_containerd_imports_it(containerd: str, archive: Path, made: Digest):
    said("ctr", "--address", containerd, "images", "import", "--no-unpack", str(archive))
    (line,) = said("ctr", "--address", containerd, "images", "ls").splitlines()[1:]
    assert line.split()[0] == "docker.io/library/spam:1"
    assert str(made) in line


def test_the_same_image_gives_the_same_bytes(layout: OciLayout, made: Digest, tmp_path: Path):
    one, two = (written(layout, made, tmp_path / name) for name in ("a.tar", "b.tar"))
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as tar:
        assert {(member.mtime, member.uid, member.gid) for member in tar} == {(0, 0, 0)}


def test_an_image_for_two_platforms_is_whole(layout: OciLayout, tmp_path: Path):
    described = []
    for architecture in ("amd64", "arm64"):
        layer = put_layer(layout, LayerKind.BASE, {"etc/name": Content(architecture.encode())})
        digest = image.put(layout, image.Image(f"linux/{architecture}", (layer,)), "spam")
        size = len(layout.manifest(digest))
        about = {"os": "linux", "architecture": architecture}
        described.append(
            {"mediaType": image.MANIFEST_TYPE, "digest": str(digest), "size": size, "platform": about}
        )  # fmt: skip
    document = json.dumps({"schemaVersion": 2, "manifests": described}).encode()
    top = layout.put_manifest(document, INDEX_TYPE, "spam")
    out = io.BytesIO()
    imagearchive.write(out, imagearchive.parts(layout, top, NAME))
    (tmp_path / "both.tar").write_bytes(out.getvalue())
    said(
        "skopeo", "copy", "--quiet", "--all",
        f"oci-archive:{tmp_path / 'both.tar'}", f"oci:{tmp_path / 'out'}:1",
    )  # fmt: skip
    assert OciLayout(tmp_path / "out").has_manifest(top)
