"""Where a forge's token comes from, and where it may go."""

from __future__ import annotations

import pytest

from mlops.adapters.forge.tokens import NoToken, Token, find
from mlops.domain.forge import ForgeConfig, Kind, Place, place
from mlops.errors import ConfigError

HUB = "git@github.com:ada/ml.git"
OWN = {"MLOPS_FORGE_TOKEN": "s3cret"}


def at(remote: str = HUB, kind: Kind | None = None, url: str = "", name: str = "") -> Place:
    found = place(remote, ForgeConfig(kind, url, name))
    assert isinstance(found, Place)
    return found


def test_the_environment_or_a_file_holds_it_and_no_text_shows_it(tmp_path):
    token = find(at(), OWN)
    assert isinstance(token, Token)
    assert token.secret == "s3cret"
    assert "s3cret" not in f"{token} {token!r}"
    assert token.hidden("a s3cret b") == "a *** b"
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    found = find(at(), {"MLOPS_FORGE_TOKEN_FILE": str(file)})
    assert isinstance(found, Token)
    assert found.secret == "from-a-file"


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "ümlaut", "x" * 2000, "\x1b[2J"])
def test_what_is_no_token_is_no_header(text, tmp_path):
    with pytest.raises(ConfigError) as raised:
        find(at(), {"MLOPS_FORGE_TOKEN": text})
    assert text not in str(raised.value)
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        find(at(), {"MLOPS_FORGE_TOKEN_FILE": str(file)})
    assert text not in str(raised.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="/nowhere/token cannot be read"):
        find(at(), {"MLOPS_FORGE_TOKEN_FILE": "/nowhere/token"})


def test_without_one_it_is_said_where_to_put_it():
    found = find(at(), {})
    assert isinstance(found, NoToken)
    assert found.lacking
    assert "MLOPS_FORGE_TOKEN" in found.hint


@pytest.mark.parametrize(
    ("where", "env"),
    [
        (at(), {"GITHUB_TOKEN": "lent"}),
        (at(), {"GITHUB_TOKEN": "lent", "GITHUB_API_URL": "https://api.github.com"}),
        (
            at("git@ghe.example.com:a/b", Kind.GITHUB),
            {"GITHUB_TOKEN": "lent", "GITHUB_API_URL": "https://ghe.example.com/api/v3"},
        ),
        (
            at("git@tea.example.com:a/b", Kind.GITEA),
            {"GITHUB_TOKEN": "lent", "GITHUB_API_URL": "https://tea.example.com/api/v1"},
        ),
        (at("git@gitlab.com:a/b"), {"GITLAB_TOKEN": "lent"}),
        (
            at("git@lab.example.com:a/b", Kind.GITLAB),
            {"GITLAB_TOKEN": "lent", "CI_API_V4_URL": "https://lab.example.com/api/v4"},
        ),
    ],
)
def test_what_a_ci_lends_goes_to_its_own_forge(where, env):
    assert isinstance(find(where, env), Token)


@pytest.mark.parametrize(
    ("where", "env"),
    [
        (at("git@ghe.example.com:a/b", Kind.GITHUB), {"GITHUB_TOKEN": "lent"}),
        (at(HUB, None, "https://evil.example/api/v3"), {"GITHUB_TOKEN": "lent"}),
        (at("git@gitlab.com:a/b"), {"GITHUB_TOKEN": "lent"}),
        (at("git@codeberg.org:a/b"), {"GITHUB_TOKEN": "lent"}),
        (at(), {"GITHUB_TOKEN": "lent", "GITHUB_API_URL": "https://ghe.example.com/api/v3"}),
        (at(), {"GITLAB_TOKEN": "lent"}),
        (at("git@lab.example.com:a/b", Kind.GITLAB), {"GITLAB_TOKEN": "lent"}),
    ],
)
def test_and_to_no_other(where, env):
    assert isinstance(find(where, env), NoToken)


@pytest.mark.parametrize(
    "where",
    [
        at(),
        at("https://github.com/ada/ml"),
        at("git@codeberg.org:a/b"),
        at("git@octo.ghe.com:a/b", Kind.GITHUB),
        at("ssh://git@lab.example.com:2222/a/b", Kind.GITLAB),
        at("https://lab.example.com:8443/a/b", Kind.GITLAB),
        at("https://example.com/gitlab/a/b", Kind.GITLAB, "https://example.com/gitlab/api/v4"),
    ],
)
def test_ours_goes_to_the_host_of_the_remote(where):
    assert isinstance(find(where, OWN), Token)


@pytest.mark.parametrize(
    "where",
    [
        at(HUB, Kind.GITHUB, "https://evil.example/api/v3"),
        at(HUB, Kind.GITHUB, "https://github.com.evil.example"),
        at(HUB, Kind.GITLAB, "https://api.github.com.evil.example/api/v4"),
        at(HUB, Kind.GITHUB, "https://github.com:8443/api/v3"),
        at("/srv/ml.git", Kind.GITEA, "https://evil.example/api/v1", "a/b"),
        at("git@ssh.lab.example.com:a/b", Kind.GITLAB, "https://lab.example.com/api/v4"),
    ],
)
def test_mlops_yaml_alone_leads_it_nowhere(where):
    found = find(where, OWN)
    assert isinstance(found, NoToken)
    assert not found.lacking
    assert f"MLOPS_FORGE_HOST={where.host}" in found.hint
    assert isinstance(find(where, {**OWN, "MLOPS_FORGE_HOST": f"other, {where.host}"}), Token)
    assert isinstance(find(where, {**OWN, "MLOPS_FORGE_HOST": f"x{where.host}"}), NoToken)


def test_plain_http_is_for_this_machine_or_what_was_allowed():
    remote = "http://lab.example.com/a/b"
    found = find(at(remote, Kind.GITLAB), OWN)
    assert isinstance(found, NoToken)
    assert "plain HTTP" in found.reason
    assert isinstance(
        find(at(remote, Kind.GITLAB), {**OWN, "MLOPS_FORGE_HTTP": "lab.example.com"}), Token
    )
    assert isinstance(find(at("http://127.0.0.1:3000/a/b", Kind.GITEA), OWN), Token)
    assert isinstance(find(at("http://[::1]:3000/a/b", Kind.GITEA), OWN), Token)
    lent = {"GITLAB_TOKEN": "lent", "CI_API_V4_URL": "http://lab.example.com/api/v4"}
    assert isinstance(find(at(remote, Kind.GITLAB), lent), NoToken)
