"""Who we are to a registry, and whom we believe: tokens, helpers, certificates, plain HTTP."""

import base64
import json
import subprocess
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest

from mlops.adapters.registry import Registry, helpers, settings, tokens, wire
from mlops.adapters.registry.credentials import Credentials, find
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UnreachableError
from tests.system.registry.between import Answer, Between
from tests.system.registry.servers import start

ABSENT = Digest("0" * 64)
SECRET = "hush-hush"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(wire, "_sleep", lambda _: None)


@pytest.fixture
def name():
    return f"ml/{uuid.uuid4().hex}"


class TokenServer:
    """The rule of a proxy that lets in who has a token for what they do, and gives such tokens."""

    def __init__(self, lasts=300):
        self.given, self.lasts = [], lasts

    def __call__(self, asked):
        at = urlsplit(asked.path)
        if at.path == "/token":
            query = parse_qs(at.query or asked.body.decode())
            self.given.append((asked, query))
            token = base64.b64encode(" ".join(query["scope"]).encode()).decode()
            return Answer(200, {}, json.dumps({"token": token, "expires_in": self.lasts}).encode())
        header = asked.headers.get("Authorization", "")
        scopes = base64.b64decode(header.removeprefix("Bearer ")).decode() if header else ""
        needs = "pull" if asked.method in ("GET", "HEAD") else "push"
        path = at.path.removeprefix("/v2/").partition("/blobs/")[0].partition("/manifests/")[0]
        scope = next((s for s in scopes.split() if s.startswith(f"repository:{path}:")), "")
        if needs in scope and self.lasts:
            return None
        realm = 'Basic realm="x", Bearer realm="http://@/token",service="a \\"b\\", c"'
        return Answer(401, {"WWW-Authenticate": realm})


class TestTokens:
    @pytest.fixture
    def ada(self, monkeypatch):
        monkeypatch.setenv("MLOPS_REGISTRY_USERNAME", "ada")
        monkeypatch.setenv("MLOPS_REGISTRY_PASSWORD", SECRET)

    def pushed(self, between, registry, name, tmp_path, **more):
        content = b"one"
        (tmp_path / "blob").write_bytes(content)
        here = Registry(f"{between.host}/{name}")
        return here.push_blob(Digest.of(content), tmp_path / "blob", **more)

    def test_the_least_that_a_call_needs(self, registry, name, tmp_path, ada):
        rule = TokenServer()
        with Between(registry.host, rule, strip=True) as between:
            assert self.pushed(between, registry, name, tmp_path) == "pushed"
        scopes = [query["scope"] for _, query in rule.given]
        assert scopes == [[f"repository:{name}:pull"], [f"repository:{name}:pull,push"]]
        assert {query["service"][0] for _, query in rule.given} == {'a "b", c'}
        assert all(asked.headers["Authorization"].startswith("Basic") for asked, _ in rule.given)

    def test_a_mount_asks_for_both_repositories(self, registry, name, tmp_path, ada):
        self.pushed(registry, registry, f"{name}-a", tmp_path)
        rule = TokenServer()
        with Between(registry.host, rule, strip=True) as between:
            how = self.pushed(between, registry, f"{name}-b", tmp_path, source=f"{name}-a")
        assert how == "mounted"
        both = [f"repository:{name}-b:pull,push", f"repository:{name}-a:pull"]
        assert both in [query["scope"] for _, query in rule.given]

    def test_a_token_that_ends_is_asked_for_again(self, registry, name, monkeypatch):
        clock = [1000.0]
        monkeypatch.setattr(tokens.time, "monotonic", lambda: clock[0])
        rule = TokenServer(lasts=100)
        with Between(registry.host, rule, strip=True) as between:
            here = Registry(f"{between.host}/{name}")
            for later, given in ((0, 1), (80, 1), (11, 2)):
                clock[0] += later
                here.has_blob(ABSENT)
                assert len(rule.given) == given

    def test_an_identity_token_is_given_for_another(self, registry, name, nobody):
        rule = TokenServer()
        with Between(registry.host, rule, strip=True) as between:
            (nobody / ".docker").mkdir()
            auths = {"auths": {between.host: {"identitytoken": SECRET}}}
            (nobody / ".docker" / "config.json").write_text(json.dumps(auths))
            Registry(f"{between.host}/{name}").has_blob(ABSENT)
        asked, form = rule.given[0]
        assert asked.method == "POST"
        assert (form["grant_type"], form["refresh_token"]) == (["refresh_token"], [SECRET])
        assert SECRET not in asked.path

    def test_a_password_that_a_registry_repeats_is_not_shown(self, registry, name, ada):
        words = json.dumps({"errors": [{"code": "DENIED", "message": f"{SECRET} is wrong"}]})

        def rule(asked):
            signed = "Authorization" in asked.headers
            return Answer(401, {"WWW-Authenticate": "Basic"}, words.encode() if signed else b"")

        with (
            Between(registry.host, rule) as between,
            pytest.raises(UnreachableError, match="… is wrong") as raised,
        ):
            Registry(f"{between.host}/{name}").resolve("v1")
        assert SECRET not in str(raised.value) + repr(raised.value)
        assert SECRET not in repr(find(between.host))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Bearer realm="https://a/t",service="s",scope="x:y:pull,push"', [("bearer", 3)]),
        ('Basic realm="a, Bearer realm=b", Bearer realm=c', [("basic", 1), ("bearer", 1)]),
        ("Negotiate, Basic", [("negotiate", 0), ("basic", 0)]),
        ("", []),
        ('realm="x"', []),
        ("\x00\xff=== ,,, ", []),
    ],
)
def test_challenges(header, found):
    assert [(each.scheme, len(each.params)) for each in tokens.challenges([header])] == found


