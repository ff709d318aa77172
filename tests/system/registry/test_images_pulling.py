"""Images by the names that documents give them: pulled, mapped, kept, or refused."""

import gzip
import io
import json
import platform
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlops.adapters import images as adapter
from mlops.adapters import pulling
from mlops.adapters.images import Images, ImagesOfRun
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import client, wire
from mlops.adapters.rootfs import _MACHINES, RootFilesystems, read_image
from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageMap
from mlops.errors import RegistryError, UnreachableError, UsageError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(wire, "_sleep", lambda _: None)


@pytest.fixture
def here(tmp_path):
    """Images of a machine whose project has none."""

    def make(*rules, own=None, **more):
        own = own or OciLayout(tmp_path / "project")
        return Images(own, tmp_path / "cache", ImageMap.parse(rules), base=tmp_path, **more)

    return make


def layer(name, content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def parts(*layers, kind="application/vnd.oci.image.layer.v1.tar+gzip"):
    """Config and manifest of an image of plain tars, and its blobs."""
    packed = [gzip.compress(each, mtime=0) for each in layers]
    diff_ids = [str(Digest.of(each)) for each in layers]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    described = [
        {"mediaType": kind, "digest": str(Digest.of(blob)), "size": len(blob)} for blob in packed
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "x", "digest": str(Digest.of(config)), "size": len(config)},
        "layers": described,
    }
    return manifest, [config, *packed]


def push(registry, repository, tag, *layers):
    manifest, blobs = parts(*layers)
    for blob in blobs:
        registry.blob(repository, blob)
    return registry.manifest(repository, manifest, tag)


def kept(tmp_path):
    """What is in the cache: blobs, and what is on its way."""
    root = tmp_path / "cache" / "images"
    return {p.name for p in root.glob("blobs/sha256/*")}, list(root.glob("tmp/*"))


