"""One behaviour on every forge: statuses, pull requests, limits, and answers that cannot be trusted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mlops.adapters.forge.connecting import connect
from mlops.adapters.forge.tokens import Token
from mlops.adapters.forge.wire import Memory
from mlops.domain.forge import ForgeConfig, Kind, Place, State, Status, place
from mlops.domain.source import Commit
from mlops.errors import ForgeError
from mlops.ports.forge import Forge
from tests.fakes.forges import BY_KIND, FakeForge, Fault
from tests.fakes.forges.server import TOKEN

SHA = Commit("1" * 40)
DONE = Status("mlops/spam", State.SUCCESS, "released spam; accuracy ≥ 0.9: 0.94", "https://x/1")


@pytest.fixture(params=list(Kind), ids=str)
def fake(request) -> Iterator[FakeForge]:
    with BY_KIND[request.param]() as forge:
        forge.kind = request.param
        yield forge


def at(fake: FakeForge) -> Place:
    found = place("/srv/ml.git", ForgeConfig(fake.kind, fake.api, fake.repository))
    assert isinstance(found, Place)
    return found


def opened(fake: FakeForge, **wire) -> Forge:
    forge = connect(at(fake), Token(TOKEN, "a test"), wire.pop("memory", None))
    forge._wire._sleep = wire.pop("sleep", lambda _: None)
    return forge


@pytest.fixture
def forge(fake: FakeForge) -> Forge:
    return opened(fake)


# -- statuses


def test_what_was_said_is_there(forge: Forge, fake: FakeForge):
    assert forge.statuses(SHA) == ()
    forge.say(SHA, DONE)
    assert forge.statuses(SHA) == (DONE,)
    failed = Status("mlops/ham", State.FAILURE, "validate: gate accuracy ≥ 0.9: 0.84")
    forge.say(SHA, failed)
    assert set(forge.statuses(SHA)) == {DONE, failed}


def test_the_newest_of_a_context_counts(forge: Forge):
    forge.say(SHA, replace(DONE, state=State.PENDING))
    forge.say(SHA, DONE)
    assert forge.statuses(SHA) == (DONE,)


def test_saying_the_same_again_is_no_error(forge: Forge):
    forge.say(SHA, DONE)
    forge.say(SHA, replace(DONE, description="released spam once more"))
    assert [each.state for each in forge.statuses(SHA)] == [State.SUCCESS]


def test_a_long_description_is_cut_and_marked(forge: Forge):
    forge.say(SHA, replace(DONE, description="x" * 1000))
    (there,) = forge.statuses(SHA)
    assert there.description.endswith("x…")


def test_a_status_in_words_of_others_is_left_out(forge: Forge, fake: FakeForge):
    fake.add_status(SHA.sha, "ci/other", "waiting_for_resource", "", "")
    forge.say(SHA, DONE)
    assert forge.statuses(SHA) == (DONE,)


# -- pull requests


def test_a_pull_request_is_opened_changed_and_closed(forge: Forge, fake: FakeForge):
    made = forge.open_pull("mlops/promote/prod/spam", "main", "Promote spam", "why")
    assert (made.state, made.branch, made.into) == ("open", "mlops/promote/prod/spam", "main")
    assert made.url.startswith(f"http://{fake.host}/ada/ml/")
    assert made.head == fake.heads(made.branch)
    changed = forge.edit_pull(made, "Promote spam on", "another why")
    assert (changed.number, changed.title, changed.body) == (1, "Promote spam on", "another why")
    assert forge.pulls() == (changed,)
    forge.close_pull(changed)
    assert forge.pulls() == ()
    assert [each.state for each in forge.pulls(made.branch)] == ["closed"]


def test_opening_one_twice_makes_one(forge: Forge, fake: FakeForge):
    first = forge.open_pull("mlops/x", "main", "A", "")
    second = forge.open_pull("mlops/x", "main", "B", "new")
    assert (second.number, second.title) == (first.number, "B")
    assert len(fake.pulls) == 1


def test_an_answer_that_was_lost_makes_no_second_pull_request(forge: Forge, fake: FakeForge):
    fake.faults.append(Fault(0, path="pulls|merge_requests", after=True))
    assert forge.open_pull("mlops/x", "main", "A", "").number == 1
    assert len(fake.pulls) == 1


def test_those_of_forks_are_not_ours(forge: Forge, fake: FakeForge):
    fake.add_pull("mlops/promote/prod/spam", "main", "evil", "").fork = True
    ours = forge.open_pull("mlops/x", "main", "A", "")
    assert forge.pulls() == (ours,)


def test_what_was_merged_says_so(forge: Forge, fake: FakeForge):
    fake.add_pull("mlops/x", "main", "A", "").state = "merged"
    assert [each.state for each in forge.pulls("mlops/x")] == ["merged"]


def test_every_page_is_read_and_no_more_than_some(forge: Forge, fake: FakeForge):
    fake.longest_page = 2
    for number in range(5):
        fake.add_pull(f"mlops/{number}", "main", "A", "")
    assert len(forge.pulls()) == 5
    for number in range(5, 50):
        fake.add_pull(f"mlops/{number}", "main", "A", "")
    assert len(forge.pulls()) == 20


def test_it_merges_by_itself_once_it_may(forge: Forge, fake: FakeForge):
    made = forge.open_pull("mlops/x", "main", "A", "")
    assert forge.let_merge(made) == ""
    assert fake.pulls[0].waits
    assert forge.let_merge(made) == ""


def test_why_it_does_not_merge_is_told(forge: Forge, fake: FakeForge):
    made = forge.open_pull("mlops/x", "main", "A", "")
    fake.refuses_auto_merge = "Pull request is in clean status"
    assert "clean status" in forge.let_merge(made)


# -- who we are


def test_who_the_token_is_and_whether_it_writes(forge: Forge, fake: FakeForge):
    assert (forge.access().login, forge.access().writes) == ("ada", True)
    fake.pushes = False
    assert forge.access().writes is False


def test_another_token_is_refused_and_stands_in_no_error(fake: FakeForge):
    forge = connect(at(fake), Token("0ther-secret", "a test"))
    fake.faults.append(Fault(401, b'{"message": "no such token: 0ther-secret"}'))
    for _ in range(2):
        with pytest.raises(ForgeError) as raised:
            forge.statuses(SHA)
        assert "0ther-secret" not in f"{raised.value!r} {raised.value} {forge!r} {vars(forge)!r}"
        assert not raised.value.retryable


# -- limits, faults, strangers' bytes


def test_what_was_asked_before_is_asked_with_its_etag(fake: FakeForge):
    memory = Memory()
    opened(fake).say(SHA, DONE)
    first = opened(fake, memory=memory).statuses(SHA)
    assert opened(fake, memory=memory).statuses(SHA) == first == (DONE,)
    assert "if-none-match" in fake.asked[-1].headers
    opened(fake).say(SHA, replace(DONE, state=State.FAILURE))
    (there,) = opened(fake, memory=memory).statuses(SHA)
    assert there.state is State.FAILURE


@pytest.mark.parametrize("status", [500, 502, 503, 504, 0])
def test_a_fault_that_passes_is_tried_again(forge: Forge, fake: FakeForge, status):
    fake.faults += [Fault(status)] * 2
    forge.say(SHA, DONE)
    assert forge.statuses(SHA) == (DONE,)


def test_one_that_stays_is_retryable_and_ends(forge: Forge, fake: FakeForge):
    fake.faults += [Fault(503)] * 20
    with pytest.raises(ForgeError) as raised:
        forge.statuses(SHA)
    assert raised.value.retryable
    assert len(fake.asked) == 4


def test_nobody_there_is_retryable(fake: FakeForge):
    forge = opened(fake)
    fake._server.socket.close()
    fake._server.shutdown()
    with pytest.raises(ForgeError) as raised:
        forge.statuses(SHA)
    assert raised.value.retryable
    assert fake.host in str(raised.value)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (429, {"Retry-After": "2"}, b"{}"),
        (403, {"Retry-After": "2"}, b'{"message": "You have exceeded a secondary rate limit"}'),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "{soon}"}, b"{}"),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{soon}"}, b"{}"),
    ],
)
def test_a_limit_that_opens_soon_is_waited_for(fake: FakeForge, status, headers, body):
    slept: list[float] = []
    forge = opened(fake, sleep=slept.append)
    soon = str(int(time.time()) + 3)
    headers = {name: value.replace("{soon}", soon) for name, value in headers.items()}
    fake.faults.append(Fault(status, body, headers))
    assert forge.statuses(SHA) == ()
    assert len(slept) == 1
    assert 0 < slept[0] <= 5


def test_one_that_opens_late_is_left_for_the_next_look_and_not_asked_before(fake: FakeForge):
    slept: list[float] = []
    forge = opened(fake, sleep=slept.append)
    fake.faults.append(
        Fault(403, b'{"message": "You have exceeded a secondary rate limit. Please wait"}')
    )
    for _ in range(3):
        with pytest.raises(ForgeError, match="had enough") as raised:
            forge.statuses(SHA)
        assert raised.value.retryable
    assert (len(fake.asked), slept) == (1, [])
    forge._wire._clock = lambda: time.time() + 61
    assert forge.statuses(SHA) == ()


def test_the_last_question_of_a_limit_is_the_last(fake: FakeForge):
    forge = opened(fake)
    fake.remaining, fake.reset = 1, int(time.time()) + 10**9  # and a clock of another century
    assert forge.statuses(SHA) == ()
    with pytest.raises(ForgeError, match="had enough"):
        forge.statuses(SHA)
    assert len(fake.asked) == 1
    fake.remaining = None
    forge._wire._clock = lambda: time.time() + 3601
    assert forge.statuses(SHA) == ()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in</html>",
        b"",
        b"null",
        b"[[[[",
        b"[" * 100_000,
        b'"text"',
        b"{}]",
        b"\xff\xfe",
        b"9" * 5000,
        b'{"statuses": 7}',
        b'{"statuses": [7]}',
        b'{"statuses": [{"state": "success", "status": "success", "context": 7, "name": 7}]}',
        b'[{"status": "success", "name": {"a": 1}}]',
        b"[1]",
        b'"' + b"x" * (5 << 20) + b'"',
    ],
)
def test_an_answer_that_is_none_is_an_error_and_no_crash(forge: Forge, fake: FakeForge, body):
    fake.faults.append(Fault(200, body))
    failed = None
    try:
        assert forge.statuses(SHA) == ()  # as where a list is merely absent
    except ForgeError as exc:
        failed = exc
    assert failed is None or (fake.host in failed.message and not failed.retryable)


def test_the_token_follows_no_redirect_to_another_host(forge: Forge, fake: FakeForge):
    with BY_KIND[fake.kind]() as other:
        for status in (301, 302, 307, 308):
            fake.faults.append(Fault(status, headers={"Location": f"{other.api}/user"}))
            with pytest.raises(ForgeError, match="the token is not sent there"):
                forge.statuses(SHA)
        assert other.asked == []


def test_a_page_on_another_host_is_not_asked_for(forge: Forge, fake: FakeForge):
    with BY_KIND[fake.kind]() as other:
        link = {"Link": f'<{other.api}/next>; rel="next"'}
        fake.faults.append(Fault(200, b"[]", link, path="pulls|merge_requests"))
        with pytest.raises(ForgeError, match="the token is not sent there"):
            forge.pulls()
        assert other.asked == []


def test_redirects_on_its_own_host_are_followed_and_end(forge: Forge, fake: FakeForge):
    moved = {"Location": f"{fake.api}/user"}
    fake.faults.append(Fault(301, headers=moved))
    with pytest.raises(ForgeError):  # a person is no repository, but was asked for
        forge.pulls()
    assert fake.asked[-1].path == "user"
    fake.faults += [Fault(302, headers=moved)] * 10
    with pytest.raises(ForgeError, match="redirects"):
        forge.pulls()
    fake.faults = [Fault(302, headers={"Location": "http://[::1"})] * 4
    with pytest.raises(ForgeError):
        forge.pulls()


def test_nothing_changed_of_what_was_never_asked(forge: Forge, fake: FakeForge):
    fake.faults.append(Fault(304))
    with pytest.raises(ForgeError, match="no forge does"):
        forge.statuses(SHA)


def test_a_proxy_or_certificates_that_cannot_be_used_are_an_error_with_words(fake, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "gopher://proxy")
    with pytest.raises(ForgeError, match="ALL_PROXY"):
        opened(fake).statuses(SHA)
    monkeypatch.delenv("ALL_PROXY")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    secure = connect(replace(at(fake), api="https://127.0.0.1:1/api"), Token(TOKEN, "a test"))
    with pytest.raises(ForgeError, match="SSL_CERT_FILE"):
        secure.statuses(SHA)
