"""Which URLs name one repository."""

from __future__ import annotations

import pytest

from mlops.domain import giturl


@pytest.mark.parametrize(
    "other",
    [
        "https://example.com/team/spam",
        "https://example.com/team/spam.git",
        "https://me@EXAMPLE.com/team/spam/",
        "git@example.com:team/spam.git",
        "example.com:team/spam",
        "ssh://git@example.com/team/spam.git",
        "ssh://git@example.com:2222/team/spam",
    ],
)
def test_forms_of_one_place_are_the_same(other: str) -> None:
    assert giturl.same("https://example.com/team/spam.git", other)


@pytest.mark.parametrize(
    "other",
    [
        "https://example.org/team/spam",
        "https://example.com/team/ham",
        "/team/spam",
        "",
        "team/spam",
    ],
)
def test_others_are_not(other: str) -> None:
    assert not giturl.same("https://example.com/team/spam.git", other)


def test_paths_are_compared_as_they_stand() -> None:
    assert giturl.same("/srv/git/spam.git", "/srv/git/spam")


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://bot:hunter2@example.com/a/b.git", "https://example.com/a/b.git"),
        ("https://bot:p@ss@example.com/a/b.git", "https://example.com/a/b.git"),
        ("HTTP://token@example.com:8080/a", "HTTP://example.com:8080/a"),
        ("https://example.com/a@b", "https://example.com/a@b"),
        ("ssh://git@example.com/a", "ssh://git@example.com/a"),
        ("git@example.com:a/b", "git@example.com:a/b"),
    ],
)
def test_a_login_is_taken_from_a_url(url: str, bare: str) -> None:
    assert giturl.without_login(url) == bare


@pytest.mark.parametrize(
    ("url", "by_ssh"),
    [
        ("git@example.com:team/spam.git", True),
        ("example.com:team/spam", True),
        ("ssh://git@example.com:2222/team/spam", True),
        ("https://example.com/team/spam", False),
        ("http://example.com:8080/team/spam", False),
        ("/srv/spam.git", False),
    ],
)
def test_which_are_asked_for_by_ssh(url: str, by_ssh: bool) -> None:
    assert giturl.by_ssh(url) is by_ssh


def test_a_url_of_ssh_has_one_of_https_beside_it() -> None:
    for url in ("git@example.com:team/spam.git", "ssh://git@example.com:2222/team/spam"):
        assert giturl.by_https(url) == "https://example.com/team/spam.git"


@pytest.mark.parametrize(
    ("prefix", "covers"),
    [
        ("https://git.example.com", True),
        ("https://GIT.example.com/", True),
        ("https://git.example.com/team", True),
        ("https://git.example.com/tea", False),
        ("https://git.example.com/team/spam.git", True),
        ("http://git.example.com", False),
        ("https://git.example.com:8443", False),
        ("https://example.com", False),
        ("git.example.com", False),
        ("", False),
    ],
)
def test_a_login_is_for_a_server_or_what_is_below_a_path(prefix: str, covers: bool) -> None:
    assert giturl.covers(prefix, "https://ada@git.example.com/team/spam.git") is covers
