"""`mlops trigger`: another attempt is queued on the remote, and carried out by whoever watches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.system.watch import watchers


def trigger(work: Path, *argv: str, code: int = 0) -> list[dict]:
    command = [sys.executable, "-m", "mlops", "trigger", "--repo", str(work), "-o", "json", *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else []


def claims(bare: Path) -> dict[str, dict]:
    names = watchers.git(bare, "for-each-ref", "--format=%(refname)", "refs/mlops/runs/").split()
    return {
        name.rpartition("/")[2]: json.loads(watchers.git(bare, "cat-file", "blob", name))
        for name in names
    }


def test_a_commit_is_asked_for_once_and_again_once_that_is_over(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    tip = watchers.git(work, "rev-parse", "HEAD")
    first = f"shop-{tip[:12]}-1"
    assert [(each["run"], each["fresh"]) for each in trigger(work, "--dry-run")] == [(first, True)]
    assert claims(bare) == {}
    assert trigger(work, "main", "--reason", "new labels")[0]["fresh"]
    found = claims(bare)[first]
    assert (found["state"], found["ref"], found["tip"]) == ("queued", "refs/heads/main", tip)
    assert found["trigger"].endswith("asked for it: new labels")
    (again,) = trigger(work)
    assert (again["run"], again["state"], again["fresh"]) == (first, "queued", False)

    blob = watchers.git(bare, "rev-parse", f"refs/mlops/runs/{first}")
    over = json.dumps({**found, "state": "outcome", "outcome": "failed", "reason": "x"})
    made = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        cwd=bare,
        input=over,
        text=True,
        capture_output=True,
        check=True,
    )
    watchers.git(bare, "update-ref", f"refs/mlops/runs/{first}", made.stdout.strip(), blob)
    (after,) = trigger(work, tip[:10])
    assert (after["run"], after["fresh"]) == (f"shop-{tip[:12]}-2", True)
    with watchers.Watcher("--repo", str(work), "--interval", "1") as watcher:
        watcher.wait(f"{after['run']} begins")


def test_what_no_branch_of_the_remote_has_is_refused_and_queued_once_it_is_pushed(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    (work / "src.py").write_text("1\n")
    watchers.git(work, "add", ".")
    watchers.git(work, "commit", "-qm", "Not pushed")
    tip = watchers.git(work, "rev-parse", "HEAD")
    trigger(work, code=1)
    trigger(work, tip, code=1)
    assert claims(bare) == {}
    assert trigger(work, "HEAD~1", "--dry-run")[0]["fresh"]  # a revision, and no branch's name
    watchers.git(work, "push", "-q")
    assert trigger(work)[0]["source"] == tip
    assert list(claims(bare)) == [f"shop-{tip[:12]}-1"]


def test_a_wrong_model_or_revision_queues_nothing(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    trigger(work, "--model", "ham", code=2)
    trigger(work, "no-such-branch", code=2)
    assert claims(bare) == {}
