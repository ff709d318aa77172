"""What a forge hears of `mlops watch`: real git and real runs; the forge is a fake over real HTTP."""

from __future__ import annotations

import json

import pytest

from tests.fakes.forges import FakeGitea, Fault
from tests.fakes.forges.server import TOKEN

TRAIN = "src/train.py"


@pytest.fixture
def forge(live):
    """A forge that has the project's remote."""
    with FakeGitea() as fake:
        text = (live.path / "mlops.yaml").read_text()
        section = (
            f"forge: {{kind: gitea, url: '{fake.api}', repository: ada/ml,"
            " link: 'https://ci.example.com/{run}'}\n"
        )
        live.write("mlops.yaml", text + section)
        live.env.update(MLOPS_FORGE_TOKEN=TOKEN, MLOPS_FORGE_HOST=fake.host)
        yield fake


def test_commits_are_told_what_became_of_them_and_a_forge_that_is_away_holds_nothing(live, forge):
    source = live.commit("Say which forge it is")
    forge.faults += [Fault(503)] * 8
    done = live.mlops("watch", "--once")
    assert "the forge is told later" in done.stderr, done.stderr
    assert forge.statuses == {}
    assert TOKEN not in done.stderr + done.stdout

    forge.faults.clear()
    live.mlops("watch", "--once")
    ((context, (state, said)),) = forge.said(source).items()
    assert (context, state) == ("mlops/spam", "success")
    assert f"spam-{source[:12]}-1: " in said

    live.write("params.yaml", "train: {accuracy: 0.8}\n")
    better = live.commit("Train with another parameter")
    live.mlops("watch", "--once")
    state, said = forge.said(better)["mlops/spam"]
    assert state == "success"
    assert "released spam@sha256:" in said
    assert "accuracy ≥ 0.5: 0.8" in said
    assert forge.statuses[better][-1].link == f"https://ci.example.com/spam-{better[:12]}-1"

    written = len(forge.writes())
    live.mlops("watch", "--once")
    assert len(forge.writes()) == written

    live.write("params.yaml", "train: {accuracy: 0.4}\n")
    worse = live.commit("Make it worse")
    live.mlops("watch", "--once", code=1)
    state, said = forge.said(worse)["mlops/spam"]
    assert state == "failure"
    assert "accuracy ≥ 0.5: 0.4" in said


def test_the_token_is_in_nothing_that_a_run_leaves(live, forge):
    live.commit("Say which forge it is")
    live.write("params.yaml", "train: {accuracy: 0.8}\n")
    live.commit("Change a parameter")
    done = live.mlops("watch", "--once", "-v", "-o", "json")
    assert json.loads(done.stdout)[0]["release"]
    assert forge.writes()
    assert TOKEN not in done.stdout + done.stderr
    for path in (live.path / ".mlops").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_a_token_that_may_not_go_there_is_said_once(live, forge):
    live.commit("Say which forge it is")
    done = live.mlops("watch", "--once", MLOPS_FORGE_HOST="")
    assert "the token is not sent to 127.0.0.1" in done.stderr
    assert forge.asked == []


def test_a_run_in_pull_request_mode_has_its_pull_request_once_the_forge_is_back(live, forge):
    forge.heads = lambda branch: live.git("ls-remote", "origin", f"refs/heads/{branch}")[:40]
    text = (live.path / "mlops.yaml").read_text()
    live.write("mlops.yaml", f"{text}gitops: {{mode: pull-request}}\n")
    live.write("params.yaml", "train: {accuracy: 0.8}\n")
    live.commit("Train with another parameter, and let people look first")
    forge.faults += [Fault(503, path="pulls")] * 40
    done = live.mlops("watch", "--once")
    assert "later" in done.stderr, done.stderr
    assert forge.pulls == []

    forge.faults.clear()
    live.mlops("watch", "--once")
    (pull,) = forge.pulls
    assert (pull.branch, pull.into) == ("mlops/run/dev/spam", "main")
    assert "gate accuracy ≥ 0.5: 0.8" in pull.body
    live.mlops("watch", "--once")
    assert len(forge.pulls) == 1
