"""The Secrets of a service account, read by the programs that they are for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.errors import ConfigError
from mlops.tekton import credentials
from mlops.tekton.pod import Config

BASIC, SSH = "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth"


def basic(user: str, password: str, **places: str) -> Config:
    data = {"username": user.encode(), "password": password.encode()}
    return Config(data, {}, BASIC, _annotations(places))


def ssh(key: str, **places: str) -> Config:
    data = {"ssh-privatekey": key.encode(), "known_hosts": b"known"}
    return Config(data, {}, SSH, _annotations(places))


def _annotations(places: Mapping[str, str]) -> Mapping[str, str]:
    return {f"tekton.dev/{name.replace('_', '-')}": place for name, place in places.items()}


def laid(home: Path, *secrets: Config) -> Path:
    shutil.rmtree(home, ignore_errors=True)
    for name, content in credentials.files(
        (f"s{n}", each) for n, each in enumerate(secrets)
    ).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    return home


def git(home: Path, *arguments: str, given: str = "") -> str:
    done = subprocess.run(
        ["git", *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CEILING_DIRECTORIES": str(home.parent),
        },
    )
    return done.stdout


def login(home: Path, url: str) -> str:
    """What git would log in with; empty: it knows nothing."""
    said = git(home, "credential", "fill", given=f"url={url}\n\n")
    known = dict(line.partition("=")[::2] for line in said.split("\n"))
    return f"{known['username']}:{known['password']}" if "password" in known else ""


def test_git_logs_in_where_the_secret_is_for(tmp_path: Path) -> None:
    home = laid(tmp_path / "home", basic("ada", "pass word", git_0="https://hub.example.com"))

    assert login(home, "https://hub.example.com/a/b") == "ada:pass word"
    assert login(home, "https://other.example.com/a/b") == ""
    assert login(home, "http://hub.example.com/a/b") == ""


def test_a_repository_has_its_own_login(tmp_path: Path) -> None:
    """Each before the host's, in whatever order they come."""
    secrets = [
        basic("one", "1", git_0="https://hub.example.com/org/one.git"),
        basic("all", "0", git_0="https://hub.example.com"),
        basic("two", "2", git_0="https://hub.example.com/org/two.git"),
    ]
    for order in (secrets, secrets[::-1]):
        home = laid(tmp_path / "home", *order)

        assert login(home, "https://hub.example.com/org/one.git") == "one:1"
        assert login(home, "https://hub.example.com/org/two.git") == "two:2"
        assert login(home, "https://hub.example.com/org/three.git") == "all:0"


# git's own protocol knows no line feed, and no NUL
@settings(deadline=None, max_examples=50)
@given(
    *[st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]), min_size=1)]
    * 2
)
def test_any_user_and_password_arrive(
    tmp_path_factory: pytest.TempPathFactory, user: str, password: str
) -> None:
    home = tmp_path_factory.getbasetemp() / "arrives"
    laid(home, basic(user, password, git_0="https://hub.example.com"))

    assert login(home, "https://hub.example.com/a") == f"{user}:{password}"


def test_ssh_takes_the_key_of_the_host_and_of_the_repository(tmp_path: Path) -> None:
    home = laid(
        tmp_path / "home",
        ssh("of one", git_0="hub.example.com:2222/org/one"),
        ssh("of all", git_0="hub.example.com:2222"),
    )

    def asked(host: str) -> dict[str, str]:
        command = ["ssh", "-G", "-F", str(home / ".ssh/config"), host]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return dict(line.partition(" ")[::2] for line in said.split("\n"))

    of_all, of_one = asked("hub.example.com"), asked("hub.example.com--org--one")
    assert of_all["identityfile"] == "/tekton/creds/.ssh/id_s1"
    assert of_one["identityfile"] == "/tekton/creds/.ssh/id_s0"
    for found in (of_all, of_one):
        assert (found["hostname"], found["port"]) == ("hub.example.com", "2222")
    where = ("ls-remote", "--get-url")
    for url, alias in (
        ("git@hub.example.com:org/one.git", "git@hub.example.com--org--one:org/one.git"),
        ("ssh://hub.example.com:2222/org/one.git", "ssh://hub.example.com--org--one/org/one.git"),
        ("git@hub.example.com:org/one-more.git", "git@hub.example.com:org/one-more.git"),
    ):
        assert git(home, *where, url).strip() == alias
    assert (home / ".ssh/id_s1").read_text() == "of all"
    assert (home / ".ssh/known_hosts").read_bytes() == b"known\nknown"


def test_logins_of_docker_from_each_type(tmp_path: Path) -> None:
    auths = {"a.example.com": {"auth": "eDp5"}}
    home = laid(
        tmp_path / "home",
        Config(
            {".dockerconfigjson": json.dumps({"auths": auths}).encode()},
            {},
            "kubernetes.io/dockerconfigjson",
        ),
        Config(
            {".dockercfg": b'{"b.example.com": {"auth": "eDp6"}}'}, {}, "kubernetes.io/dockercfg"
        ),
        basic("ada", "love", docker_0="https://c.example.com"),
    )

    found = json.loads((home / ".docker/config.json").read_text())["auths"]
    assert found["a.example.com"] == {"auth": "eDp5"}
    assert found["b.example.com"] == {"auth": "eDp6"}
    assert found["https://c.example.com"]["auth"] == "YWRhOmxvdmU="


def test_what_is_no_credential_is_left_out() -> None:
    assert credentials.files([("s", Config({"a": b"b"})), ("t", basic("a", "b"))]) == {}


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (Config({"username": b"a"}, {}, BASIC), "no key 'password'"),
        (Config({}, {}, SSH, {"tekton.dev/git-0": "a.example.com"}), "no key 'ssh-privatekey'"),
        (basic("a", "b", git_0="hub.example.com"), "no URL that git"),
        (basic("a", "b", git_0='https://a.example.com"]\n[core]'), "no URL that git"),
        (basic("a", "b", git_0="https://a.example.com/x\n"), "no URL that git"),
        (basic("a", "b", git_0="file:///etc"), "no URL that git"),
        (ssh("k", git_0="a.example.com\n    ProxyCommand touch /x"), "no host that ssh"),
        (ssh("k", git_0="-oProxyCommand=x"), "no host that ssh"),
        (Config({}, {}, "kubernetes.io/dockercfg"), "no key '.dockercfg'"),
        (Config({".dockercfg": b"["}, {}, "kubernetes.io/dockercfg"), "no logins of docker"),
        (Config({".dockercfg": b"[]"}, {}, "kubernetes.io/dockercfg"), "no logins of docker"),
        (
            Config({".dockerconfigjson": b"[" * 100_000}, {}, "kubernetes.io/dockerconfigjson"),
            "no logins of docker",
        ),
        (
            Config({".dockerconfigjson": b"{}"}, {}, "kubernetes.io/dockerconfigjson"),
            "no logins of docker",
        ),
    ],
)
def test_what_cannot_be_laid_is_named(secret: Config, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        credentials.files([("robot", secret)])
