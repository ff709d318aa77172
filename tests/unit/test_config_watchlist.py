from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.config.watchlist import parse_watchlist, schema
from mlops.documents import load
from mlops.domain.watchlist import Watched, Watchlist
from mlops.errors import ConfigError

HEAD = "apiVersion: mlops/v1\nkind: Watcher\n"


def watchlist(text: str) -> Watchlist:
    return parse_watchlist((HEAD + text).encode())


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        watchlist(text)
    return caught.value.message.splitlines()


def test_every_key():
    text = """interval: 1m
runs: 3
state: /var/lib/mlops
repositories:
  - {url: 'git@example.com:ml/Spam_Filter.git'}
  - {path: ../shop/, name: shop, interval: 5s, branches: [main, release/*]}
"""
    assert watchlist(text) == Watchlist(
        (
            Watched("spam-filter", "git@example.com:ml/Spam_Filter.git", "", 60.0),
            Watched("shop", "", "../shop/", 5.0, ("main", "release/*")),
        ),
        3,
        "/var/lib/mlops",
    )


def test_defaults():
    found = watchlist("repositories: [{url: 'https://example.com/a/b'}]\n")
    assert found == Watchlist((Watched("b", "https://example.com/a/b"),), 0, ".mlops-watch")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("repositories: []\n", "watcher.yaml:3: repositories: expected at least one"),
        (
            "repositories: [{name: a}]\n",
            "watcher.yaml:3: repositories[0]: expected either url or path",
        ),
        (
            "repositories: [{url: 'https://h/a', path: b}]\n",
            "watcher.yaml:3: repositories[0]: expected either url or path",
        ),
        (
            "repositories:\n  - url: https://h/a/b\n  - url: git@h:a/b.git\n",
            "watcher.yaml:3: repositories: expected each repository once, found git@h:a/b.git twice",
        ),
        (
            "repositories:\n  - url: https://h/a/b\n  - url: https://h/c/b\n",
            "watcher.yaml:5: repositories[1]: expected another name than 'b': it is taken; give one",
        ),
        (
            "repositories: [{path: /}]\n",
            "watcher.yaml:3: repositories[0]: name is missing: '' can be none",
        ),
        (
            "repository: []\n",
            "watcher.yaml:3: repository: unknown key; did you mean 'repositories'?",
        ),
        (
            "interval: 0s\nrepositories: [{url: 'https://h/a'}]\n",
            "watcher.yaml:3: interval: expected a duration above zero; found '0s'",
        ),
        (
            "repositories: [{url: 'https://rosa:secret@h/a'}]\n",
            "watcher.yaml:3: repositories[0].url: expected a URL without a password",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, said):
    assert any(line.startswith(said) for line in refused(text))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    try:
        parse_watchlist(content)
    except ConfigError as exc:
        told = exc.message
    else:
        return
    assert told.startswith("watcher.yaml")


def test_the_schema_takes_what_is_read():
    text = HEAD + "repositories: [{url: 'https://h/a', interval: 5s}]\nruns: 2\n"
    jsonschema.validate(load(text.encode(), "watcher.yaml").value, schema())
