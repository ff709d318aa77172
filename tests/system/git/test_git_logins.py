"""Whether a git server asks who one is, asked of real ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlops.adapters import logins
from tests.system.git.servers import http, self_signed


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A repository that lets nobody push by http, as git has it of itself."""
    path = tmp_path / "shop.git"
    subprocess.run(["git", "init", "-q", "--bare", path], check=True)
    return path


def test_a_server_that_lets_everybody_read_asks_for_nothing(bare: Path) -> None:
    with http(bare.parent) as server:
        url = server.url(bare)
        assert logins.of_git(url, logins.READ) is False
        subprocess.run(["git", "-C", bare, "config", "http.receivepack", "true"], check=True)
        assert logins.of_git(url, logins.PUSH) is False


def test_a_server_that_asks_is_told_from_one_that_cannot_be_asked(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http(bare.parent, login="ada:secret") as server:
        host = "machine 127.0.0.1 login ada password secret\n"
        (tmp_path / ".netrc").write_text(host)
        monkeypatch.setenv("HOME", str(tmp_path))  # a login at hand changes nothing
        url = server.url(bare)
        assert logins.of_git(url, logins.READ) is True
        assert logins.of_git(url, logins.PUSH) is True
        assert {login for _, login in server.asked} == {""}
    assert logins.of_git(url, logins.READ) is None


@pytest.mark.parametrize("status", [200, 403, 404, 500])
def test_what_is_no_answer_of_git_says_nothing(bare: Path, status: int) -> None:
    with http(bare.parent) as server:
        server.answer = (status, "<html>log in</html>")
        assert logins.of_git(server.url(bare), logins.READ) is None


def test_a_certificate_that_nobody_trusts_says_nothing(bare: Path, tmp_path: Path) -> None:
    with http(bare.parent, certificate=self_signed(tmp_path)) as server:
        assert logins.of_git(server.url(bare), logins.READ) is None


@pytest.mark.parametrize(
    "url",
    [
        "git@example.com:a/b",
        "ssh://git@example.com/a",
        "http://[::1",
        "http://\x00/",
        "",
        "https://",
    ],
)
def test_what_is_no_http_is_not_asked(url: str) -> None:
    assert logins.of_git(url, logins.READ) is None
