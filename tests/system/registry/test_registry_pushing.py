"""Pushing to a real registry, straight and through one that breaks off, waits, or lies."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import uuid

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images, referrers, uploads, wire
from mlops.adapters.registry.store import RegistryStore
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UnreachableError, UsageError
from tests.system.registry.between import Answer, Between, Cut, Forget
from tests.system.registry.servers import INDEX, MANIFEST

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
ABSENT = Digest("0" * 64)


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Nobody waits; the list tells how long it would have been, in seconds."""
    found = []
    monkeypatch.setattr(wire, "_sleep", found.append)
    return found


@pytest.fixture
def name():
    """A repository that nobody has used."""
    return f"ml/{uuid.uuid4().hex}"


@pytest.fixture
def layout(tmp_path):
    return OciLayout(tmp_path / "layout")


def described(content, kind):
    return {"mediaType": kind, "digest": str(Digest.of(content)), "size": len(content)}


def stored(layout, *contents):
    for content in contents:
        with layout.staging() as staging:
            (staging / "x").write_bytes(content)
            layout.put_blob(staging / "x", Digest.of(content))


def image(layout, *layers, **more):
    """An image in a layout; layers are no archives: nobody unpacks them."""
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    stored(layout, config, *layers)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(config, CONFIG),
        "layers": [described(layer, LAYER) for layer in layers],
        **more,
    }
    content = json.dumps(document, indent=3).encode()  # bytes that nobody else would write so
    return layout.put_manifest(content, MANIFEST, "spam")


def blobs(layout, digest):
    return images.blobs(json.loads(layout.manifest(digest)), digest)


def all_there(host, name, layout, digest):
    """What the registry has is what the layout has, read by a client that has no part in it."""
    here = Registry(f"{host}/{name}")
    assert here.manifest(digest) == layout.manifest(digest)
    return all(here.has_blob(each) for each in blobs(layout, digest))


