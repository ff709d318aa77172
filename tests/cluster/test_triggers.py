"""Push events to a real EventListener of Tekton Triggers: which of them start something, and what."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import installing, triggers
from tests.cluster.accounts import RUNS, Rules, rules
from tests.cluster.layout import Layout
from tests.cluster.pushes import (
    SECRET,
    Listener,
    by_token,
    commit,
    github_push,
    gitlab_push,
    listen,
    signed,
)

URL = "https://git.example.org/Team/Shop.git"
LARGEST = 5 * 1024 * 1024  # bytes


@pytest.fixture(scope="module")
def listener(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    triggers.install()
    image = json.loads(layout.images.read_text())["busybox"]
    found = installing.write(layout, tmp_path_factory.mktemp("triggers"), image, URL)
    found.apply()
    yield listen(found)
    found.apply("triggers", "--dry-run=server", "--validate=strict")
    found.remove()


def test_a_push_of_github_starts_a_look_at_the_branches(listener: Listener) -> None:
    sha = commit()
    body = json.dumps(github_push(sha)).encode()
    listener.deliver(body, signed(body))
    job = listener.installed.cluster.get("job", f"mlops-push-{sha}")
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"][:3] == ["mlops", "watch", "--once"]
    assert container["image"] == listener.installed.cluster.image("busybox")
    assert spec["serviceAccountName"] == "mlops-watch"
    # its pod is admitted under restricted Pod Security
    chosen = f"batch.kubernetes.io/job-name=mlops-push-{sha}"
    listener.installed.cluster.done("wait", "--for=create", "--timeout=60s", "pod", "-l", chosen)


def test_a_push_of_gitlab_starts_one_too(listener: Listener) -> None:
    sha = commit()
    listener.deliver(gitlab_push(sha), by_token())
    assert sha in listener.jobs()


@pytest.mark.parametrize("branch", ["rel/1.2", "main"])
def test_each_tracked_branch_counts(listener: Listener, branch: str) -> None:
    sha = commit()
    body = json.dumps(github_push(sha, ref=f"refs/heads/{branch}")).encode()
    listener.deliver(body, signed(body))
    assert sha in listener.jobs()


def test_a_push_that_is_told_three_times_makes_one_job(listener: Listener) -> None:
    sha = commit()
    before = listener.jobs()
    body = json.dumps(github_push(sha)).encode()
    for _ in range(3):
        listener.deliver(body, signed(body))
    assert listener.jobs() - before == {sha}


NOT_GITHUB = {
    "another branch": {"ref": "refs/heads/mainly"},
    "a tag": {"ref": "refs/tags/main"},
    "another repository": {"repository": {"full_name": "Team/Shop2"}},
    "a fork": {"repository": {"full_name": "Mallory/Shop"}},
    "a branch that was deleted": {"after": "0" * 40, "deleted": True},
    "a commit that is none": {"after": "main; reboot"},
    "a commit that is no text": {"after": 7},
    "a commit in capitals": {"after": "A" * 40},
    "no repository": {"repository": None},
}


@pytest.mark.parametrize("change", NOT_GITHUB.values(), ids=NOT_GITHUB)
def test_a_signed_event_about_something_else_starts_nothing(
    listener: Listener, change: dict[str, Any]
) -> None:
    before = listener.jobs()
    body = json.dumps(github_push(commit(), **change)).encode()
    listener.deliver(body, signed(body))
    assert listener.jobs() == before


def _sha1(body: bytes) -> str:
    return hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()


BODY = json.dumps(github_push("ab" * 20)).encode()
FORGED = {
    "no signature": {"X-GitHub-Event": "push"},
    "another secret": signed(BODY, "guess"),
    "another body": signed(BODY + b" "),
    "an old signature": {"X-GitHub-Event": "push", "X-Hub-Signature": f"sha1={_sha1(BODY)}"},
    "another event": signed(BODY, event="pull_request"),
    "no event": {k: v for k, v in signed(BODY).items() if k != "X-GitHub-Event"},
    "both events": signed(BODY, "guess") | by_token("guess"),
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_what_github_did_not_sign_starts_nothing(
    listener: Listener, headers: dict[str, str]
) -> None:
    listener.deliver(BODY, headers)
    assert "ab" * 20 not in listener.jobs()


NOT_GITLAB: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "another token": ({}, by_token("guess")),
    "no token": ({}, {"X-Gitlab-Event": "Push Hook"}),
    "an empty token": ({}, by_token("")),
    "another event": ({}, by_token(event="Tag Push Hook")),
    "another branch": ({"ref": "refs/heads/x/main"}, by_token()),
    "another repository": ({"project": {"path_with_namespace": "Team/Shop/x"}}, by_token()),
    "a branch that was deleted": ({"after": "0" * 40}, by_token()),
}


@pytest.mark.parametrize(("change", "headers"), NOT_GITLAB.values(), ids=NOT_GITLAB)
def test_what_gitlab_did_not_send_or_is_about_something_else_starts_nothing(
    listener: Listener, change: dict[str, Any], headers: dict[str, str]
) -> None:
    before = listener.jobs()
    listener.deliver(gitlab_push(commit(), **change), headers)
    assert listener.jobs() == before


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}" * 9, b"[" * 9999]
)
def test_what_is_no_event_starts_nothing_also_when_it_is_signed(
    listener: Listener, body: bytes
) -> None:
    before = listener.jobs()
    listener.deliver(body, signed(body))
    listener.deliver(body, by_token())
    assert listener.jobs() == before


def test_an_event_that_is_too_large_starts_nothing_and_the_next_one_is_heard(
    listener: Listener,
) -> None:
    before = listener.jobs()
    listener.deliver(*padded(commit(), LARGEST + 1))
    assert listener.jobs() == before
    sha = commit()
    listener.deliver(*padded(sha, LARGEST))
    assert listener.jobs() - before == {sha}


def padded(sha: str, size: int) -> tuple[bytes, dict[str, str]]:
    """A push of so many bytes, with what signs it."""
    rest = size - len(json.dumps(github_push(sha, filler="")))
    body = json.dumps(github_push(sha, filler="x" * rest)).encode()
    assert len(body) == size
    return body, signed(body)


def test_the_listener_may_start_the_job_and_read_its_own_instructions(listener: Listener) -> None:
    anybody = rules(listener.installed, "bound-to-nothing")
    own = ("eventlisteners", "interceptors", "triggerbindings", "triggers", "triggertemplates")
    every = ("clusterinterceptors", "clustertriggerbindings")
    read = ("get", "list", "watch")
    wanted: Rules = {(v, f"{kind}.triggers.tekton.dev", "") for v in read for kind in own + every}
    wanted |= {("create", "jobs.batch", "")}
    assert rules(listener.installed, "mlops-listener") - anybody == wanted
    elsewhere = {each for each in wanted if each[1].split(".")[0] in every}
    assert rules(listener.installed, "mlops-listener", "default") - anybody == elsewhere
    assert not any(kind in RUNS or kind == "secrets" for _, kind, _ in wanted)
