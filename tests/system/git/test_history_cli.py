"""`mlops history`, `status`, `diff` and `rollback` as a user types them, in clones of all kinds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.estate import digest
from tests.system.git.chronicle import Chronicle


@pytest.fixture
def chronicle(sandbox) -> Chronicle:
    found = Chronicle(sandbox)
    for name in "ABC":
        found.ours("promote", spam=name)
    return found


def mlops(where: Path, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "mlops", *args],
        cwd=where,
        env={**os.environ, "MLOPS_ACTOR": "Ada"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def answers(where: Path, *args: str) -> list[dict]:
    return json.loads(mlops(where, *args, "--output", "json").stdout)


def cloned(chronicle: Chronicle, *args: str) -> Path:
    sandbox = chronicle.sandbox
    url = f"file://{sandbox.remote}"
    sandbox.git(sandbox.directory, "clone", "-q", *args, url, "odd")
    return sandbox.directory / "odd"


def test_a_shallow_clone_says_where_its_history_is_cut_off(chronicle):
    where = cloned(chronicle, "--depth=2")
    done = mlops(where, "history", "prod", "spam")
    assert "is cut off at" in done.stderr
    assert "git fetch --unshallow" in done.stderr
    assert "before 2023-" in done.stdout
    rows = answers(where, "history", "prod")
    assert [(row["since"] is None, row["action"]) for row in rows] == [
        (False, "promote"),
        (True, None),
    ]
    early = mlops(where, "history", "prod", "--at", "2023-11-01", code=1)
    assert "is cut off at" in early.stderr
    assert "git fetch --unshallow" in mlops(where, "show", "spam@prod~2", code=1).stderr


def test_a_rollback_in_a_shallow_clone_says_what_nobody_can_tell(chronicle):
    where = cloned(chronicle, "--depth=2")
    told = mlops(
        where, "rollback", "prod", "spam", "--reason", "x", "--skip-preflight", "--dry-run"
    )
    assert "nobody can tell whether prod was rolled back from an earlier spam" in told.stderr
    assert str(digest("B")) in told.stdout
    shallower = "--depth=1"
    chronicle.sandbox.git(where, "fetch", "-q", shallower)
    refused = mlops(where, "rollback", "prod", "spam", "--reason", "x", "--yes", code=1)
    assert "is cut off at" in refused.stderr


def test_a_force_push_is_told_once_it_was_seen(chronicle):
    where = cloned(chronicle)
    assert "force-pushed" not in mlops(where, "history", "prod").stderr
    chronicle.pull()
    former = chronicle.head()
    chronicle.git("reset", "-q", "--hard", "HEAD~1")
    chronicle.edited("prod", "instead", spam="D")
    chronicle.push("--force")
    done = mlops(where, "history", "prod", "--output", "json")
    assert [row["release"][-64:] for row in json.loads(done.stdout)] == [
        digest(name).hex for name in "DBA"
    ]
    assert f"force-pushed: {former[:7]}" in done.stderr
    assert "force-pushed" in mlops(where, "history", "prod", "--no-fetch").stderr


def test_status_of_chosen_environments_and_models(chronicle):
    rows = answers(chronicle.person, "status", "prod", "--model", "spam")
    assert [(row["environment"], row["model"]) for row in rows] == [("prod", "spam")]
    assert rows[0]["since"] is not None
    rows = answers(chronicle.person, "status", "prod", "dev")
    assert [row["environment"] for row in rows] == ["dev", "dev", "prod", "prod"]
    assert "Did you mean prod?" in mlops(chronicle.person, "status", "prd", code=2).stderr
    assert "Did you mean spam?" in mlops(chronicle.person, "status", "-m", "spm", code=2).stderr


def test_diff_of_chosen_models(chronicle):
    chronicle.ours("promote", "staging", spam="A", eggs="B")
    found = answers(chronicle.person, "diff", "prod", "staging", "--model", "eggs")
    assert [(each["model"], each["from"]) for each in found] == [("eggs", None)]
    same = mlops(chronicle.person, "diff", "prod", "dev", "--model", "eggs")
    assert "pin the same" in same.stderr


def test_a_renamed_environment_in_the_command(chronicle):
    chronicle.pull()
    chronicle.git("mv", "environments/prod", "environments/production")
    project = (chronicle.person / "mlops.yaml").read_text()
    chronicle.commit(
        "prod is production now",
        {"mlops.yaml": project + "environments: [dev, staging, production]\n"},
    )
    chronicle.push()
    done = mlops(chronicle.person, "history", "production", "--output", "json")
    assert [row["action"] for row in json.loads(done.stdout)] == ["promote"] * 3
    assert "production was called prod until" in done.stderr
