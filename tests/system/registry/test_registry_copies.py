"""Releases on their way into the registry of an environment, between real registries."""

import json
import subprocess
import uuid

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images, wire
from mlops.adapters.registry.copies import Copies
from mlops.adapters.registry.store import RegistryStore
from mlops.domain.digest import Digest, ReleaseId
from mlops.errors import RegistryError, UnreachableError
from tests.system.registry.between import Answer, Between
from tests.system.registry.servers import INDEX, MANIFEST, start
from tests.system.registry.test_registry_pushing import all_there, described, image


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(wire, "_sleep", lambda _: None)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    yield from start(tmp_path_factory.mktemp("target"))


@pytest.fixture
def prefix():
    return f"ml/{uuid.uuid4().hex}"


@pytest.fixture
def layout(tmp_path):
    return OciLayout(tmp_path / "layout")


@pytest.fixture
def copies(tmp_path, registry, prefix):
    """From a project's registry; what goes by is kept in a cache of the test."""

    def other(where, model):
        return RegistryStore(where, OciLayout(tmp_path / "cache"), (model,))

    def make(own=f"{registry.host}/{prefix}"):
        store = own if isinstance(own, OciLayout) else other(own, "spam")
        return Copies(lambda _: store, other)

    return make


@pytest.fixture
def release(registry, prefix, layout):
    """An index with one image, and a statement about the index, in the project's registry."""
    single = image(layout, b"one", b"two" * 1000)
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [described(layout.manifest(single), MANIFEST)],
    }
    index = layout.put_manifest(json.dumps(document, indent=1).encode(), INDEX, "spam")
    about = described(layout.manifest(index), INDEX)
    statement = image(layout, b"statement", subject=about)
    here = Registry(f"{registry.host}/{prefix}/spam")
    images.push(layout, index, here)
    images.push(layout, statement, here)
    return ReleaseId("spam", index), single, statement


def test_index_image_and_referrers_are_the_same_bytes(target, prefix, layout, copies, release):
    named, single, statement = release
    into = f"{target.host}/{prefix}"
    assert copies().needed(named, into) == "3 blobs, 3.0 kB"
    assert not Registry(f"{into}/spam").has_manifest(named.digest)
    copies().bring(named, into)
    there = Registry(f"{into}/spam")
    assert there.manifest(named.digest) == layout.manifest(named.digest)
    for each in (single, statement):
        assert all_there(target.host, f"{prefix}/spam", layout, each)
    assert [each["digest"] for each in there.referrers(named.digest)] == [str(statement)]
    assert copies().needed(named, into) == ""


def test_from_a_layout(target, prefix, layout, copies, release):
    into = f"{target.host}/{prefix}"
    copies(layout).bring(release[0], into)
    assert Registry(f"{into}/spam").referrers(release[0].digest)


def test_on_one_host_blobs_are_mounted(registry, prefix, copies, release):
    named, single, _ = release
    with Between(registry.host) as between:
        into = f"{between.host}/{prefix}/prod"
        copies(f"{between.host}/{prefix}").bring(named, into)
        assert not between.asked("PUT", "/blobs/")
        assert not between.asked("GET", "/blobs/"), "nothing of them came here"
        assert between.asked("POST", f"from={prefix}/spam")
    assert Registry(f"{registry.host}/{prefix}/prod/spam").has_manifest(single)


def test_one_that_breaks_off_is_not_seen_and_is_taken_up(target, prefix, layout, copies, release):
    """The second blob is refused: no manifest is there, and what came through is not sent again."""
    named, single, _ = release
    sent = []

    def rule(asked):
        if asked.method == "PUT" and "/blobs/" in asked.path:
            sent.append(asked.path)
            return Answer(507) if len(sent) > 1 else None
        return None

    with Between(target.host, rule) as between:
        into = f"{between.host}/{prefix}"
        with pytest.raises(RegistryError, match="answers 507"):
            copies().bring(named, into)
        there = Registry(f"{target.host}/{prefix}/spam")
        assert not there.has_manifest(single)
        assert not there.has_manifest(named.digest)
        between.rule = lambda _: None
        between.seen.clear()
        copies().bring(named, into)
        assert len(between.asked("PUT", "/blobs/")) <= 4
    assert all_there(target.host, f"{prefix}/spam", layout, single)


def test_where_the_project_has_it_no_more_another_environment_does(
    registry, target, prefix, copies, release
):
    named, _, _ = release
    into, before = f"{target.host}/{prefix}", f"{registry.host}/{prefix}"
    gone = copies(f"{registry.host}/{prefix}/never")
    with pytest.raises(RegistryError, match="is not in"):
        gone.bring(named, into)
    gone.bring(named, into, (f"{registry.host}/{prefix}/nor", before))
    assert Registry(f"{into}/spam").has_manifest(named.digest)


def test_a_registry_that_is_down(copies, release):
    with pytest.raises(UnreachableError, match="cannot be asked"):
        copies().bring(release[0], "127.0.0.1:9/x")


def test_a_referrer_that_is_listed_and_gone_holds_nobody_up(
    target, registry, prefix, copies, release
):
    named, _, statement = release
    Registry(f"{registry.host}/{prefix}/spam").delete(statement)
    copies().bring(named, f"{target.host}/{prefix}")
    assert Registry(f"{target.host}/{prefix}/spam").has_manifest(named.digest)


def test_another_client_reads_what_we_pushed(registry, prefix, layout, tmp_path, release):
    """skopeo checks digests too, and knows nothing of us."""
    named, single, _ = release
    subprocess.run(
        [
            *("skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false"),
            f"docker://{registry.host}/{prefix}/spam@{named.digest}",
            f"dir:{tmp_path / 'got'}",
        ],
        check=True,
        timeout=120,
    )
    assert Digest.of((tmp_path / "got" / "manifest.json").read_bytes()) == named.digest
    kept = (tmp_path / "got" / f"{single.hex}.manifest.json").read_bytes()
    assert kept == layout.manifest(single)
