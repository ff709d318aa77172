"""Bases from a real registry: by tag, by digest, for a platform; and what strangers put there."""

import json
import uuid
from dataclasses import replace

import pytest

from mlops.adapters.bases import REPOSITORY
from mlops.adapters.basesources import BaseSources
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images, wire
from mlops.adapters.registry.store import RegistryStore
from mlops.build import image
from mlops.build.layers import LayerKind, put_layer
from mlops.build.strategy import EnvironmentRequest, PinnedBase, Toolchain, _base, _fetch
from mlops.build.tar import Content
from mlops.domain.digest import Digest
from mlops.errors import BuildError, ConfigError, RegistryError, UnreachableError
from tests.system.registry.servers import MANIFEST, start
from tests.system.test_build_bases import AMD, ARM, content, index_of, small

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(wire, "_sleep", lambda _: None)


@pytest.fixture
def name(registry):
    return f"{registry.host}/bases/{uuid.uuid4().hex}"


@pytest.fixture
def layout(tmp_path):
    return OciLayout(tmp_path / "made")


@pytest.fixture
def store(tmp_path):
    return OciLayout(tmp_path / "project-registry")


@pytest.fixture
def fetch(tmp_path, store):
    def run(ref, platform=AMD):
        return BaseSources().fetch(ref, tmp_path, platform, store)

    return run


def raw(repository, document, kind=MANIFEST, tag="v"):
    """Push a manifest as it is, whatever it says."""
    written = json.dumps(document).encode()
    return Registry(repository).push_manifest(written, kind, tag)


def test_by_tag_and_by_digest(layout, name, store, fetch):
    one, two = small(layout, "one"), small(layout, "two")
    images.push(layout, one, Registry(name), tag="3.12")
    images.push(layout, two, Registry(name), tag="latest")
    assert fetch(f"{name}:3.12") == (one, one)
    assert content(store, one) == b"one"
    assert fetch(name) == (two, two)
    images.push(layout, two, Registry(name), tag="3.12")  # the tag moves on
    assert fetch(f"{name}:3.12@{one}") == (one, one)
    assert fetch(f"{name}:3.12") == (two, two)


def test_the_platform_is_chosen_from_an_index(layout, name, store, fetch):
    amd, arm = small(layout, "amd"), small(layout, "arm", platform="linux/arm64/v8")
    top = index_of(layout, "multi", amd64=amd, arm64=arm)
    images.push(layout, top, Registry(name), tag="multi")
    assert fetch(f"{name}:multi") == (top, amd)
    assert fetch(f"{name}:multi", ARM) == (top, arm)
    assert content(store, arm) == b"arm"
    with pytest.raises(BuildError, match="no image for linux/arm/v7") as refused:
        fetch(f"{name}:multi", "linux/arm/v7")
    assert "There are: linux/amd64, linux/arm64" in str(refused.value.hint)


@pytest.mark.parametrize("platform", ["linux/arm64", "windows/amd64"])
def test_an_image_of_another_platform_alone(layout, name, fetch, store, platform):
    images.push(layout, small(layout, "other", platform=platform), Registry(name), tag="v")
    with pytest.raises(BuildError, match=f"is for {platform}, and linux/amd64 is wanted"):
        fetch(f"{name}:v")
    assert store.entries() == ()


def test_an_index_that_lies_about_the_platform(layout, name, fetch):
    top = index_of(layout, "multi", amd64=small(layout, "arm", platform=ARM))
    images.push(layout, top, Registry(name), tag="multi")
    with pytest.raises(BuildError, match="is for linux/arm64, and linux/amd64 is wanted"):
        fetch(f"{name}:multi")


