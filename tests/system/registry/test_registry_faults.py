"""Registries that lie, forget, or change their mind between two questions."""

import json
import uuid

import httpx
import pytest

from mlops.adapters.basesources import BaseSources
from mlops.adapters.images import Images
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images, uploads, wire
from mlops.adapters.registry.store import RegistryStore
from mlops.adapters.registry.tokens import Scope, Tokens
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UnreachableError
from tests.system.registry.between import Answer, Between
from tests.system.registry.servers import MANIFEST
from tests.system.registry.strange import OK, Strange
from tests.system.registry.test_registry_pushing import all_there, described, image, stored
from tests.system.test_build_bases import AMD, small

ABSENT = Digest("0" * 64)
TEN = b"0123456789"
BLOB = Digest.of(TEN)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(wire, "_sleep", lambda _: None)


@pytest.fixture
def name():
    return f"ml/{uuid.uuid4().hex}"


@pytest.fixture
def layout(tmp_path):
    return OciLayout(tmp_path / "layout")


class TestAbsent:
    def test_a_layer_that_is_gone_is_told_at_once(self, registry, name, tmp_path):
        registry.image(name, "v1", b"one", b"two")
        registry.remove_blob(name, Digest.of(b"two"))
        with Between(registry.host) as between:
            here = Images(OciLayout(tmp_path / "own"), tmp_path / "cache")
            with pytest.raises(RegistryError, match=f"has no blob {Digest.of(b'two')}"):
                here.find(f"{between.host}/{name}:v1")
            assert len(between.asked("GET", str(Digest.of(b"two")))) == 1

    def test_an_upload_that_the_registry_has_forgotten_begins_anew(
        self, registry, name, layout, monkeypatch
    ):
        monkeypatch.setattr(uploads, "CHUNK", 4)
        begun = []

        def restarted(asked):
            if asked.method == "POST":
                begun.append(asked)
            forgotten = asked.method in ("PATCH", "GET") and "/uploads/" in asked.path
            return Answer(404) if forgotten and len(begun) == 1 else None

        stored(layout, TEN)
        with Between(registry.host, restarted) as between:
            there = Registry(f"{between.host}/{name}")
            assert there.push_blob(BLOB, layout.blob_path(BLOB)) == "pushed"
        assert len(begun) == 2
        assert Registry(f"{registry.host}/{name}").has_blob(BLOB)

    @pytest.mark.parametrize("mounts", [(), ("ml/other",)])
    def test_a_repository_that_must_be_made_first(self, registry, name, layout, mounts):
        """Amazon's does not make them."""
        words = b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}'

        def strict(asked):
            source = "/ml/other/" in asked.path
            return Answer(200 if source else 404, {}, words)

        digest = image(layout, b"one")
        with (
            Between(registry.host, strict) as between,
            pytest.raises(RegistryError, match=f"has no repository {name}, and does not") as raised,
        ):
            images.push(layout, digest, Registry(f"{between.host}/{name}"), mounts=mounts)
        assert "Create it there" in raised.value.hint


class TestReadOnly:
    def test_a_registry_that_takes_nothing_says_so_in_its_own_words(self, registry, name, layout):
        words = b'{"errors": [{"code": "UNSUPPORTED", "message": "The operation is unsupported."}]}'
        digest = image(layout, b"one")
        rule = lambda asked: Answer(405, {}, words) if asked.method == "POST" else None  # noqa: E731
        with (
            Between(registry.host, rule) as between,
            pytest.raises(UnreachableError, match=rf"nobody push to {name} \(405\)") as raised,
        ):
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert "read-only" in raised.value.hint
        assert len(between.asked("POST")) <= images.AT_ONCE


