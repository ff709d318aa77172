"""Reading from a real registry, and from one that misbehaves."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from mlops.adapters.registry import LARGEST, Registry, Repository, wire
from mlops.adapters.registry.client import KINDS
from mlops.domain.digest import Digest, ReleaseId
from mlops.engine.imagecheck import missing
from mlops.engine.preflight import Mark, Preflight
from mlops.errors import RegistryError, UnreachableError, UsageError
from tests.fakes.estate import Estate
from tests.system.registry.strange import OK, Strange

ABSENT = Digest("0" * 64)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(wire, "_sleep", lambda _: None)


class TestAReal:
    def test_manifests_and_blobs(self, registry):
        digest = registry.image("ml/spam", "v1", b"one", b"two")
        images = Registry(f"{registry.host}/ml/spam")
        assert images.has_manifest(digest)
        assert not images.has_manifest(ABSENT)
        assert Digest.of(images.manifest(digest)) == digest
        assert images.has_blob(Digest.of(b"one"))
        assert not images.has_blob(ABSENT)
        assert images.resolve("v1") == digest
        assert images.resolve("v2") is None
        with pytest.raises(RegistryError, match="has no manifest"):
            images.manifest(ABSENT)

    def test_an_index_is_found_and_looked_through(self, registry):
        digest = registry.image("ml/many", "one", b"layer")
        entry = {"mediaType": "x", "digest": str(digest), "size": 1}
        document = {"schemaVersion": 2, "mediaType": KINDS[0], "manifests": [entry]}
        document["manifests"][0]["mediaType"] = KINDS[1]
        index = registry.manifest("ml/many", document, "all", KINDS[0])
        images = Registry(f"{registry.host}/ml/many")
        assert missing(images, index) == ""
        registry.remove_blob("ml/many", Digest.of(b"layer"))
        assert f"has no layer {Digest.of(b'layer')}" in missing(images, index)

    def test_a_repository_that_is_not_there(self, registry):
        images = Registry(f"{registry.host}/ml/never")
        assert not images.has_manifest(ABSENT)
        assert images.resolve("v1") is None

    @pytest.mark.parametrize("tag", ["", "-x", "a b", "a/b", "x" * 129, "$(id)", "ä"])
    def test_what_is_no_tag(self, registry, tag):
        with pytest.raises(UsageError, match="no tag"):
            Registry(f"{registry.host}/ml/spam").resolve(tag)


class TestCredentials:
    def test_without_any(self, private):
        with pytest.raises(UnreachableError, match="does not accept the credentials") as raised:
            Registry(f"{private.host}/ml/spam").has_manifest(ABSENT)
        assert f"docker login {private.host}" in raised.value.hint
        assert not raised.value.retryable

    def test_wrong_ones(self, private, monkeypatch):
        monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
        monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "guess")
        with pytest.raises(UnreachableError, match="does not accept") as raised:
            Registry(f"{private.host}/ml/spam").has_manifest(ABSENT)
        assert "guess" not in str(raised.value)

    def test_from_the_environment(self, private, monkeypatch):
        digest = private.image("ml/spam", "v1", b"one")
        monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
        monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
        assert Registry(f"{private.host}/ml/spam").resolve("v1") == digest

    @pytest.mark.parametrize("place", [".docker/config.json", ".config/containers/auth.json"])
    def test_from_what_a_login_left(self, private, nobody, place):
        digest = private.image("ml/spam", "v1", b"one")
        path = nobody / place
        path.parent.mkdir(parents=True)
        auth = base64.b64encode(b"ada:s3cret").decode()
        other = {"auth": base64.b64encode(b"eve:x").decode()}
        auths = {"elsewhere.example.com": other, f"http://{private.host}/v1/": {"auth": auth}}
        path.write_text(json.dumps({"auths": auths}))
        assert Registry(f"{private.host}/ml/spam").resolve("v1") == digest

    @pytest.mark.parametrize(
        "content", ["", "[]", "{", '{"auths": 3}', '{"auths": {"@": {"auth": "%"}}}']
    )
    def test_a_damaged_file_is_no_credentials(self, private, nobody, content):
        path = nobody / ".docker" / "config.json"
        path.parent.mkdir()
        path.write_text(content.replace("@", private.host))
        with pytest.raises(UnreachableError):
            Registry(f"{private.host}/ml/spam").has_manifest(ABSENT)


class TestMisbehaviour:
    @pytest.mark.parametrize("status", [429, 500, 502, 503])
    def test_what_passes_is_asked_again(self, status):
        with Strange((status, {"Retry-After": "1"}, b""), OK) as server:
            assert server.images().has_blob(ABSENT)
            assert len(server.seen) == 2

    def test_what_stays_is_told(self):
        with Strange((503, {}, b"")) as server:
            with pytest.raises(UnreachableError, match="answers 503") as raised:
                server.images().has_blob(ABSENT)
            assert raised.value.retryable
            assert len(server.seen) == wire.TRIES

    def test_forbidden(self):
        with Strange((403, {}, b"")) as server:
            with pytest.raises(UnreachableError, match=r"not let us read ml/spam \(403\)"):
                server.images().has_blob(ABSENT)
            assert len(server.seen) == 1

    def test_other_bytes_than_the_digest_names(self):
        with Strange(OK) as server, pytest.raises(RegistryError, match="other bytes"):
            server.images().manifest(ABSENT)

    def test_another_digest_announced(self):
        lie = (200, {"Docker-Content-Digest": str(ABSENT)}, b"{}")
        with Strange(lie) as server, pytest.raises(RegistryError, match="announced"):
            server.images().resolve("v1")

    def test_a_manifest_without_end(self):
        large = (200, {}, b" " * (LARGEST + 1))
        with Strange(large) as server, pytest.raises(RegistryError, match="more than"):
            server.images().resolve("v1")

    def test_a_body_that_breaks_off(self):
        short = (200, {"Content-Length": "100"}, b"{}")
        with Strange(short) as server, pytest.raises(UnreachableError, match="cannot be asked"):
            server.images().resolve("v1")

    def test_credentials_do_not_follow_a_redirect_to_another_host(self, monkeypatch):
        monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
        monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
        challenge = (401, {"WWW-Authenticate": "Basic realm=x"}, b"")
        with Strange(OK) as other:
            away = (307, {"Location": f"http://{other.host}/blob"}, b"")
            with Strange(challenge, away) as server:
                assert server.images().has_blob(ABSENT)
                assert "Authorization" in server.seen[1][2]
            assert "Authorization" not in other.seen[0][2]

    def test_a_redirect_away_from_tls_and_one_without_end(self):
        plain = (307, {"Location": "http://example.invalid/x"}, b"")
        with Strange(plain) as server, pytest.raises(RegistryError, match="without TLS"):
            server.images().has_blob(ABSENT)
        again = (307, {"Location": "/again"}, b"")
        with Strange(again) as server:
            with pytest.raises(RegistryError, match="more than 5 times"):
                server.images().has_blob(ABSENT)
            assert len(server.seen) == 6

    def test_a_token_for_anonymous_pulls(self):
        realm = 'Bearer realm="http://@/token",service="here"'
        token = (200, {}, b'{"token": "t0ken"}')
        with Strange((401, {"WWW-Authenticate": realm}, b""), token, OK) as server:
            assert server.images().has_blob(ABSENT)
            assert "scope=repository%3Aml%2Fspam%3Apull" in server.seen[1][1]
            assert server.seen[2][2]["Authorization"] == "Bearer t0ken"

    def test_a_redirect_to_nowhere(self):
        away = (307, {"Location": "http://[::"}, b"")
        with Strange(away) as server, pytest.raises(UnreachableError, match="Invalid URL"):
            server.images().has_blob(ABSENT)

    @pytest.mark.parametrize("body", [b" " * (LARGEST + 1), b"[" * 100_000, b"[]", b'{"token": 7}'])
    def test_a_token_that_is_none(self, body):
        realm = (401, {"WWW-Authenticate": 'Bearer realm="http://@/token"'}, b"")
        with Strange(realm, (200, {}, body), realm) as server, pytest.raises(RegistryError):
            server.images().has_blob(ABSENT)

    @pytest.mark.parametrize("realm", ["", "http://[::", "http://example.invalid/t", "file:///x"])
    def test_a_realm_that_cannot_be_asked(self, realm):
        challenge = (401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}, b"")
        with Strange(challenge) as server:
            with pytest.raises(UnreachableError, match="does not accept"):
                server.images().has_blob(ABSENT)
            assert len(server.seen) == 1

    def test_a_body_that_trickles(self, monkeypatch):
        monkeypatch.setattr(wire, "_LONGEST_ANSWER", -1.0)
        with Strange(OK) as server, pytest.raises(UnreachableError, match="to answer"):
            server.images().resolve("v1")

    def test_the_environments_credentials_are_for_the_projects_registry(self, monkeypatch):
        monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
        monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
        challenge = (401, {"WWW-Authenticate": "Basic realm=x"}, b"")
        with Strange(challenge) as server:
            with pytest.raises(UnreachableError, match="does not accept"):
                Registry(f"{server.host}/ml/spam", ours=False).has_blob(ABSENT)
            assert not any("Authorization" in headers for _, _, headers in server.seen)

    def test_nobody_listens(self):
        with Strange(OK) as server:
            images = server.images()
        with pytest.raises(UnreachableError, match="cannot be asked"):
            images.has_blob(ABSENT)


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("registry.example.com/ml/spam", "https://registry.example.com/v2/ml/spam"),
        ("localhost:5000/spam", "http://localhost:5000/v2/spam"),
        ("127.0.0.1:5000/a/b", "http://127.0.0.1:5000/v2/a/b"),
        ("python", "https://registry-1.docker.io/v2/library/python"),
        ("ada/spam", "https://registry-1.docker.io/v2/ada/spam"),
        ("docker.io/python", "https://registry-1.docker.io/v2/library/python"),
    ],
)
def test_where_a_name_leads(text, base):
    assert str(Registry(text).wire.base) + Repository.parse(text).path == base


@pytest.mark.parametrize(
    "text",
    [
        "",
        "r.example.com/",
        "r.example.com/a b",
        "r.example.com/a?b",
        "r.example.com/../a",
        "r.example.com/A",
        "r.example.com/a//b",
        "ada@r.example.com/a",
        "r.example.com:x/a",
        "-.a/b",
        "r.example.com/a\n",
        "r.example.com/a:v1",
        "r.example.com#/a",
        "r.example.com\\/a",
    ],
)
def test_what_names_no_repository(text):
    with pytest.raises(UsageError, match="names no repository"):
        Repository.parse(text)


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://cdn.example.com/x", True),
        ("http://cdn.example.com/x", False),
        ("http://127.0.0.1:6443/x", False),
        ("http://localhost/x", False),
        ("ftp://127.0.0.1/x", False),
        ("file:///etc/passwd", False),
        ("https:///x", False),
    ],
)
def test_where_a_registry_elsewhere_may_lead_us(url, private):
    assert Registry("registry.example.com/ml/spam").wire.private(httpx.URL(url)) is private


def test_preflight_asks_the_registry(registry):
    estate = Estate()
    digest = registry.image("ml/spam", "v9", b"nine")
    release = ReleaseId("spam", digest)

    def image(host):
        preflight = Preflight(lambda model, _: Registry(f"{host}/ml/{model}"))
        found = preflight.inspect(estate.environments(), "prod", [release], {})
        return next(verdict for verdict in found if verdict.check == "image")

    assert image(registry.host).mark is Mark.PASS
    registry.remove_blob("ml/spam", Digest.of(b"nine"))
    gone = image(registry.host)
    assert gone.mark is Mark.FAIL
    assert "has no layer" in gone.detail
    assert image("127.0.0.1:9").mark is Mark.UNKNOWN, "a registry that is down says nothing"


def test_many_threads_that_meet_the_same_challenge(private, monkeypatch):
    """Whoever is second finds the answer of the first, and is not turned away."""
    monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
    monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", "s3cret")
    for _ in range(5):
        images = Registry(f"{private.host}/ml/spam")
        together = threading.Barrier(8)

        def ask(images=images, together=together):
            together.wait()
            return images.has_blob(ABSENT)

        with ThreadPoolExecutor(8) as pool:
            assert [each.result() for each in [pool.submit(ask) for _ in range(8)]] == [False] * 8
