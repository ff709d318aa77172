"""Which forge a repository is on: decided exactly, since a token goes there."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops.domain.forge import ForgeConfig, Kind, NoPlace, Place, place

NONE = ForgeConfig()
MERGE = (
    "/-/merge_requests/new?merge_request[source_branch]=mlops/x&merge_request[target_branch]=main"
)


@pytest.mark.parametrize(
    ("remote", "config", "api", "page"),
    [
        (
            "git@github.com:ada/ml.git",
            NONE,
            "https://api.github.com",
            "https://github.com/ada/ml/compare/main...mlops/x?expand=1",
        ),
        (
            "https://me:secret@GitHub.com/ada/ml",
            NONE,
            "https://api.github.com",
            "https://github.com/ada/ml/compare/main...mlops/x?expand=1",
        ),
        (
            "https://gitlab.com/a/b/c.git",
            NONE,
            "https://gitlab.com/api/v4",
            f"https://gitlab.com/a/b/c{MERGE}",
        ),
        (
            "ssh://git@git.example.com:2222/a/b/c.git",
            ForgeConfig(Kind.GITLAB),
            "https://git.example.com/api/v4",
            f"https://git.example.com/a/b/c{MERGE}",
        ),
        (
            "https://git.example.com:8443/a/b.git",
            ForgeConfig(Kind.GITEA),
            "https://git.example.com:8443/api/v1",
            "https://git.example.com:8443/a/b/compare/main...mlops/x",
        ),
        (
            "https://codeberg.org/ada/ml.git",
            NONE,
            "https://codeberg.org/api/v1",
            "https://codeberg.org/ada/ml/compare/main...mlops/x",
        ),
        (
            "git@ghe.example.com:ada/ml.git",
            ForgeConfig(Kind.GITHUB),
            "https://ghe.example.com/api/v3",
            "https://ghe.example.com/ada/ml/compare/main...mlops/x?expand=1",
        ),
        (
            "git@octo.ghe.com:ada/ml.git",
            ForgeConfig(Kind.GITHUB),
            "https://api.octo.ghe.com",
            "https://octo.ghe.com/ada/ml/compare/main...mlops/x?expand=1",
        ),
        (
            "https://example.com/gitlab/a/b.git",
            ForgeConfig(Kind.GITLAB, "https://example.com/gitlab/api/v4/"),
            "https://example.com/gitlab/api/v4",
            f"https://example.com/gitlab/a/b{MERGE}",
        ),
        (
            "/srv/git/ml.git",
            ForgeConfig(Kind.FORGEJO, "http://127.0.0.1:3000/api/v1", "ada/ml"),
            "http://127.0.0.1:3000/api/v1",
            "http://127.0.0.1:3000/ada/ml/compare/main...mlops/x",
        ),
    ],
)
def test_where_a_repository_is_on_its_forge(remote, config, api, page):
    found = place(remote, config)
    assert isinstance(found, Place)
    assert found.api == api
    assert found.new_pull("mlops/x", "main") == page
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("remote", "config", "reason"),
    [
        ("https://github.com.evil.example/ada/ml", NONE, "github.com.evil.example is not known"),
        ("https://mygithub.com/ada/ml", NONE, "mygithub.com is not known"),
        ("git@gitlab.example.com:ada/ml.git", NONE, "gitlab.example.com is not known"),
        ("https://github.com:8443/ada/ml", NONE, "github.com:8443 is not known"),
        ("https://github.com@evil.example/ada/ml", NONE, "evil.example is not known"),
        ("/srv/github.com/ada/ml", NONE, "no forge's"),
        ("file://github.com/ada/ml", NONE, "no forge's"),
        ("ext::sh -c evil", NONE, "no forge's"),
        ("", NONE, "no forge's"),
        ("/srv/git/ml.git", ForgeConfig(Kind.GITEA), "names no host"),
        ("https://github.com/ada", NONE, "'ada' names no repository of github"),
        ("https://github.com/ada/ml/more", NONE, "names no repository of github"),
        ("https://github.com/ada/ml?x", NONE, None),
        ("https://github.com/ada/..", NONE, "names no repository"),
        ("git@github.com:ada/m l", NONE, "no forge's"),
        ("git@github.com:ada/ml?ref=x", NONE, "names no repository"),
    ],
)
def test_what_merely_looks_like_a_forge_is_none(remote, config, reason):
    found = place(remote, config)
    if reason is None:
        assert isinstance(found, Place)
        assert found.repository == "ada/ml"
        return
    assert isinstance(found, NoPlace)
    assert reason in found.reason
    assert found.hint


@given(st.text(max_size=60).map(lambda text: f"https://{text}"))
@example("https://[::1")
@example("https://github.com:99999/a/b")
@example("https://github.com:x/a/b")
def test_no_remote_breaks_the_decision_nor_leads_to_another_host(remote):
    found = place(remote, NONE)
    if isinstance(found, Place):
        assert found.host in ("api.github.com", "gitlab.com", "gitea.com", "codeberg.org")
        assert (urlsplit(remote).hostname or "").lower() == found.remote


def test_the_gitops_repository_on_another_known_host_has_its_own_forge():
    config = ForgeConfig(Kind.GITLAB, "https://git.example.com/api/v4", "a/b")
    assert config.elsewhere("git@github.com:ml/deploy.git") == NONE
    apart = config.elsewhere("git@git.example.com:ml/deploy.git")
    assert place("git@git.example.com:ml/deploy.git", apart).repository == "ml/deploy"