class TestWhole:
    def test_exactly_the_same_bytes(self, registry, name, layout, tmp_path):
        digest = image(layout, b"one", b"two" * 1000, b"")
        here = Registry(f"{registry.host}/{name}")
        images.push(layout, digest, here, tag="v1")
        assert here.resolve("v1") == digest
        assert here.tags() == ("v1",)
        assert all_there(registry.host, name, layout, digest)
        here.fetch(Digest.of(b"two" * 1000), 3000, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"two" * 1000

    def test_an_index_with_its_manifests(self, registry, name, layout):
        first, second = image(layout, b"amd64"), image(layout, b"arm64")
        manifests = [described(layout.manifest(each), MANIFEST) for each in (first, second)]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        index = layout.put_manifest(json.dumps(document).encode(), INDEX, "spam")
        images.push(layout, index, Registry(f"{registry.host}/{name}"))
        assert Registry(f"{registry.host}/{name}").manifest(index) == layout.manifest(index)
        for each in (first, second):
            assert all_there(registry.host, name, layout, each)

    def test_what_is_there_is_not_sent_again(self, registry, name, layout):
        digest = image(layout, b"one", b"two")
        with Between(registry.host) as between:
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
            between.seen.clear()
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
            assert not between.asked("POST")
            assert not between.asked("PUT", "/blobs/")

    def test_blobs_are_mounted_across_repositories(self, registry, name, layout):
        digest = image(layout, b"one", b"two")
        images.push(layout, digest, Registry(f"{registry.host}/{name}"))
        with Between(registry.host) as between:
            there = Registry(f"{between.host}/{name}-too")
            images.push(layout, digest, there, mounts=(name,))
            assert len(between.asked("POST", f"from={name}")) == 3
            assert not between.asked("PUT", "/blobs/")
        assert all_there(registry.host, f"{name}-too", layout, digest)

    def test_a_mount_that_is_refused_becomes_an_upload(self, registry, name, layout):
        digest = image(layout, b"one")
        images.push(layout, digest, Registry(f"{registry.host}/{name}"))

        def refuse(asked):
            asked.path = asked.path.partition("?mount=")[0]

        with Between(registry.host, refuse) as between:
            there = Registry(f"{between.host}/{name}-too")
            images.push(layout, digest, there, mounts=(name,))
            assert len(between.asked("PUT", "/blobs/")) == 2
            assert len(between.asked("POST")) == 2, "the session that was begun instead is used"
        assert all_there(registry.host, f"{name}-too", layout, digest)

    def test_delete_takes_the_tags_too(self, registry, name, layout):
        digest = image(layout, b"one")
        here = Registry(f"{registry.host}/{name}")
        images.push(layout, digest, here, tag="v1")
        assert here.delete(digest)
        assert here.resolve("v1") is None
        assert not here.delete(digest)

    def test_a_registry_that_deletes_nothing(self, registry, name):
        with (
            Between(registry.host, lambda _: Answer(405)) as between,
            pytest.raises(RegistryError, match="deletes nothing"),
        ):
            Registry(f"{between.host}/{name}").delete(ABSENT)

    @pytest.mark.parametrize("tag", ["-x", "a/b", "x" * 129])
    def test_what_is_no_tag(self, registry, name, layout, tag):
        digest = image(layout, b"one")
        with pytest.raises(UsageError, match="no tag"):
            images.push(layout, digest, Registry(f"{registry.host}/{name}"), tag=tag)

    def test_a_manifest_whose_blobs_are_not_there_is_refused(self, registry, name, layout):
        digest = image(layout, b"one")
        with pytest.raises(RegistryError, match=r"400.*BLOB_UNKNOWN"):
            Registry(f"{registry.host}/{name}").push_manifest(layout.manifest(digest), MANIFEST)

    def test_with_a_password(self, private, name, layout, monkeypatch):
        digest = image(layout, b"one")
        with pytest.raises(UnreachableError, match="does not accept the credentials"):
            images.push(layout, digest, Registry(f"{private.host}/{name}"))
        monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
        monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
        images.push(layout, digest, Registry(f"{private.host}/{name}"))
        assert all_there(private.host, name, layout, digest)


class TestChunks:
    """Large blobs go up in pieces of a size that the test makes small."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(uploads, "CHUNK", 1000)

    BLOB = os.urandom(3500)

    def sent(self, between):
        return [len(each.body) for each in between.seen if each.method in ("PATCH", "PUT")][:-1]

    def test_in_order(self, registry, name, layout):
        digest = image(layout, self.BLOB)
        with Between(registry.host) as between:
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
            assert [len(each.body) for each in between.asked("PATCH")] == [1000, 1000, 1000]
            ranges = [each.headers["Content-Range"] for each in between.asked("PATCH")]
            assert ranges == ["0-999", "1000-1999", "2000-2999"]
        assert all_there(registry.host, name, layout, digest)

    def test_a_chunk_as_large_as_the_registry_wants(self, registry, name, layout):
        def least(asked):
            if asked.method != "POST":
                return None
            location = f"http://@{asked.path}one"
            return Answer(202, {"Location": location, "OCI-Chunk-Min-Length": "3000"})

        digest = image(layout, self.BLOB)
        with (
            Between(registry.host, least) as between,
            pytest.raises(RegistryError),  # the session is none that the registry knows
        ):
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert {len(each.body) for each in between.asked("PATCH")} == {3000}

    def test_an_answer_that_was_lost_is_asked_for(self, registry, name, layout):
        """The registry has the chunk and nobody said so: it goes on behind it."""
        lost = []

        def lose(asked):
            if asked.method == "PATCH" and not lost:
                lost.append(asked)
                return Forget
            return None

        digest = image(layout, self.BLOB)
        with Between(registry.host, lose) as between:
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
            assert between.asked("GET", "/blobs/uploads/")
        assert lost
        assert all_there(registry.host, name, layout, digest)

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    @pytest.mark.parametrize("after", [0, 1, 400])
    def test_a_connection_that_breaks_in_the_middle(self, registry, name, layout, method, after):
        cut = []

        def rule(asked):
            if asked.method == method and "/blobs/" in asked.path and len(cut) < 2:
                cut.append(asked)
                return Cut(after)
            return None

        digest = image(layout, self.BLOB)
        with Between(registry.host, rule) as between:
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert cut
        assert all_there(registry.host, name, layout, digest)

    def test_one_that_breaks_each_time(self, registry, name, layout):
        def rule(asked):
            return Cut(10) if asked.method == "PATCH" else None

        digest = image(layout, self.BLOB)
        with (
            Between(registry.host, rule) as between,
            pytest.raises(UnreachableError, match="cannot be asked"),
        ):
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert not Registry(f"{registry.host}/{name}").has_manifest(digest)

    def test_a_registry_that_has_more_than_was_sent(self, registry, name, layout):
        def lie(asked):
            if asked.method == "PATCH":
                return Answer(202, {"Location": "/there", "Range": "0-99999"})
            return None

        digest = image(layout, self.BLOB)
        with (
            Between(registry.host, lie) as between,
            pytest.raises(RegistryError, match="has 100000"),
        ):
            images.push(layout, digest, Registry(f"{between.host}/{name}"))

    def test_a_session_without_a_place(self, registry, name, layout):
        digest = image(layout, self.BLOB)
        for place in ({}, {"Location": "http://[::"}):
            rule = lambda asked, at=place: Answer(202, at) if asked.method == "POST" else None  # noqa: E731
            with Between(registry.host, rule) as between, pytest.raises(RegistryError):
                images.push(layout, digest, Registry(f"{between.host}/{name}"))


class TestMisbehaviour:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_what_passes_is_tried_again(self, registry, name, layout, status, method):
        left = [1, 1]

        def rule(asked):
            return Answer(status) if asked.method == method and left and left.pop() else None

        digest = image(layout, b"one")
        with Between(registry.host, rule) as between:
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert not left
        assert all_there(registry.host, name, layout, digest)

    @pytest.mark.parametrize("status", [500, 503])
    def test_what_stays_is_told(self, registry, name, layout, status):
        def rule(asked):
            return Answer(status) if asked.method == "PUT" else None

        digest = image(layout, b"one")
        with (
            Between(registry.host, rule) as between,
            pytest.raises(UnreachableError, match=f"answers {status}") as raised,
        ):
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert raised.value.retryable

    def test_it_waits_as_long_as_it_is_asked_to(self, registry, name, layout, waits):
        left = [1]

        def rule(asked):
            busy = Answer(429, {"Retry-After": "17"})
            return busy if asked.method == "POST" and left and left.pop() else None

        digest = image(layout, b"one")
        with Between(registry.host, rule) as between:
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert max(waits) >= 17

    def test_it_does_not_wait_for_ever(self, registry, name, waits):
        busy = Answer(429, {"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"})
        with (
            Between(registry.host, lambda _: busy) as between,
            pytest.raises(UnreachableError, match=r"answers 429.*try again in"),
        ):
            Registry(f"{between.host}/{name}").has_blob(ABSENT)
        assert not waits

    def test_forbidden_is_told_at_once_with_the_registrys_words(self, registry, name, layout):
        words = json.dumps({"errors": [{"code": "DENIED", "message": "quota\x1b[2J is used up"}]})
        denied = Answer(403, {}, words.encode())
        digest = image(layout, b"one")
        rule = lambda asked: denied if asked.method == "POST" else None  # noqa: E731
        with (
            Between(registry.host, rule) as between,
            pytest.raises(UnreachableError, match=r"403.*DENIED: quota \[2J is used up") as raised,
        ):
            images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert f"does not let us push to {name}" in str(raised.value)

    def test_a_registry_that_hangs(self, registry, name, monkeypatch):
        monkeypatch.setattr(wire, "_READ", 0.05)
        done = threading.Event()
        with Between(registry.host, lambda _: done.wait(30) and None) as between:
            with pytest.raises(UnreachableError, match="cannot be asked"):
                Registry(f"{between.host}/{name}").has_blob(ABSENT)
            done.set()

    def test_a_lie_about_what_was_stored(self, registry, name, layout):
        def lie(asked):
            stores = asked.method == "PUT" and "/manifests/" in asked.path
            return Answer(201, {"Docker-Content-Digest": str(ABSENT)}) if stores else None

        digest = image(layout, b"one")
        with Between(registry.host, lie) as between, pytest.raises(RegistryError, match="says it"):
            images.push(layout, digest, Registry(f"{between.host}/{name}"))

    def test_bytes_that_changed_on_the_disk(self, registry, name, layout):
        """The registry looks too: what does not fit its digest gets no name."""
        digest = image(layout, b"one" * 100)
        path = layout.blob_path(Digest.of(b"one" * 100))
        path.chmod(0o644)
        path.write_bytes(b"two" * 100)
        with pytest.raises(RegistryError, match="DIGEST_INVALID"):
            images.push(layout, digest, Registry(f"{registry.host}/{name}"))
        path.write_bytes(b"short")
        with pytest.raises(RegistryError, match="has 5 bytes for"):
            images.push(layout, digest, Registry(f"{registry.host}/{name}"))

    def test_an_upload_on_another_host_is_not_told_who_we_are(
        self, private, registry, name, layout, monkeypatch
    ):
        monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
        monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
        digest = image(layout, b"one")
        with Between(registry.host, lambda _: Answer(201)) as other:

            def away(asked):
                place = {"Location": f"http://{other.host}/upload"}
                signed = "Authorization" in asked.headers
                return Answer(202, place) if asked.method == "POST" and signed else None

            with Between(private.host, away) as between, pytest.raises(RegistryError):
                images.push(layout, digest, Registry(f"{between.host}/{name}"))
        assert other.asked("PUT")
        assert not any("Authorization" in each.headers for each in other.seen)

    def test_too_many_layers(self, registry, name, layout):
        one = described(b"one", LAYER)
        many = image(layout, b"one", layers=[one] * 10_000)
        with pytest.raises(RegistryError, match="has 10000 layers, over 256"):
            images.push(layout, many, Registry(f"{registry.host}/{name}"))

    def test_a_layer_that_lies_elsewhere(self, registry, name, layout):
        foreign = {**described(b"one", LAYER), "urls": ["https://example.invalid/layer"]}
        digest = image(layout, b"one", layers=[foreign])
        with pytest.raises(RegistryError, match="foreign layer"):
            images.push(layout, digest, Registry(f"{registry.host}/{name}"))

    def test_a_full_disk_is_told(self, registry, name, layout, tmp_path):
        digest = image(layout, b"one" * 100_000)
        images.push(layout, digest, Registry(f"{registry.host}/{name}"))
        full = tmp_path / "full"
        full.symlink_to("/dev/full")
        with pytest.raises(RegistryError, match="No space left") as raised:
            Registry(f"{registry.host}/{name}").fetch(Digest.of(b"one" * 100_000), 300_000, full)
        assert "make room" in str(raised.value)


PUSH = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from mlops.adapters.layout import OciLayout
    from mlops.adapters.registry import Registry, images, uploads
    from mlops.domain.digest import Digest

    uploads.CHUNK = 1000
    layout, digest, name = OciLayout(Path(sys.argv[1])), Digest.parse(sys.argv[2]), sys.argv[3]
    into = Registry(name)
    images.push(layout, digest, into, tag="v1")
    """
)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("phase", range(7))
def test_a_push_that_is_killed_is_taken_up_by_the_next(registry, name, layout, phase, before):
    """At each request that changes something, before the registry has it and after it has."""
    subject = image(layout, b"base")
    images.push(layout, subject, Registry(f"{registry.host}/{name}"))
    about = described(layout.manifest(subject), MANIFEST)
    digest = image(layout, b"x" * 2500, subject=about)
    count, process = [0], []

    def kill(asked):
        if asked.method in ("GET", "HEAD"):
            return None
        count[0] += 1
        if count[0] != phase + 1:
            return None
        process[0].send_signal(signal.SIGKILL)
        return Cut(0) if before else Forget

    with Between(registry.host, kill) as between:
        argv = [sys.executable, "-c", PUSH, str(layout.root), str(digest), f"{between.host}/{name}"]
        process.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        with process[0] as running:
            running.communicate(timeout=60)
        assert process[0].returncode == -signal.SIGKILL, "there are fewer phases"
        between.rule = lambda _: None
        subprocess.run(argv, check=True, timeout=60)
    here = Registry(f"{registry.host}/{name}")
    assert all_there(registry.host, name, layout, digest)
    assert here.resolve("v1") == digest
    assert [each["digest"] for each in here.referrers(subject)] == [str(digest)]