class TestPulling:
    def test_by_digest_and_by_tag(self, registry, here, tmp_path):
        digest = push(registry, "ml/a", "v1", layer("f", b"content"))
        for name in (f"{registry.host}/ml/a@{digest}", f"{registry.host}/ml/a:v1"):
            images = here()
            found = images.find(name)
            assert (found.ref.digest, found.note) == (digest, "")
        image = read_image(images, digest)
        (root,) = RootFilesystems(images, tmp_path / "cache").directories(image)
        assert (root / "f").read_bytes() == b"content"
        assert kept(tmp_path)[1] == []

    def test_without_a_tag_it_is_latest(self, registry, here):
        digest = push(registry, "ml/latest", "latest", layer("f", b"1"))
        assert here().find(f"{registry.host}/ml/latest").ref.digest == digest

    def test_what_is_here_is_not_fetched_again(self, registry, here):
        digest = push(registry, "ml/b", "v1", layer("f", b"2"))
        name = f"{registry.host}/ml/b@{digest}"
        here().find(name)
        for blob in json.loads(here().manifest(digest))["layers"]:
            registry.remove_blob("ml/b", Digest.parse(blob["digest"]))
        assert here().find(name).ref.digest == digest

    def test_of_an_index_only_what_runs_here(self, registry, here, tmp_path):
        ours, others = layer("f", b"ours"), layer("f", b"others")
        entries = []
        for each, machine in ((others, "s390x"), (ours, _machine())):
            digest = push(registry, "ml/many", machine, each)
            about = {"os": "linux", "architecture": machine}
            entries.append(
                {"mediaType": MANIFEST, "digest": str(digest), "size": 1, "platform": about}
            )
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        for entry in entries:
            entry["size"] = 500
        top = registry.manifest("ml/many", index, "all", INDEX)
        images = here()
        assert images.find(f"{registry.host}/ml/many:all").ref.digest == top
        blobs, _ = kept(tmp_path)
        assert Digest.of(gzip.compress(ours, mtime=0)).hex in blobs
        assert Digest.of(gzip.compress(others, mtime=0)).hex not in blobs
        assert read_image(images, top).layers

    def test_an_index_without_this_machine(self, registry, here):
        digest = push(registry, "ml/far", "x", layer("f", b"far"))
        about = {"os": "linux", "architecture": "s390x"}
        entry = {"mediaType": MANIFEST, "digest": str(digest), "size": 500, "platform": about}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        registry.manifest("ml/far", index, "all", INDEX)
        with pytest.raises(RegistryError, match="has nothing for linux/"):
            here().find(f"{registry.host}/ml/far:all")

    def test_with_a_password(self, private, here, monkeypatch):
        digest = push(private, "ml/secret", "v1", layer("f", b"s"))
        with pytest.raises(UnreachableError, match="not accept the credentials") as raised:
            here().find(f"{private.host}/ml/secret:v1")
        assert f"docker login {private.host}" in raised.value.hint
        monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
        monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
        with pytest.raises(UnreachableError):  # the variables are for our own registry alone
            here().find(f"{private.host}/ml/secret:v1")
        found = here(ours=private.host).find(f"{private.host}/ml/secret:v1")
        assert found.ref.digest == digest

    def test_a_tag_is_looked_up_once_for_a_run(self, registry, here):
        name = f"{registry.host}/ml/moving:v1"
        first = push(registry, "ml/moving", "v1", layer("f", b"old"))
        images = here()
        run = ImagesOfRun(images)
        assert run.find(name).ref.digest == first
        second = push(registry, "ml/moving", "v1", layer("f", b"new"))
        assert run.find(name).ref.digest == first
        assert ImagesOfRun(images).find(name).ref.digest == second

    def test_without_a_project_tags_are_asked_for_too(self, registry, here, tmp_path):
        name = f"{registry.host}/ml/without:v1"
        push(registry, "ml/without", "v1", layer("f", b"old"))
        own = OciLayout(tmp_path / "cache" / "images")
        here(own=own).find(name)
        second = push(registry, "ml/without", "v1", layer("f", b"new"))
        assert here(own=own).find(name).ref.digest == second

    def test_many_at_once(self, registry, here):
        digest = push(registry, "ml/at-once", "v1", layer("f", b"x" * 100_000))
        images = here()
        found = []
        threads = [
            threading.Thread(
                target=lambda: found.append(
                    images.find(f"{registry.host}/ml/at-once:v1").ref.digest
                )
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [digest] * 8


def _machine():
    return _MACHINES.get(platform.machine(), platform.machine())


class TestAbsent:
    def test_a_tag_that_is_not_there(self, registry, here):
        with pytest.raises(RegistryError, match="has no tag v9") as raised:
            here().find(f"{registry.host}/ml/absent:v9")
        assert "--image FROM=TO" in raised.value.hint

    def test_a_digest_that_is_not_there(self, registry, here, tmp_path):
        with pytest.raises(RegistryError, match="has no manifest"):
            here().find(f"{registry.host}/ml/spam@sha256:{'0' * 64}")
        assert kept(tmp_path) == (set(), [])

    def test_a_registry_that_is_not_there(self, here):
        with pytest.raises(UnreachableError, match=r"127.0.0.1:1/x:v1 is not here, and .* cannot be asked"):  # fmt: skip
            here().find("127.0.0.1:1/x:v1")

    def test_a_tag_that_was_pulled_stands_in_for_a_registry_that_is_gone(
        self, registry, here, monkeypatch
    ):
        digest = push(registry, "ml/gone", "v1", layer("f", b"g"))
        name = f"{registry.host}/ml/gone:v1"
        here().find(name)

        class Gone(client.Registry):
            def resolve(self, tag):
                raise UnreachableError("the registry cannot be asked")

        monkeypatch.setattr(adapter, "Registry", Gone)
        found = here().find(name)
        assert found.ref.digest == digest
        assert "is what it was when it was last pulled: the registry cannot" in found.note

    @pytest.mark.parametrize("text", ["", "A", "a b", "$(params.image)"])
    def test_what_names_no_image(self, here, text):
        with pytest.raises(UsageError):
            here().find(text)


class TestMapping:
    @pytest.fixture
    def mine(self, tmp_path):
        layout = OciLayout(tmp_path / "mine")
        manifest, blobs = parts(layer("f", b"mine"))
        for blob in blobs:
            path = tmp_path / "blob"
            path.write_bytes(blob)
            layout.put_blob(path, Digest.of(blob))
        content = json.dumps(manifest).encode()
        return layout.put_manifest(content, MANIFEST, "tools/sh", "1")

    @pytest.mark.parametrize(
        "rule",
        ["alpine=oci:mine//tools/sh:1", "alpine=oci:mine", "alpine:3=oci:mine//tools/sh", "*=oci:mine"],
    )  # fmt: skip
    def test_to_a_layout(self, mine, here, rule):
        images = here(rule)
        found = images.find("alpine:3")
        assert str(found.ref) == f"alpine@{mine}"
        assert read_image(images, mine).layers

    def test_to_a_digest_of_a_layout(self, mine, here):
        assert here(f"alpine=oci:mine//sh@{mine}").find("alpine").ref.digest == mine

    def test_to_a_digest_of_the_project(self, mine, here, tmp_path):
        images = here(f"alpine=any@{mine}", own=OciLayout(tmp_path / "mine"))
        assert images.find("alpine:3").ref.digest == mine

    def test_to_a_tag_of_the_project(self, mine, here, tmp_path):
        images = here("alpine=tools/sh:1", own=OciLayout(tmp_path / "mine"))
        assert images.find("alpine:3").ref.digest == mine

    def test_to_a_mirror(self, registry, here):
        digest = push(registry, "mirror/library/alpine", "3", layer("f", b"m"))
        images = here(f"docker.io/*={registry.host}/mirror/*")
        assert str(images.find("alpine:3").ref) == f"alpine@{digest}"
        assert images.find(f"alpine@{digest}").ref.digest == digest

    @pytest.mark.parametrize(
        ("rule", "complaint"),
        [
            ("alpine=oci:nowhere", "nowhere is no OCI image layout"),
            ("alpine=oci:mine//tools/sh:2", "has no images called tools/sh:2"),
            (f"alpine=oci:mine//x@sha256:{'0' * 64}", "is not in oci:"),
        ],
    )
    def test_to_what_is_not_there(self, mine, here, rule, complaint):
        with pytest.raises(RegistryError, match=complaint):
            here(rule).find("alpine")


class Broken:
    """A registry of one image whose blobs break off after `pieces` bytes each time; `ranges` tells
    whether it knows them. `seen` are the ranges that were asked for."""

    def __init__(self, manifest, blobs, pieces, *, ranges=True, spoil=False):
        self.seen = []
        content = json.dumps(manifest).encode()
        self.digest = Digest.of(content)
        named = {str(Digest.of(blob)): blob for blob in blobs}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                reference = self.path.rpartition("/")[2]
                if "/manifests/" in self.path:
                    self.answer(200, content, len(content))
                    return
                blob, start = named[reference], 0
                if spoil:
                    blob = b"x" * len(blob)
                asked = self.headers.get("Range")
                outer.seen.append(asked)
                if asked and ranges:
                    start = int(asked.removeprefix("bytes=").rstrip("-"))
                self.answer(206 if start else 200, blob[start:], pieces, start)

            def answer(self, status, body, limit, start=0):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/*")
                self.end_headers()
                self.wfile.write(body[:limit])
                self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.name = f"127.0.0.1:{self.server.server_port}/x@{self.digest}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


LARGE = layer("f", bytes(range(256)) * 40)


class TestBroken:
    def test_a_connection_that_breaks_is_taken_up_again(self, here):
        manifest, blobs = parts(LARGE)
        with Broken(manifest, blobs, len(blobs[1]) // 2 + 1) as server:
            assert here().find(server.name).ref.digest == server.digest
            assert [each for each in server.seen if each]

    @pytest.mark.parametrize("ranges", [True, False])
    def test_one_that_breaks_each_time_leaves_nothing(self, here, tmp_path, ranges):
        manifest, blobs = parts(LARGE)
        with (
            Broken(manifest, blobs, 10, ranges=ranges) as server,
            pytest.raises(UnreachableError, match="is not here, and"),
        ):
            here().find(server.name)
        blobs, coming = kept(tmp_path)
        assert server.digest.hex not in blobs
        assert coming == []

    def test_other_bytes_than_the_digest_names(self, here, tmp_path):
        manifest, blobs = parts(LARGE)
        with (
            Broken(manifest, blobs, 1 << 20, spoil=True) as server,
            pytest.raises(RegistryError, match="other bytes than"),
        ):
            here().find(server.name)
        assert kept(tmp_path) == (set(), [])

    @pytest.mark.parametrize("change", [-1, 1])
    def test_another_size_than_was_told(self, here, tmp_path, change):
        manifest, blobs = parts(LARGE)
        manifest["layers"][0]["size"] += change
        with (
            Broken(manifest, blobs, 1 << 20) as server,
            pytest.raises(RegistryError, match=r"more than|bytes of"),
        ):
            here().find(server.name)
        assert server.digest.hex not in kept(tmp_path)[0]

    @pytest.mark.parametrize(
        "spoilt",
        [
            {"layers": None},
            {"layers": [{"digest": "md5:1", "size": 1}]},
            {"layers": [{"digest": f"sha256:{'0' * 64}", "size": -1}]},
            {"layers": [{"digest": f"sha256:{'0' * 64}", "size": "1"}]},
            {"config": {}},
        ],
    )
    def test_a_manifest_that_is_none(self, here, spoilt):
        manifest, blobs = parts(LARGE)
        with (
            Broken({**manifest, **spoilt}, blobs, 1 << 20) as server,
            pytest.raises(RegistryError, match="is no image that can be run"),
        ):
            here().find(server.name)

    def test_an_image_that_is_too_large(self, here, monkeypatch):
        monkeypatch.setattr(pulling, "LARGEST", 100)
        manifest, blobs = parts(LARGE)
        with Broken(manifest, blobs, 1 << 20) as server:
            with pytest.raises(RegistryError, match="100 are allowed"):
                here().find(server.name)
            assert server.seen == []

    def test_an_image_that_would_fill_the_disk(self, here, monkeypatch):
        monkeypatch.setattr(pulling, "SPARED", 1 << 60)
        manifest, blobs = parts(LARGE)
        with Broken(manifest, blobs, 1 << 20) as server:
            with pytest.raises(RegistryError, match="that are free on the disk"):
                here().find(server.name)
            assert server.seen == []

    def test_a_pull_that_nobody_wants_any_more_ends(self, here, tmp_path):
        manifest, blobs = parts(LARGE)
        with (
            Broken(manifest, blobs, 1 << 20) as server,
            pytest.raises(UnreachableError, match="was given up"),
        ):
            here().find(server.name, lambda: False)
        assert server.digest.hex not in kept(tmp_path)[0]
