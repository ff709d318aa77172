"""`mlops runs decisions`: what the claims say, also where they say nonsense."""

from __future__ import annotations

import json

import jsonschema

from mlops.cli import answers
from mlops.cli.options import Output
from mlops.cli.runs_decisions import decisions


def listed(where, capsys, **more):
    decisions(repo=where, output=Output.JSON, **more)
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, answers.schema("runs decisions"))
    return found


def test_what_was_decided_why_and_how_it_stands(watched, user, sandbox, capsys):
    one = watched("a")
    one.look()
    first = sandbox.git(user, "rev-parse", "HEAD")
    one.finish(first)
    second = sandbox.commit(user, "2", {"train.py": "2"})
    sandbox.git(user, "push", "-q", "origin", "main")
    one.look()
    newer, older = listed(user, capsys)
    assert (newer["source"], newer["state"], newer["outcome"]) == (second, "queued", None)
    assert (newer["ref"], newer["tip"], newer["why"]) == (
        "refs/heads/main",
        second,
        f"main is at {second[:7]}",
    )
    assert (older["state"], older["outcome"]) == ("outcome", "succeeded")
    assert listed(user, capsys, waiting=True) == [newer]
    assert listed(user, capsys, model="ham") == []
    decisions(repo=user)
    assert f"spam-{second[:12]}-1" in capsys.readouterr().out


def test_claims_that_say_nonsense_are_listed_as_such(watched, user, sandbox, capsys):
    blob = sandbox.directory / "blob"
    for number, text in enumerate(
        ['{"state": 7, "source": [], "since": {}, "ref": 3}', '{"since": "2026-01-01"}', "{}"]
    ):
        blob.write_text(text)
        sha = sandbox.git(sandbox.remote, "hash-object", "-w", str(blob))
        sandbox.git(sandbox.remote, "update-ref", f"refs/mlops/runs/spam-{number:012}-1", sha)
    found = listed(user, capsys)
    assert [each["state"] for each in found] == ["unknown"] * 3
    one = watched("a")
    assert len(one.decided()) == 1
    assert len(one.waiting()) == 1
