"""Our fake of GitHub, and what we ask it, against the API document that GitHub publishes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlops.adapters.forge.connecting import connect
from mlops.adapters.forge.tokens import Token
from mlops.domain.forge import ForgeConfig, Kind, State, Status, place
from mlops.domain.source import Commit
from tests.fakes.forges import FakeGitHub
from tests.fakes.forges.published import GITHUB, Published
from tests.fakes.forges.server import TOKEN, Asked, Reply

SHA = Commit("1" * 40)


@pytest.fixture(scope="module")
def published() -> Published:
    assert GITHUB.is_file(), "scripts/bootstrap.sh test brings it"
    return Published.read(GITHUB)


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub() as forge:
        yield forge


def test_all_that_we_ask_of_github_and_all_that_the_fake_answers_is_as_github_says(fake, published):
    forge = connect(
        place("/srv/ml", ForgeConfig(Kind.GITHUB, fake.api, "ada/ml")), Token(TOKEN, "a test")
    )
    forge.access()
    for state in State:
        forge.say(SHA, Status("mlops/spam", state, "x" * 500, "https://ci.example.com/1"))
        forge.say(SHA, Status("mlops/ham", state, "without a link"))
    forge.statuses(SHA)
    pull = forge.open_pull("mlops/x", "main", "A", "why")
    forge.open_pull("mlops/x", "main", "B", "")
    fake.add_pull("mlops/x", "main", "From a fork", "").fork = True
    fake.add_pull("mlops/y", "main", "Merged", "").state = "merged"
    forge.let_merge(pull)
    forge.pulls()
    forge.pulls("mlops/x")
    forge.close_pull(forge.edit_pull(pull, "C", "another"))
    rest = [each for each in fake.answered if each[0].path != "graphql"]
    assert {asked.method for asked, _ in rest} == {"GET", "POST", "PATCH"}
    assert len(rest) == len(fake.answered) - 1
    assert [text for each in rest for text in published.complaints(*each)] == []


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "status", "document", "said"),
    [
        ("GET", "repos/a/b/pulls", {"branch": "x"}, None, 200, [], "no query branch"),
        ("GET", "repos/a/b/pull", {}, None, 200, [], "no such operation"),
        ("GET", "repos/a/b/pulls", {}, None, 299, [], "no answer 299"),
        ("GET", "repos/a/b/pulls", {}, None, 200, [{"nummer": 1}], "[0].nummer: no such field"),
        ("GET", "repos/a/b/pulls", {}, None, 200, [{"number": "1"}], "'1' is not of type"),
        ("GET", "repos/a/b/pulls", {}, None, 200, [{"number": None}], "None is not of type"),
        ("POST", "repos/a/b/pulls", {}, {"head": "x"}, 201, {}, "body.base: lacking"),
        ("POST", f"repos/a/b/statuses/{SHA}", {}, {"state": "failed"}, 201, {}, "is not one of"),
    ],
)
def test_what_differs_is_found(published, method, path, query, body, status, document, said):
    asked = Asked(method, path, query, {}, body)
    assert any(said in text for text in published.complaints(asked, Reply(status, document)))