class TestReferrers:
    def attach(self, layout, subject, text, **more):
        about = described(layout.manifest(subject), MANIFEST)
        return image(layout, text.encode(), subject=about, **more)

    def test_under_the_fallback_tag(self, registry, name, layout):
        subject = image(layout, b"one")
        here = Registry(f"{registry.host}/{name}")
        assert here.referrers(subject) == ()
        images.push(layout, subject, here)
        first = self.attach(layout, subject, "a", artifactType="test/a", annotations={"k": "v"})
        second = self.attach(layout, subject, "b", artifactType="test/b")
        for each in (first, second, first):
            images.push(layout, each, here)
        found = {each["digest"]: each for each in here.referrers(subject)}
        assert set(found) == {str(first), str(second)}
        assert found[str(first)]["artifactType"] == "test/a"
        assert found[str(first)]["annotations"] == {"k": "v"}
        assert found[str(first)]["size"] == len(layout.manifest(first))
        named = json.loads(here.tagged(f"sha256-{subject.hex}"))
        assert {each["digest"] for each in named["manifests"]} == set(found)

    def test_two_writers_at_once_lose_nothing(self, registry, name, layout, monkeypatch):
        """The second reads the index, the first comes and goes, the second writes what it read."""
        subject = image(layout, b"one")
        here = Registry(f"{registry.host}/{name}")
        images.push(layout, subject, here)
        first, second = (self.attach(layout, subject, text) for text in "ab")
        fallback, real = f"sha256-{subject.hex}", Registry.put
        between = []

        def late(self, content, media_type, reference):
            if reference == fallback and not between:
                between.append(reference)
                images.push(layout, first, Registry(f"{registry.host}/{name}"))
            return real(self, content, media_type, reference)

        monkeypatch.setattr(Registry, "put", late)
        images.push(layout, second, here)
        assert between
        assert {each["digest"] for each in here.referrers(subject)} == {str(first), str(second)}

    def test_many_processes_at_once(self, registry, name, layout):
        subject = image(layout, b"one")
        images.push(layout, subject, Registry(f"{registry.host}/{name}"))
        attached = [self.attach(layout, subject, str(n)) for n in range(6)]
        argv = [sys.executable, "-c", PUSH.replace(', tag="v1"', ""), str(layout.root)]
        running = [
            subprocess.Popen([*argv, str(each), f"{registry.host}/{name}"], stdout=subprocess.PIPE)
            for each in attached
        ]
        for each in running:
            with each:
                each.communicate(timeout=120)
            assert each.returncode == 0
        found = {each["digest"] for each in Registry(f"{registry.host}/{name}").referrers(subject)}
        assert found == set(map(str, attached))

    def test_others_that_never_let_it_stand_are_told_of(self, registry, name, layout, monkeypatch):
        subject = image(layout, b"one")
        here = Registry(f"{registry.host}/{name}")
        images.push(layout, subject, here)
        monkeypatch.setattr(referrers, "_fallback", lambda *_: ())
        with pytest.raises(RegistryError, match="may be missing there") as raised:
            images.push(layout, self.attach(layout, subject, "a"), here)
        assert raised.value.retryable

    def test_a_registry_with_the_api_keeps_them_itself(self, registry, name, layout):
        subject = image(layout, b"one")
        attached = [str(self.attach(layout, subject, text)) for text in "ab"]

        def knows(asked):
            if "/referrers/" in asked.path:
                page = attached[1:] if "page=2" in asked.path else attached[:1]
                index = {"manifests": [{"digest": each, "size": 1} for each in page]}
                more = (
                    {} if "page=2" in asked.path else {"Link": f'<{asked.path}?page=2>; rel="next"'}
                )
                return Answer(200, {"Content-Type": INDEX, **more}, json.dumps(index).encode())
            if asked.method == "PUT" and "/manifests/" in asked.path:
                return Answer(201, {"OCI-Subject": str(subject)})
            return None

        with Between(registry.host, knows) as between:
            here = Registry(f"{between.host}/{name}")
            images.push(layout, Digest.parse(attached[0]), here)
            assert len(between.asked("PUT", "/manifests/")) == 1, "no index under a tag"
            assert [each["digest"] for each in here.referrers(subject)] == attached

    def test_a_list_that_goes_on_elsewhere_is_not_followed(self, registry, name):
        more = {"Link": '<https://example.invalid/x>; rel="next"'}
        page = Answer(200, more, b'{"manifests": []}')
        with (
            Between(registry.host, lambda _: page) as between,
            pytest.raises(RegistryError, match="another host"),
        ):
            Registry(f"{between.host}/{name}").referrers(ABSENT)

    @pytest.mark.parametrize(
        "body", [b"[]", b"{", b'{"manifests": [{"digest": "x"}]}', b"[" * 9999]
    )
    def test_an_index_that_is_none(self, registry, name, body):
        with (
            Between(registry.host, lambda _: Answer(200, {}, body)) as between,
            pytest.raises(RegistryError),
        ):
            Registry(f"{between.host}/{name}").referrers(ABSENT)

    def test_a_copy_takes_them_along(self, registry, name, layout):
        subject = image(layout, b"one")
        there = Registry(f"{registry.host}/{name}")
        first = self.attach(layout, subject, "a")
        second = self.attach(layout, first, "about the first")
        images.copy(layout, subject, there)
        assert [each["digest"] for each in there.referrers(subject)] == [str(first)]
        assert [each["digest"] for each in there.referrers(first)] == [str(second)]
        for each in (subject, first, second):
            assert all_there(registry.host, name, layout, each)