class TestLength:
    """What `Content-Length` says, and what comes."""

    @pytest.mark.parametrize("told", ["2", "9"])
    def test_less_than_comes_of_a_manifest(self, told):
        short = (200, {"Content-Length": told}, TEN)
        with Strange(short) as server, pytest.raises(RegistryError, match="other bytes"):
            server.images().manifest(BLOB)

    def test_more_than_comes_of_a_manifest(self):
        long = (200, {"Content-Length": "11"}, TEN)
        with Strange(long) as server, pytest.raises(UnreachableError, match="cannot be asked"):
            server.images().manifest(BLOB)

    def test_less_than_comes_of_a_blob(self, tmp_path):
        short = (200, {"Content-Length": "9"}, TEN)
        with Strange(short) as server, pytest.raises(UnreachableError, match="sent 9 of 10"):
            server.images().fetch(BLOB, 10, tmp_path / "got")

    def test_more_than_comes_of_a_blob(self, tmp_path):
        """The digest decides: all of it came, and nothing is asked for again."""
        long = (200, {"Content-Length": "11"}, TEN)
        with Strange(long) as server:
            server.images().fetch(BLOB, 10, tmp_path / "got")
            assert len(server.seen) == 1
        assert (tmp_path / "got").read_bytes() == TEN

    def test_none_at_all(self, tmp_path):
        """It ends where the connection does, and may have been cut."""
        with Strange((200, {"Content-Length": None}, TEN)) as server:
            server.images().fetch(BLOB, 10, tmp_path / "got")
            with pytest.raises(UnreachableError, match="sent 10 of 11"):
                server.images().fetch(ABSENT, 11, tmp_path / "cut")

    def test_a_blob_that_goes_on_elsewhere_than_was_asked(self, tmp_path):
        """Half of it, then all of it as if that were the rest: it is taken from the start."""
        half = (200, {"Content-Length": "10"}, TEN[:5])
        lie = (206, {"Content-Range": "bytes 0-9/10"}, TEN)
        with Strange(half, lie, (200, {}, TEN)) as server:
            server.images().fetch(BLOB, 10, tmp_path / "got")
            assert [headers.get("Range") for _, _, headers in server.seen] == [
                None,
                "bytes=5-",
                None,
            ]
        assert (tmp_path / "got").read_bytes() == TEN

    @pytest.mark.parametrize(
        "answer", [(404, {}, b"404 page not found"), (200, {"Content-Length": None}, b"")]
    )
    def test_a_size_that_is_not_told(self, answer):
        with (
            Strange(answer) as server,
            pytest.raises(RegistryError, match="does not tell the size"),
        ):
            server.images().blob_size(BLOB)

    @pytest.mark.parametrize("told", ["9", "11", "99999999999999999999"])
    def test_another_size_than_the_blob_has(self, registry, name, layout, tmp_path, told):
        digest = image(layout, TEN)
        images.push(layout, digest, Registry(f"{registry.host}/{name}/spam"))

        def lie(asked):
            heads = asked.method == "HEAD" and asked.path.endswith(str(BLOB))
            return Answer(200, {"Content-Length": told}) if heads else None

        with Between(registry.host, lie) as between:
            store = RegistryStore(f"{between.host}/{name}", OciLayout(tmp_path / "c"), ("spam",))
            with pytest.raises(RegistryError):
                store.blob_path(BLOB)
        assert not store.local.has_blob(BLOB)


def test_a_blob_that_breaks_off_and_hangs(monkeypatch, tmp_path):
    """The connection stays, and nothing comes: it is given up, and nothing has its name."""
    monkeypatch.setattr(wire, "_READ", 0.05)
    with (
        Strange((200, {}, TEN), hangs=5) as server,
        pytest.raises(UnreachableError, match="cannot be asked"),
    ):
        server.images().fetch(BLOB, 10, tmp_path / "got")


def test_a_lie_about_a_blob_that_was_stored(registry, name, layout):
    def lie(asked):
        stores = asked.method == "PUT" and "/blobs/" in asked.path
        return Answer(201, {"Docker-Content-Digest": str(ABSENT)}) if stores else None

    stored(layout, TEN)
    with (
        Between(registry.host, lie) as between,
        pytest.raises(RegistryError, match=f"says it stored {ABSENT}"),
    ):
        Registry(f"{between.host}/{name}").push_blob(BLOB, layout.blob_path(BLOB))


@pytest.mark.parametrize(
    ("realm", "told"),
    [
        ("https://registry.example.com/t", True),
        ("https://auth.example.com/t", True),
        ("https://auth.example.org/t", False),
        ("https://notexample.com/t", False),
        ("https://registry.example.com.evil.org/t", False),
    ],
)
def test_a_token_server_elsewhere_is_not_told_who_we_are(monkeypatch, realm, told):
    monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
    monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
    asked = []

    def ask(request):
        asked.append(request)
        return b'{"token": "t"}'

    tokens = Tokens("registry.example.com", ask, lambda _: True, ours=True)
    assert tokens.answer([f'Bearer realm="{realm}"'], (Scope("ml/spam"),), "") == "Bearer t"
    assert ("Authorization" in asked[0].headers) is told