class TestHelpers:
    @pytest.fixture
    def helper(self, nobody, monkeypatch):
        """Writes `docker-credential-NAME` with this body, and a config that names it."""
        programs = nobody / "bin"
        programs.mkdir()
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

        def write(body, config):
            path = programs / "docker-credential-test"
            path.write_text(f"#!/bin/sh\nread server\n{body}\n")
            path.chmod(0o755)
            (nobody / ".docker").mkdir(exist_ok=True)
            (nobody / ".docker" / "config.json").write_text(json.dumps(config))

        return write

    GOOD = f"""[ "$1" = get ] && echo '{{"Username": "ada", "Secret": "{SECRET}"}}'"""

    @pytest.mark.parametrize(
        "config", [{"credsStore": "test"}, {"credHelpers": {"r.example.com": "test"}}]
    )
    def test_what_it_knows(self, helper, config):
        helper(self.GOOD, config)
        assert find("r.example.com").credentials == Credentials("ada", SECRET)

    def test_it_is_asked_by_the_name_that_docker_gives_its_hub(self, helper):
        helper(
            'echo "{\\"Username\\": \\"ada\\", \\"Secret\\": \\"$server\\"}"',
            {"credsStore": "test"},
        )
        found = find("registry-1.docker.io").credentials
        assert found is not None
        assert found.password == "https://index.docker.io/v1/"

    def test_an_identity_token(self, helper):
        helper(self.GOOD.replace("ada", "<token>"), {"credsStore": "test"})
        assert find("r.example.com").credentials == Credentials("", "", SECRET)

    def test_one_for_another_host_is_not_asked(self, helper):
        helper("exit 7", {"credHelpers": {"other.example.com": "test"}})
        assert find("r.example.com").complaint == ""

    def test_that_it_knows_nothing_is_no_complaint(self, helper):
        helper("echo credentials not found in native keychain; exit 1", {"credsStore": "test"})
        found = find("r.example.com")
        assert (found.credentials, found.complaint) == (None, "")

    @pytest.mark.parametrize(
        "body",
        [
            f"echo {SECRET}; exit 1",
            f"echo {SECRET}",
            f"echo '[\"{SECRET}\"]'",
            f'echo \'{{"Username": 1, "Secret": "{SECRET}"}}\'',
            "head -c 100000 /dev/zero",
            "printf '[%.0s' $(seq 9999)",
            "kill -9 $$",
        ],
    )
    def test_what_is_no_answer_is_told_without_its_words(self, helper, body):
        helper(body, {"credsStore": "test"})
        found = find("r.example.com")
        assert found.credentials is None
        assert "docker-credential-test" in found.complaint
        assert SECRET not in found.complaint

    def test_one_that_hangs(self, helper, monkeypatch):
        monkeypatch.setattr(helpers, "_PATIENCE", 0.1)
        helper("exec sleep 60", {"credsStore": "test"})
        assert "docker-credential-test" in find("r.example.com").complaint

    def test_one_that_is_not_there(self, helper):
        helper("", {"credsStore": "missing"})
        assert "docker-credential-missing is not here" in find("r.example.com").complaint

    @pytest.mark.parametrize("program", ["../../bin/sh", "a b", "", 7, "-x", "x" * 65])
    def test_what_names_no_program_is_not_started(self, helper, program):
        helper("", {"credHelpers": {"r.example.com": program}})
        assert find("r.example.com").credentials is None

    def test_it_is_asked_only_where_the_registry_wants_to_know(self, helper, registry, nobody):
        helper(f"touch {nobody}/asked; exit 1", {"credsStore": "test"})
        Registry(f"{registry.host}/ml/x").has_blob(ABSENT)
        assert not (nobody / "asked").exists()

    def test_why_it_gave_nothing_is_in_the_refusal(self, helper, private):
        helper("exit 7", {"credsStore": "test"})
        with pytest.raises(UnreachableError, match="docker-credential-test gives no"):
            Registry(f"{private.host}/ml/x").has_blob(ABSENT)

    def test_a_real_registry_lets_us_in_by_it(self, helper, private):
        helper(self.GOOD.replace(SECRET, "s3cret"), {"credsStore": "test"})
        assert not Registry(f"{private.host}/ml/x").has_blob(ABSENT)


