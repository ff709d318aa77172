"""One look of a watcher: every tip is decided once, before anything runs."""

from __future__ import annotations

import pytest

from mlops.adapters import process
from mlops.domain.source import Commit
from mlops.domain.watching import Tracked
from mlops.engine import claiming
from tests.system.watch.watching import claims


def test_a_tip_is_queued_once_with_its_ref_and_reason(watched, user, sandbox):
    one = watched("a")
    tip = sandbox.git(user, "rev-parse", "HEAD")
    assert one.decided() == [("spam", tip, "queued")]
    ((name, document),) = claims(sandbox).items()
    assert name == f"spam-{tip[:12]}-1"
    assert (document["state"], document["ref"], document["tip"]) == (
        "queued",
        "refs/heads/main",
        tip,
    )
    assert document["why"] == f"main is at {tip[:7]}"
    assert "holder" not in document
    assert one.decided() == []
    assert one.waiting() == [tip]
    one.finish(tip)
    assert one.decided() == []
    assert one.waiting() == []


def test_two_watchers_and_a_restarted_one_decide_it_once(watched, user, sandbox):
    tip = sandbox.git(user, "rev-parse", "HEAD")
    assert watched("a").decided() == [("spam", tip, "queued")]
    assert watched("b").decided() == []
    again = watched("a", clone=False)
    assert again.decided() == []
    assert again.waiting() == [tip]


def test_who_is_slower_is_told_who_was_faster(watched, user, sandbox):
    one, two = watched("a"), watched("b")
    sight = two.watcher.tips.look(two.watcher.tracked)
    assert one.decided()
    two.watcher.tips.look = lambda _: sight  # it looked before the other decided
    assert two.decided() == []
    assert len(claims(sandbox)) == 1
    assert len(two.waiting()) == 1


def test_a_look_at_rest_is_one_exchange(watched, user, monkeypatch):
    one = watched("a")
    one.look()
    one.look()  # the claims of the first look are new to the second
    asked: list[str] = []
    run = process.run
    monkeypatch.setattr(
        process, "run", lambda argv, **more: asked.append(argv) or run(argv, **more)
    )
    one.look()
    assert [("ls-remote" in argv, "fetch" in argv) for argv in asked] == [(True, False)]


def test_without_a_remote_the_local_branches_count(watched, user, sandbox):
    one = watched("user", clone=False, remote=None)
    tip = sandbox.git(user, "rev-parse", "HEAD")
    assert one.decided() == [("spam", tip, "queued")]
    assert list(claims(sandbox, user)) == [f"spam-{tip[:12]}-1"]
    assert one.decided() == []


def test_our_own_pins_are_no_new_source(watched, user, sandbox):
    one = watched("a")
    one.look()
    sandbox.commit(user, "Pin it", {"environments/dev/kustomization.yaml": "images: []\n"})
    sandbox.git(user, "push", "-q", "origin", "main")
    assert one.decided() == []


def test_a_bad_tip_does_not_keep_the_others_waiting(watched, user, sandbox):
    good = sandbox.git(user, "rev-parse", "HEAD")
    sandbox.git(user, "checkout", "-q", "-b", "bad")
    sandbox.commit(user, "Break it", {"mlops.yaml": "models: 7\n"})
    sandbox.git(user, "push", "-q", "origin", "bad")
    one = watched("a", tracked=Tracked(("*",)))
    seen = one.look()
    assert [(each.tip.name, bool(each.trouble)) for each in seen] == [
        ("bad", True),
        ("main", False),
    ]
    assert "is not decided: mlops.yaml" in seen[0].trouble
    assert one.waiting() == [good]


@pytest.mark.parametrize("annotated", [True, False])
def test_tags_by_pattern_and_never_our_own(watched, user, sandbox, annotated):
    one = watched("a", tracked=Tracked((), ("v*", "mlops/*")))
    tip = sandbox.commit(user, "Release", {"a": "1"})
    made = ["-a", "-m", "one"] if annotated else []
    for name in ("v1", "other", "mlops/spam/abc"):
        sandbox.git(user, "tag", *made, name)
    sandbox.git(user, "push", "-q", "origin", "--tags")
    assert one.decided() == [("spam", tip, "queued")]
    assert claims(sandbox)[f"spam-{tip[:12]}-1"]["ref"] == "refs/tags/v1"
    assert sandbox.git(one.where, "tag") == ""  # nobody's tags are moved here


@pytest.mark.parametrize(
    ("executor", "host", "followed"),
    [("tekton", "a-pod-that-is-gone", True), ("tekton", "here", False), ("local", "there", False)],
)
def test_a_run_that_goes_on_without_its_watcher_is_followed(
    watched, user, sandbox, executor, host, followed
):
    one = watched("a")
    one.look()
    tip = sandbox.git(user, "rev-parse", "HEAD")
    name = claiming.run_name("spam", Commit(tip), 1)
    claim = one.claims.read(name)
    document = claiming.moved(
        claim, "submitted", executor=executor, holder={"host": host, "pid": 1},
        expires="2027-01-01T00:00:00+00:00",
    )  # fmt: skip
    assert one.claims.put(name, document, claim)
    again = watched("b")
    again.look()
    assert again.waiting() == ([tip] if followed else [])
    assert len(again.watcher.working()) == int(not followed)
