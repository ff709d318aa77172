"""What mlops.yaml says of the image: bytecode, compression, labels."""

import hashlib
import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops.build import image, strategy
from mlops.build.compression import Compression, Stream
from mlops.build.strategy import ReleaseRequest
from mlops.domain.digest import Digest
from mlops.domain.source import Commit
from tests.fakes.wheels import wheel
from tests.system.build.conftest import Bench

ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
SOURCE = Commit("0123456789abcdef0123456789abcdef01234567")


def release(bench: Bench, environment: Digest, tree: Path) -> ReleaseRequest:
    (tree / "src").mkdir(parents=True, exist_ok=True)
    (tree / "src/use.py").write_text("print('use')\n")
    (tree / "model.bin").write_bytes(b"model" * 1000)
    committed = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    return ReleaseRequest("wine", SOURCE, committed, environment, tree, ("src",), "model.bin")


def test_bytecode_can_be_left_out(bench: Bench):
    line = wheel(bench.wheels, "some", {"some/__init__.py": "x = 1\n"})
    with_it, without = bench.build(line), bench.build(line, bytecode=False)
    asks = "import some, os; print(some.x, os.path.exists(some.__cached__))"
    assert bench.python(with_it, asks) == "1 True\n"
    assert bench.python(without, asks) == "1 False\n"
    assert with_it.ref != without.ref
    tags = bench.store.tags("wine-env")
    assert len([tag for tag in tags if tag.startswith("env-")]) == 2


def test_zstd_packs_the_same_layers(bench: Bench, tmp_path: Path):
    line = wheel(bench.wheels, "some", {"some/__init__.py": "x = 1\n" * 1000})
    made = {}
    for kind in Compression:
        environment = bench.build(line, compression=kind)
        request = replace(release(bench, environment.manifest, tmp_path / kind), compression=kind)
        made[kind] = strategy.build_release(bench.store, request)
    gzip, zstd = (made[kind].layers for kind in Compression)
    assert [layer.diff_id for layer in gzip] == [layer.diff_id for layer in zstd]
    count = len(image.load(bench.store, bench.base.manifest).layers)
    assert gzip[:count] == zstd[:count]  # the base is as it came
    assert {layer.media_type for layer in zstd[count:]} == {ZSTD}
    for layer in zstd[count:]:
        path = bench.store.blob_path(layer.digest, size=layer.size, verify=True)
        assert path.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
        plain = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
        assert Digest.of(plain) == layer.diff_id


@pytest.mark.parametrize("kind", list(Compression))
def test_the_bytes_do_not_depend_on_the_pieces(tmp_path: Path, kind: Compression):
    data = b"".join(hashlib.sha256(str(n).encode()).digest() * (n % 7) for n in range(90_000))
    digests = set()
    for size in (1000, 1 << 20, 3_000_001):
        with (tmp_path / "out").open("wb") as file:
            stream = Stream(file, kind)
            for at in range(0, len(data), size):
                stream.write(data[at : at + size])
            stream.finish()
        assert Digest.of((tmp_path / "out").read_bytes()) == stream.digest
        assert stream.diff_id == Digest.of(data)
        digests.add(stream.digest)
    assert len(digests) == 1


def test_labels_are_the_projects_and_ours_win(bench: Bench, tmp_path: Path):
    environment = bench.build("")
    asked = release(bench, environment.manifest, tmp_path / "tree")
    labels = (("com.example.team", "wine"), ("org.opencontainers.image.revision", "lie"))
    made = strategy.build_release(bench.store, replace(asked, labels=labels))
    loaded = image.load(bench.store, made.manifest)
    assert loaded.label("com.example.team") == "wine"
    assert loaded.label("org.opencontainers.image.revision") == SOURCE.sha
    plain = strategy.build_release(bench.store, asked)
    assert plain.layers == made.layers


def test_what_the_configuration_says(bench: Bench, tmp_path: Path):
    environment = bench.build("")
    made = strategy.build_release(
        bench.store, release(bench, environment.manifest, tmp_path / "tree")
    )
    document = json.loads(bench.store.manifest(made.manifest))
    content = bench.store.blob_path(Digest.parse(document["config"]["digest"])).read_bytes()
    config = json.loads(content)
    assert config["created"] == "2024-05-06T07:08:09Z"
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["ExposedPorts"] == {"8080/tcp": {}}
    assert config["config"]["Healthcheck"]["Test"][0] == "CMD"
    own = replace(release(bench, environment.manifest, tmp_path / "tree"), command=("serve",))
    other = strategy.build_release(bench.store, own)
    document = json.loads(bench.store.manifest(other.manifest))
    content = bench.store.blob_path(Digest.parse(document["config"]["digest"])).read_bytes()
    assert "Healthcheck" not in json.loads(content)["config"]


def test_a_large_package_has_a_layer_of_its_own(bench: Bench):
    big = wheel(bench.wheels, "big-one", {"big_one/data.bin": "x" * (9 << 20), "big_one/a.py": ""})
    built, other = (
        bench.build(big + wheel(bench.wheels, "small", {"small.py": f"x = {number}\n"}))
        for number in (1, 2)
    )
    count = len(image.load(bench.store, bench.base.manifest).layers)
    first, second = built.layers[count:], other.layers[count:]
    assert [layer.package for layer in first] == ["big_one 1.0", ""]
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert bench.python(other, "import big_one.a, small; print(small.x)") == "2\n"
    assert image.load(bench.store, built.manifest).layers == built.layers