class TestSwapped:
    """The tag names one image at the first question, and another from the second on."""

    @staticmethod
    def swapping(put):
        count = []

        def rule(asked):
            if asked.method == "GET":
                count.append(asked.path)
                if len(count) == 2:
                    put()

        return rule

    def test_an_image_is_what_the_tag_named_first(self, registry, name, tmp_path):
        first = registry.image(name, "v1", b"one")
        rule = self.swapping(lambda: registry.image(name, "v1", b"two"))
        with Between(registry.host, rule) as between:
            here = Images(OciLayout(tmp_path / "own"), tmp_path / "cache")
            found = here.find(f"{between.host}/{name}:v1")
        assert found.ref.digest == first
        assert here.blob_path(Digest.of(b"one")).read_bytes() == b"one"
        assert Registry(f"{registry.host}/{name}").resolve("v1") != first

    def test_a_base_too(self, registry, name, layout, tmp_path):
        one, two = small(layout, "one"), small(layout, "two")
        there = Registry(f"{registry.host}/{name}")
        images.push(layout, one, there, tag="v1")
        rule = self.swapping(lambda: images.push(layout, two, there, tag="v1"))
        store = OciLayout(tmp_path / "store")
        with Between(registry.host, rule) as between:
            found = BaseSources().fetch(f"{between.host}/{name}:v1", tmp_path, AMD, store)
        assert found == (one, one)
        assert there.resolve("v1") == two


class TestSize:
    """How many parts an image may have; nobody mounts the files of an artifact."""

    EMPTY = described(b"{}", "application/vnd.oci.empty.v1+json")

    def pulled(self, registry, name, tmp_path, count, config=b'{"os": "linux"}'):
        registry.blob(name, config)
        one = described(b"one", "x")
        registry.blob(name, b"one")
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [one] * count}
        document["config"] = described(config, "application/vnd.oci.empty.v1+json")
        registry.manifest(name, document, "v1")
        here = Images(OciLayout(tmp_path / "own"), tmp_path / "cache")
        return here.find(f"{registry.host}/{name}:v1")

    @pytest.mark.parametrize("count", [257, 10_000])
    def test_too_many_layers_are_not_pulled(self, registry, name, tmp_path, count):
        """Whatever the configuration is said to be."""
        with pytest.raises(RegistryError, match=f"has {count} layers, over 256"):
            self.pulled(registry, name, tmp_path, count)

    def test_as_many_as_there_may_be(self, registry, name, tmp_path):
        assert self.pulled(registry, name, tmp_path, 256)

    def test_an_artifact_of_many_files(self, registry, name, tmp_path):
        assert self.pulled(registry, name, tmp_path, 2048, b"{}")

    def test_an_artifact_of_too_many(self, registry, name, tmp_path):
        with pytest.raises(RegistryError, match="has 2049 files, over 2048"):
            self.pulled(registry, name, tmp_path, 2049, b"{}")

    def test_an_artifact_of_too_many_is_not_pushed_either(self, registry, name, layout):
        stored(layout, b"{}", b"one")
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.EMPTY}
        document["layers"] = [described(b"one", "x")] * 2049
        digest = layout.put_manifest(json.dumps(document).encode(), MANIFEST, "wheels")
        with Between(registry.host) as between:
            with pytest.raises(RegistryError, match="has 2049 files, over 2048"):
                images.push(layout, digest, Registry(f"{between.host}/{name}"))
            assert not between.seen

    def test_one_blob_of_two_sizes(self, registry, name, tmp_path):
        layers = [described(b"one", "x"), {**described(b"one", "x"), "size": 4}]
        document = {"config": described(b"{}", "x"), "layers": layers}
        with pytest.raises(RegistryError, match="is no image"):
            images.blobs(document, ABSENT)


def test_a_foreign_layer_is_not_pulled(registry, name, tmp_path):
    """Not from where it says, and not from the registry either."""
    blob = described(b"one", "x")
    registry.blob(name, b"one")
    with Strange(OK) as elsewhere:
        layer = {**blob, "urls": [f"http://{elsewhere.host}/x"]}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob, "layers": [layer]}
        registry.manifest(name, document, "v1")
        here = Images(OciLayout(tmp_path / "own"), tmp_path / "cache")
        with pytest.raises(RegistryError, match="foreign layer"):
            here.find(f"{registry.host}/{name}:v1")
        assert not elsewhere.seen


def test_a_registry_without_the_api_and_without_the_tag_has_no_referrers(registry, name, layout):
    digest = image(layout, b"one")
    there = Registry(f"{registry.host}/{name}")
    images.copy(layout, digest, there)
    assert httpx.get(f"http://{registry.host}/v2/{name}/referrers/{digest}").status_code == 404
    assert there.referrers(digest) == ()
    assert all_there(registry.host, name, layout, digest)
