"""One behaviour on every forge: whose pull requests there are, and what is said on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlops.adapters.forge.talk import converse
from mlops.adapters.forge.tokens import Token
from mlops.domain.forge import ForgeConfig, Kind, Place, place
from mlops.engine.commenting import Commenter
from mlops.errors import ForgeError
from mlops.manifests.pullcomment import LIMIT, marker
from mlops.policy.forks import Allowed, Waits, decide
from mlops.ports.pulls import Conversations
from tests.fakes.forges.server import TOKEN, Fault
from tests.fakes.forges.talk import TALKING, TalkingGitHub

SHA, LATER, MERGED = "a1" * 20, "b2" * 20, "c3" * 20


@pytest.fixture(params=list(Kind), ids=str)
def fake(request) -> Iterator:
    with TALKING[request.param]() as forge:
        forge.kind = request.param
        yield forge


def opened(fake) -> Conversations:
    at = place("/srv/ml.git", ForgeConfig(fake.kind, fake.api, fake.repository))
    assert isinstance(at, Place)
    talk = converse(at, Token(TOKEN, "a test"))
    talk._wire._sleep = lambda _: None
    return talk


def test_whose_pull_requests_there_are(fake):
    fake.propose("rosa", SHA, fork=False)
    fake.propose("mallory", LATER)
    fake.propose("rosa", LATER)
    fake.propose("", LATER)
    found = {each.number: each for each in opened(fake).proposed()}
    assert [(found[n].fork, found[n].author) for n in (1, 2, 3, 4)] == [
        (False, "rosa"), (True, "mallory"), (True, "rosa"), (True, "")
    ]  # fmt: skip
    assert (found[1].head, found[1].into, found[1].merged) == (SHA, "main", "")
    assert [found[n].trusted for n in (2, 3, 4)] == [False, True, False]


def test_a_deleted_fork_is_a_fork(fake):
    fake.propose("mallory", SHA)
    fake.gone.add(1)
    (found,) = opened(fake).proposed()
    assert (found.fork, found.trusted) == (True, False)
    assert isinstance(decide(found, ()), Waits)


def test_merged_ones_name_the_commit_that_merged_them(fake):
    fake.propose("rosa", SHA, fork=False)
    fake.propose("rosa", SHA, fork=False).state = "closed"
    fake.merge_at(1, MERGED)
    (found,) = opened(fake).proposed()
    assert (found.number, found.merged, found.head) == (1, MERGED, SHA)


def test_an_approval_is_heard_from_members_alone(fake):
    fake.propose("mallory", SHA)
    talk = opened(fake)
    (pull,) = talk.proposed()
    fake.comment(1, "mallory", f"/ok-to-test {SHA}")
    fake.comment(1, "", f"/ok-to-test {SHA}")
    fake.comment(1, "rosa", f"/ok-to-test {LATER}")
    fake.comment(1, "rosa", f"> /ok-to-test {SHA}")
    edited = fake.comment(1, "rosa", "hello")
    fake.edit(edited.ident, f"/ok-to-test {SHA}")
    assert isinstance(decide(pull, talk.remarks(1)), Waits)
    said = fake.comment(1, "rosa", f"/ok-to-test {SHA}")
    assert decide(pull, talk.remarks(1)) == Allowed(SHA, "rosa approved it")
    fake.comments[1].remove(said)
    assert isinstance(decide(pull, talk.remarks(1)), Waits)


def test_one_comment_is_kept_and_others_are_left_alone(fake):
    fake.propose("mallory", SHA)
    mark = marker("p")
    theirs = fake.comment(1, "mallory", f"{mark}\nours, says mallory")
    commenter = Commenter(opened(fake), mark)
    assert commenter.put(1, f"{mark}\nfirst\n")
    fake.comment(1, "ada", f"{mark}\nby a second watcher\n")
    assert commenter.put(1, f"{mark}\nsecond\n")
    assert not commenter.put(1, f"{mark}\nsecond\n")
    bodies = {each.author: each.body for each in fake.comments[1]}
    assert bodies == {"mallory": theirs.body, "ada": f"{mark}\nsecond\n"}
    assert len(fake.comments[1]) == 2


def test_the_largest_comment_fits(fake):
    fake.propose("mallory", SHA)
    body = f"{marker('p')}\n" + "x" * (LIMIT - 40)
    assert Commenter(opened(fake), marker("p")).put(1, body)


def test_comments_of_several_pages_are_all_read(fake):
    fake.propose("mallory", SHA)
    for number in range(130):
        fake.comment(1, "mallory", str(number))
    assert [each.body for each in opened(fake).remarks(1)] == [str(n) for n in range(130)]


def test_a_lost_answer_makes_no_second_comment(fake):
    fake.propose("mallory", SHA)
    path = r"/1/(comments|notes)$"
    talk = opened(fake)
    talk.remarks(1)
    fake.faults = []

    class Losing:
        def __getattr__(self, name):
            return getattr(talk, name)

        def add(self, number, body):
            fake.faults.append(Fault(502, path=path, after=True))
            talk.add(number, body)

    assert Commenter(Losing(), marker("p")).put(1, f"{marker('p')}\nx\n")
    assert len(fake.comments[1]) == 1


def test_removing_what_is_gone_is_no_error(fake):
    fake.propose("mallory", SHA)
    fake.comment(1, "ada", "x")
    talk = opened(fake)
    (remark,) = talk.remarks(1)
    talk.remove(remark)
    talk.remove(remark)
    assert talk.remarks(1) == ()


@pytest.mark.parametrize("document", [b"[1]", b'[{"id": "x"}]', b"{}", b'[{"id": 1, "body": 7}]'])
def test_comments_that_are_none_are_an_error(fake, document):
    fake.propose("mallory", SHA)
    fake.faults.append(Fault(200, document, path=r"/1/(comments|notes)$"))
    with pytest.raises(ForgeError):
        opened(fake).remarks(1)


def test_a_jobs_token_knows_its_comments_by_being_an_apps():
    """It may not ask who it is; no stranger writes as an app."""
    with TalkingGitHub() as fake:
        fake.kind, fake.nobody = "github", True
        fake.propose("mallory", SHA)
        mark = marker("p")
        fake.comment(1, "mallory", f"{mark}\nours, says mallory")
        commenter = Commenter(opened(fake), mark)
        assert commenter.put(1, f"{mark}\nfirst\n")
        assert not commenter.put(1, f"{mark}\nfirst\n")
        authors = [each.author for each in fake.comments[1]]
        assert authors == ["mallory", "github-actions[bot]"]