def test_the_closest_entry_of_a_host_counts(nobody):
    path = nobody / ".config" / "containers" / "auth.json"
    path.parent.mkdir(parents=True)
    pair = {user: {"auth": base64.b64encode(f"{user}:x".encode()).decode()} for user in "abc"}
    auths = {
        "r.example.com/ml": pair["a"],
        "r.example.com/mlx": pair["c"],
        "r.example.com": pair["b"],
    }
    path.write_text(json.dumps({"auths": auths}))
    for where, user in (("ml/spam", "a"), ("ml", "a"), ("other", "b")):
        found = find("r.example.com", path=where).credentials
        assert found is not None
        assert found.username == user


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, a server's certificate of it for 127.0.0.1, and a client's."""
    place = tmp_path_factory.mktemp("tls")

    def openssl(*argv):
        subprocess.run(["openssl", *argv], cwd=place, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test")
    for who in ("server", "client"):
        openssl("req", *new, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        (place / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl(
            *("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", f"{who}.cert", "-extfile", "names"),
        )
    return place


@pytest.fixture(scope="module")
def secure(certificates, tmp_path_factory):
    lines = (
        f"  tls:\n    certificate: {certificates}/server.cert\n    key: {certificates}/server.key\n"
    )
    yield from start(tmp_path_factory.mktemp("secure"), tls=lines)


@pytest.fixture(scope="module")
def mutual(certificates, tmp_path_factory):
    lines = (
        f"  tls:\n    certificate: {certificates}/server.cert\n    key: {certificates}/server.key\n"
        f"    clientcas:\n      - {certificates}/ca.crt\n"
    )
    yield from start(tmp_path_factory.mktemp("mutual"), tls=lines)


class TestTls:
    def give(self, home, host, certificates, *names, place=".config/containers"):
        directory = home / place / "certs.d" / host
        directory.mkdir(parents=True, exist_ok=True)
        for each in names:
            (directory / each).write_bytes((certificates / each).read_bytes())
        return directory

    @pytest.mark.parametrize("place", [".config/containers", ".config/docker", ".docker"])
    def test_an_authority_of_the_host(self, secure, certificates, nobody, place):
        self.give(nobody, secure.host, certificates, "ca.crt", place=place)
        assert not Registry(f"{secure.host}/ml/x").has_blob(ABSENT)

    def test_a_certificate_of_nobody_we_know(self, secure, certificates, nobody):
        self.give(nobody, secure.host, certificates).joinpath("mine.crt").write_text(
            (certificates / "client.cert").read_text()
        )
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            Registry(f"{secure.host}/ml/x").has_blob(ABSENT)

    def test_who_we_are_by_a_certificate(self, mutual, certificates, nobody):
        directory = self.give(nobody, mutual.host, certificates, "ca.crt")
        with pytest.raises(UnreachableError):
            Registry(f"{mutual.host}/ml/x").has_blob(ABSENT)
        self.give(nobody, mutual.host, certificates, "client.cert")
        with pytest.raises(RegistryError, match=r"client\.key is missing"):
            Registry(f"{mutual.host}/ml/x").has_blob(ABSENT)
        self.give(nobody, mutual.host, certificates, "client.key")
        assert not Registry(f"{mutual.host}/ml/x").has_blob(ABSENT)
        (directory / "ca.crt").write_text("nonsense")
        with pytest.raises(RegistryError, match="cannot be read"):
            Registry(f"{mutual.host}/ml/x").has_blob(ABSENT)

    def test_a_registry_that_speaks_no_tls_is_told_with_the_setting(
        self, registry, certificates, nobody, monkeypatch
    ):
        self.give(nobody, registry.host, certificates, "ca.crt")  # so it is asked by TLS
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        with pytest.raises(UnreachableError) as here:
            Registry(f"{registry.host}/ml/x").has_blob(ABSENT)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        with pytest.raises(UnreachableError) as there:
            Registry(f"{registry.host}/ml/x").has_blob(ABSENT)
        setting = f"MLOPS_REGISTRY_HTTP={registry.host}"
        assert here.value.hint == f"If it speaks plain HTTP, say so: export {setting}"
        assert f"put {setting} into the ConfigMap mlops-settings" in there.value.hint
        assert not here.value.retryable

    def test_insecure_by_the_users_own_word(self, secure, certificates, nobody):
        """Not to be proven, by registries.conf; a directory of certificates says that it is TLS."""
        self.give(nobody, secure.host, certificates, "client.cert", "client.key")
        conf = nobody / ".config" / "containers" / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{secure.host}/ml"\ninsecure = true\n')
        assert not Registry(f"{secure.host}/ml/x").has_blob(ABSENT)

    def test_a_redirect_from_plain_http_to_tls(self, registry, secure, certificates, monkeypatch):
        """As blobs that lie in a store of their own: who answers there must prove it."""
        away = lambda asked: Answer(307, {"Location": f"https://{secure.host}{asked.path}"})  # noqa: E731
        settings._usual.cache_clear()
        with Between(registry.host, away) as between:
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                Registry(f"{between.host}/ml/x").has_blob(ABSENT)
            settings._usual.cache_clear()
            monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.crt"))
            assert not Registry(f"{between.host}/ml/x").has_blob(ABSENT)
        settings._usual.cache_clear()

    def test_plain_http_reads_no_authorities(self, registry, monkeypatch):
        monkeypatch.setattr(settings.HostSettings, "context", lambda _: pytest.fail("read"))
        assert not Registry(f"{registry.host}/ml/x").has_blob(ABSENT)


class TestSettings:
    HOST = "r.example.com:5000"

    @pytest.fixture
    def conf(self, nobody):
        path = nobody / ".config" / "containers" / "registries.conf"
        path.parent.mkdir(parents=True)
        return path

    def test_tls_unless_somebody_says_otherwise(self, nobody):
        env = {"HOME": str(nobody)}
        assert settings.find(self.HOST, env).tls
        assert not settings.find("127.0.0.1:5000", env).tls
        assert not settings.find(self.HOST, {**env, settings.PLAIN: f"x:1, {self.HOST}"}).tls
        assert settings.find(self.HOST, {**env, settings.PLAIN: "r.example.com"}).tls

    @pytest.mark.parametrize(
        ("text", "insecure"),
        [
            ('[[registry]]\nlocation="r.example.com:5000"\ninsecure=true', True),
            ('[[registry]]\nprefix="*.example.com"\ninsecure=true', True),
            ('[[registry]]\nlocation="r.example.com"\ninsecure=true', False),
            ('[[registry]]\nlocation="r.example.com:5000"\ninsecure="yes"', False),
            ("registry=3", False),
            ("registry=[3]", False),
            ("", False),
        ],
    )
    def test_registries_conf(self, conf, nobody, text, insecure):
        conf.write_text(text)
        assert settings.find(self.HOST, {"HOME": str(nobody)}).insecure is insecure

    def test_one_that_cannot_be_read(self, conf, nobody):
        conf.write_text("[[registry")
        with pytest.raises(RegistryError, match=r"registries\.conf is no TOML"):
            settings.find(self.HOST, {"HOME": str(nobody)})

    def test_plain_http_where_insecure_and_no_tls_answers(self, registry, conf, monkeypatch):
        conf.write_text(f'[[registry]]\nlocation="{registry.host}"\ninsecure=true\n')
        monkeypatch.setattr(settings, "loopback", lambda _: False)
        here = Registry(f"{registry.host}/ml/x")
        assert not here.has_blob(ABSENT)
        assert here.wire.base.startswith("http://")
