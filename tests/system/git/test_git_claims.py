"""Claims on a real remote, and on local refs: the same contract."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlops.adapters.git import RunClaims
from mlops.errors import GitError, UsageError
from mlops.ports import Claims


@pytest.fixture(params=["remote", "local"])
def pair(request, sandbox):
    """Two that claim against each other."""
    if request.param == "remote":
        places = [sandbox.clone("a"), sandbox.clone("b")]
        return [RunClaims(sandbox.open(place), "origin") for place in places]
    where = sandbox.clone("a")
    return [RunClaims(sandbox.open(where), None) for _ in "ab"]


def test_the_first_wins_and_the_second_is_told(pair):
    one: Claims = pair[0]
    two: Claims = pair[1]
    claim = one.put("spam-abc-1", {"state": "claimed", "holder": "one"}, None)
    assert claim is not None
    assert claim.ref == "refs/mlops/runs/spam-abc-1"
    assert claim.document["token"]
    assert two.put("spam-abc-1", {"state": "claimed", "holder": "two"}, None) is None
    assert two.read("spam-abc-1") == claim
    assert two.read("spam-abc-2") is None


def test_equal_documents_do_not_both_win(pair):
    one, two = pair
    first = one.put("r", {"state": "claimed"}, None)
    assert two.put("r", {"state": "claimed"}, None) is None
    moved = one.put("r", {**first.document, "state": "submitted"}, first)
    assert moved is not None
    assert two.put("r", {**first.document, "state": "submitted"}, first) is None
    assert two.read("r").document == moved.document


def test_a_token_of_ones_own_is_kept(pair):
    claim = pair[0].put("r", {"token": "mine"}, None)
    assert claim.document["token"] == "mine"
    assert pair[0].put("r", {"token": "mine too"}, claim).document == {"token": "mine too"}


def test_moving_needs_the_last_state(pair):
    one, two = pair
    first = one.put("r", {"state": "claimed"}, None)
    second = two.put("r", {"state": "submitted"}, two.read("r"))
    assert second is not None
    assert one.put("r", {"state": "outcome"}, first) is None
    third = one.put("r", {"state": "outcome"}, one.read("r"))
    assert two.read("r") == third


def test_list(pair):
    one, two = pair
    assert one.list() == ()
    for name in ("spam-1", "spam-2", "ham-1"):
        one.put(name, {"name": name}, None)
    assert [claim.document["name"] for claim in two.list()] == ["ham-1", "spam-1", "spam-2"]
    assert [claim.ref for claim in two.list("spam-")] == [
        "refs/mlops/runs/spam-1",
        "refs/mlops/runs/spam-2",
    ]
    assert two.list("nothing") == ()


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a..b", "a b", "a.lock", "a*", "a.", "é\n"])
def test_names_of_runs(pair, name):
    with pytest.raises(UsageError, match="name of a run"):
        pair[0].put(name, {}, None)


def test_what_is_no_claim_is_told(pair, sandbox):
    where = sandbox.directory / "a"
    sandbox.commit(where, "x", {"junk": "[1]"})
    blob = sandbox.git(where, "rev-parse", "HEAD:junk")
    for target in (blob, "HEAD"):
        sandbox.git(where, "update-ref", "refs/mlops/runs/junk", target)
        sandbox.git(where, "push", "-q", "-f", "origin", "refs/mlops/runs/junk")
        with pytest.raises(GitError, match="refs/mlops/runs/junk holds no claim"):
            pair[0].read("junk")


def test_a_remote_that_does_not_take_such_refs(sandbox):
    claims = RunClaims(sandbox.open(sandbox.clone("a")), "origin")
    sandbox.git(sandbox.remote, "config", "receive.hideRefs", "refs/mlops")
    with pytest.raises(GitError, match="remote origin does not take refs/mlops/runs/r"):
        claims.put("r", {}, None)


def test_a_lost_answer_is_asked_for(sandbox):
    claims = RunClaims(sandbox.open(sandbox.clone("a")), "origin")
    sandbox.script(sandbox.remote / "hooks" / "post-receive", 'kill -9 "$PPID"')
    claim = claims.put("r", {}, None)
    assert claim is not None
    assert claims.read("r") == claim


def test_a_similar_ref_is_no_claim(sandbox):
    where = sandbox.clone("a")
    claims = RunClaims(sandbox.open(where), "origin")
    sandbox.git(where, "push", "-q", "origin", "HEAD:refs/x/refs/mlops/runs/r")
    assert claims.read("r") is None
    assert claims.list() == ()


def test_they_leave_no_refs_in_the_clone(sandbox):
    where = sandbox.clone("a")
    claims = RunClaims(sandbox.open(where), "origin")
    before = sandbox.git(where, "for-each-ref")
    claims.put("r", {}, None)
    RunClaims(sandbox.open(sandbox.clone("b")), "origin").put("s", {}, None)
    assert len(claims.list()) == 2
    assert sandbox.git(where, "for-each-ref") == before


_CLAIMER = """
import sys
from pathlib import Path
from mlops.adapters.git import Repository, RunClaims, discover
with Repository(discover(Path(sys.argv[1]))) as repository:
    claims = RunClaims(repository, sys.argv[2] or None)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(5):
        print("won" if claims.put(f"run-{number}", {"state": "claimed"}, None) else "lost")
"""


@pytest.mark.parametrize("remote", ["origin", ""])
def test_of_several_processes_exactly_one_wins_each(sandbox, remote):
    shared = sandbox.clone("a")
    places = [shared] * 3 if not remote else [shared, sandbox.clone("b"), sandbox.clone("c")]
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", _CLAIMER, str(place), remote],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for place in places
    ]
    for claimer in claimers:
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    answers = [claimer.communicate()[0].split() for claimer in claimers]
    assert [claimer.returncode for claimer in claimers] == [0, 0, 0]
    for number in range(5):
        assert sorted(answer[number] for answer in answers) == ["lost", "lost", "won"]
