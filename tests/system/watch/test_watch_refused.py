"""A remote that takes no refs of ours: decisions stand in the clone, and go to the remote when it takes them."""

from __future__ import annotations

import json

import pytest

from mlops.cli.doctor import doctor
from mlops.cli.options import Output
from mlops.domain.source import Commit
from mlops.engine import claiming
from tests.system.watch.watching import claims

HERE = "refs/mlops/here/"


@pytest.fixture
def refuse(sandbox):
    """Let the remote refuse refs below refs/mlops, or take them again."""
    hook = sandbox.remote / "hooks" / "update"

    def change(*, refuses: bool = True) -> None:
        if refuses:
            sandbox.script(hook, 'case "$1" in refs/mlops/*) echo no; exit 1;; esac')
        else:
            hook.unlink()

    return change


def moved(one, source: str, **more):
    name = claiming.run_name("spam", Commit(source), 1)
    claim = one.claims.read(name)
    return one.claims.put(name, claiming.moved(claim, **more), claim)


def test_decisions_stand_here_and_are_made_once(watched, user, sandbox, refuse):
    refuse()
    one = watched("a")
    tip = sandbox.git(user, "rev-parse", "HEAD")
    assert one.decided() == [("spam", tip, "queued")]
    assert one.decided() == []
    assert one.waiting() == [tip]
    assert claims(sandbox) == {}
    assert list(claims(sandbox, one.where, HERE)) == [f"spam-{tip[:12]}-1"]
    (said,) = one.said
    assert "the remote origin does not take refs/mlops/runs/spam-" in said
    one.finish(tip)
    again = watched("a", clone=False)
    assert again.decided() == []
    assert again.waiting() == []
    assert sandbox.git(user, "ls-remote", "origin", "refs/mlops/*") == ""


def test_they_go_to_the_remote_once_it_takes_them(watched, user, sandbox, refuse):
    refuse()
    one = watched("a")
    one.look()
    tip = sandbox.git(user, "rev-parse", "HEAD")
    one.finish(tip)
    refuse(refuses=False)
    again = watched("a", clone=False)
    assert again.decided() == []
    document = claims(sandbox)[f"spam-{tip[:12]}-1"]
    assert document["outcome"] == "succeeded"
    assert "over" not in document
    assert claims(sandbox, one.where, HERE) == {}
    other = watched("b")
    assert other.decided() == []
    assert other.waiting() == []


def test_what_somebody_else_decided_meanwhile_stands(watched, user, sandbox, refuse):
    refuse()
    one = watched("a")
    one.look()
    tip = sandbox.git(user, "rev-parse", "HEAD")
    refuse(refuses=False)
    other = watched("b")
    assert other.decided() == [("spam", tip, "queued")]
    token = claims(sandbox)[f"spam-{tip[:12]}-1"]["token"]
    again = watched("a", clone=False)
    assert again.decided() == []
    assert claims(sandbox)[f"spam-{tip[:12]}-1"]["token"] == token
    assert claims(sandbox, one.where, HERE) == {}


def test_a_remote_that_becomes_read_only_while_a_run_goes_on(watched, user, sandbox, refuse):
    one = watched("a")
    one.look()
    tip = sandbox.git(user, "rev-parse", "HEAD")
    assert moved(one, tip, state="claimed")
    refuse()
    assert moved(one, tip, state="submitted")
    assert moved(one, tip, state="outcome", outcome="succeeded")
    assert claims(sandbox)[f"spam-{tip[:12]}-1"]["state"] == "claimed"
    again = watched("a", clone=False, dead=lambda _: True)
    again.look()
    assert again.waiting() == []
    refuse(refuses=False)
    watched("a", clone=False).look()
    assert claims(sandbox)[f"spam-{tip[:12]}-1"]["outcome"] == "succeeded"


def test_what_is_refused_for_some_is_kept_for_those_alone(watched, user, sandbox):
    one = watched("a", each="commit")
    one.look()
    new = [sandbox.commit(user, name, {"train.py": name}) for name in "123"]
    sandbox.git(user, "push", "-q", "origin", "main")
    sandbox.script(
        sandbox.remote / "hooks" / "update", f'case "$1" in *{new[1][:12]}*) exit 1;; esac'
    )
    assert [sha for _, sha, _ in one.decided()] == new
    assert list(claims(sandbox, one.where, HERE)) == [f"spam-{new[1][:12]}-1"]
    assert len(claims(sandbox)) == 3
    assert one.waiting()[1:] == new


def test_doctor_names_the_remote(watched, user, refuse, capsys):
    refuse()
    one = watched("a")
    one.look()
    one.sandbox.git(one.where, "pull", "-q")
    assert doctor(repo=one.where, output=Output.JSON) in (0, 1)
    found = {each["subject"]: each for each in json.loads(capsys.readouterr().out)}
    assert "origin did not take refs below refs/mlops/runs/: 1 of its" in found["claims"]["said"]