def test_tags_by_pages(registry, name):
    def rule(asked):
        if "last=b" in asked.path:
            return Answer(200, {}, b'{"tags": ["c"]}')
        return Answer(200, {"Link": f'<{asked.path}&last=b>; rel="next"'}, b'{"tags": ["b", "a"]}')

    with Between(registry.host, rule) as between:
        assert Registry(f"{between.host}/{name}").tags() == ("a", "b", "c")


def test_tags_without_end(registry, name):
    """A list that repeats itself ends."""

    def rule(asked):
        return Answer(200, {"Link": f'<{asked.path}>; rel="next"'}, b'{"tags": ["a"]}')

    with Between(registry.host, rule) as between:
        assert Registry(f"{between.host}/{name}").tags() == ("a",)


class TestStore:
    """`ports.ImageStore` on a registry, with a layout on this machine."""

    def store(self, registry, root, name):
        return RegistryStore(f"{registry.host}/{name}", OciLayout(root), ("spam", "spam-env"))

    def test_what_one_machine_puts_another_has(self, registry, name, tmp_path, layout):
        digest = image(layout, b"one", b"two")
        one = self.store(registry, tmp_path / "one", name)
        for each in blobs(layout, digest):
            one.put_blob(layout.blob_path(each), each)
        full = f"{registry.host}/{name}/spam-env"
        assert one.put_manifest(layout.manifest(digest), MANIFEST, full, "env-1") == digest
        other = self.store(registry, tmp_path / "other", name)
        assert other.resolve(full, "env-1") == digest
        assert other.has_manifest(digest)
        assert other.manifest(digest) == layout.manifest(digest)
        assert other.has_blob(Digest.of(b"two"))
        assert other.blob_path(Digest.of(b"two")).read_bytes() == b"two"
        assert not other.local.has_manifest(digest), "not all of it is here"
        other.put_manifest(layout.manifest(digest), MANIFEST, "spam", "v1")
        assert all_there(registry.host, f"{name}/spam", layout, digest)

    def test_what_is_nowhere(self, registry, name, tmp_path):
        store = self.store(registry, tmp_path, name)
        assert store.resolve("spam", "v1") is None
        assert not store.has_manifest(ABSENT)
        assert not store.has_blob(ABSENT)
        assert store.referrers(ABSENT) == ()
        for ask in (store.manifest, store.blob_path):
            with pytest.raises(RegistryError, match="is not in"):
                ask(ABSENT)

    def test_other_bytes_are_not_taken(self, registry, name, tmp_path, layout):
        digest = image(layout, b"one")
        images.push(layout, digest, Registry(f"{registry.host}/{name}/spam"))
        path = f"/v2/{name}/spam/blobs/{Digest.of(b'one')}"

        def lie(asked):
            return Answer(200, {}, b"two") if (asked.method, asked.path) == ("GET", path) else None

        with Between(registry.host, lie) as between:
            store = self.store(between, tmp_path / "cache", name)
            with pytest.raises(RegistryError, match="gave other bytes"):
                store.blob_path(Digest.of(b"one"))
        assert not store.local.has_blob(Digest.of(b"one"))