def test_dockers_own_types_keep_their_digest(layout, name, store, fetch, tmp_path):
    document = json.loads(layout.manifest(small(layout, "one")))
    gzipped = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    document["mediaType"] = DOCKER
    document["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    document["layers"] = [{**each, "mediaType": gzipped} for each in document["layers"]]
    docker = layout.put_manifest(json.dumps(document).encode(), DOCKER, "python")
    images.push(layout, docker, Registry(name), tag="docker")
    assert fetch(f"{name}:docker") == (docker, docker)
    other = OciLayout(tmp_path / "other")
    image.copy(store, other, docker, "base")
    kept = next(entry for entry in other.entries() if entry["digest"] == str(docker))
    assert kept["mediaType"] == DOCKER
    assert image.load(other, docker).layers[0].media_type.endswith("v1.tar+gzip")


def test_what_a_stranger_wrote_on_a_layer_makes_it_none_of_ours(layout):
    document = json.loads(layout.manifest(small(layout, "one")))
    document["layers"][0]["annotations"] = {"dev.mlops.layer": "../../weird"}
    strange = layout.put_manifest(json.dumps(document).encode(), MANIFEST, "python")
    assert image.load(layout, strange).layers[0].kind is LayerKind.BASE


def test_a_build_takes_the_digest_that_is_locked(layout, name, store, fetch, tmp_path):
    """The tag has moved on since, and this machine has lost the base."""
    one, two = small(layout, "one"), small(layout, "two")
    images.push(layout, one, Registry(name), tag="v")
    images.push(layout, two, Registry(name), tag="v")
    locked = PinnedBase(f"{name}:v", one, one, AMD)
    request = EnvironmentRequest("wine", locked, b"", tmp_path)
    assert _fetch(store, request, Toolchain(None, None, BaseSources())) == one
    assert content(store, one) == b"one"


def test_a_base_in_custody_is_not_asked_for_where_it_came_from(layout, registry, tmp_path):
    """Another machine, with nothing, and the registry of the base is stopped: the project's has it."""
    (tmp_path / "away").mkdir()
    away = start(tmp_path / "away")
    ref = f"{next(away).host}/python:v"
    one = small(layout, "one")
    images.push(layout, one, Registry(ref.removesuffix(":v")), tag="v")
    project = f"{registry.host}/{uuid.uuid4().hex}"

    def machine(name, project=project):
        return RegistryStore(project, OciLayout(tmp_path / name), (REPOSITORY,))

    BaseSources().fetch(ref, tmp_path, AMD, machine("first"))
    away.close()
    request = EnvironmentRequest("wine", PinnedBase(ref, one, one, AMD), b"", tmp_path)
    tools = Toolchain(None, None, BaseSources())
    assert _base(machine("second"), request, tools) == image.load(layout, one)
    bare = f"{project}/nothing"
    with pytest.raises(UnreachableError, match=f"{bare} has no copy of it") as refused:
        _base(machine("third", bare), request, tools)
    assert f"the base {ref}@{one} cannot be had" in refused.value.message
    assert f"mlops lock --upgrade {ref}" in refused.value.hint
    assert refused.value.exit_code == 3


def test_what_is_not_there(layout, name, fetch, registry):
    with pytest.raises(BuildError, match="has no such tag"):
        fetch(f"{name}:absent")
    with pytest.raises(BuildError, match="has no such digest"):
        fetch(f"{name}@{Digest.of(b'absent')}")
    with pytest.raises(ConfigError, match=r"build\.base: 'Not A Name' names no image"):
        fetch("Not A Name")


def test_a_registry_that_is_down_is_named_with_the_base(tmp_path, fetch):
    servers = start(tmp_path)
    host = next(servers).host
    servers.close()
    with pytest.raises(UnreachableError, match=f"the base {host}/x:1 cannot be had"):
        fetch(f"{host}/x:1")


def test_ten_thousand_layers(layout, name, store, fetch):
    config = json.loads(layout.manifest(small(layout, "one")))["config"]
    images.push(layout, small(layout, "one"), Registry(name))
    layer = json.loads(layout.manifest(small(layout, "one")))["layers"][0]
    many = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] * 10_000}
    made = layout.put_manifest(json.dumps(many).encode(), MANIFEST, "python", "many")
    with pytest.raises(RegistryError, match="10000 layers, over 256"):
        BaseSources().fetch(f"oci:{layout.root}:many", layout.root, AMD, store)
    raw(name, many)
    with pytest.raises(RegistryError, match="10000 layers, over 256"):
        fetch(f"{name}@{made}")


def test_a_layer_that_lies_elsewhere(layout, store):
    document = json.loads(layout.manifest(small(layout, "one")))
    document["layers"][0]["urls"] = ["https://elsewhere.example.com/layer"]
    layout.put_manifest(json.dumps(document).encode(), MANIFEST, "python", "foreign")
    with pytest.raises(RegistryError, match="foreign layer"):
        BaseSources().fetch(f"oci:{layout.root}:foreign", layout.root, AMD, store)


def test_layers_that_are_there_are_not_brought_again(layout, name, store, fetch, monkeypatch):
    shared = put_layer(layout, LayerKind.BASE, {"etc/shared": Content(b"x" * 10_000)})
    one = image.put(layout, image.Image(AMD, (shared,)), "python")
    own = put_layer(layout, LayerKind.BASE, {"etc/own": Content(b"y")})
    two = image.put(layout, replace(image.load(layout, one), layers=(shared, own)), "python")
    for digest, tag in ((one, "1"), (two, "2")):
        images.push(layout, digest, Registry(name), tag=tag)
    fetch(f"{name}:1")
    brought = []
    real = Registry.fetch
    monkeypatch.setattr(
        Registry,
        "fetch",
        lambda self, digest, *rest: (brought.append(digest), real(self, digest, *rest))[1],
    )
    fetch(f"{name}:2")
    assert shared.digest not in brought
    assert own.digest in brought
