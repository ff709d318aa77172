"""Data that changes at its source, and new locks: real git, real DVC, real sources; the clock alone is put."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops.cli import opening, wiring_triggers
from tests.fakes.forges import FakeGitea, Fault
from tests.fakes.forges.server import TOKEN

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def here(live, monkeypatch):
    """The released project; commands in this process have its person's environment."""
    for key, value in live.env.items():
        monkeypatch.setenv(key, value)
    return live


@pytest.fixture
def source(tmp_path) -> Path:
    """A directory that somebody else writes to."""
    found = tmp_path / "source"
    found.mkdir()
    (found / "day-1.csv").write_text("1\n")
    return found


def configure(project, text: str) -> None:
    old = (project.path / "mlops.yaml").read_text()
    project.write("mlops.yaml", old.replace("artifact:", f"{text}\n    artifact:"))


def watched(project, url: str, more: str = "") -> None:
    """Import `url` as data/raw, and look at it for changes."""
    project.run("dvc", "import-url", "-q", url, "data/raw")
    project.run("dvc", "push", "-q", "data/raw.dvc")
    configure(project, f"triggers: [{{data: data/raw, settle: 10m, cool-down: 1h{more}}}]")
    project.commit("Import the data")


def look(project, minutes: float):
    opened = opening.open_project(project.path)
    opened = replace(opened, now=lambda: START + timedelta(minutes=minutes))
    try:
        return wiring_triggers.upkeep(opened, ["main"])
    finally:
        opened.repository.close()


def recorded(project, ref: str) -> str:
    """The hash of the data that a branch on the remote names."""
    project.git("fetch", "-q", "origin", ref)
    text = project.git("show", "FETCH_HEAD:data/raw.dvc")
    return text.partition("outs:")[2].partition("md5: ")[2].split()[0]


def on_remote(project, md5: str) -> bool:
    return (project.data / "files" / "md5" / md5[:2] / md5[2:]).is_file()


def test_data_that_changed_at_its_source_is_proposed_once(here, source):
    watched(here, str(source))
    before = recorded(here, "main")
    assert look(here, 0) == ()
    assert look(here, 1) == ()
    (source / "day-2.csv").write_text("2\n")
    (seen,) = look(here, 2)
    assert not seen.failed, seen
    assert look(here, 5) == ()
    (asked,) = look(here, 13)
    assert asked.note.endswith("data/raw.dvc is brought in by mlops/data/spam"), asked
    after = recorded(here, "mlops/data/spam")
    assert after != before
    assert recorded(here, "main") == before
    assert on_remote(here, after)
    assert look(here, 600) == ()

    (source / "day-3.csv").write_text("3\n")
    look(here, 700)
    look(here, 711)
    heads = here.git("ls-remote", "--heads", "origin", "mlops/*").splitlines()
    assert len(heads) == 1
    assert recorded(here, "mlops/data/spam") not in (before, after)
    base = here.git("rev-parse", "FETCH_HEAD^")
    assert base == here.tip()


def test_what_is_pushed_to_the_branch_is_decided_as_any_push(here, source):
    watched(here, str(source), ", commit: push")
    here.mlops("watch", "--once")
    tip = here.tip()
    marks = here.git("ls-remote", "origin", "refs/mlops/runs/trigger.*").split()[1::2]
    here.git("push", "-q", "origin", "--delete", *marks)
    look(here, 0)
    (source / "day-2.csv").write_text("2\n")
    look(here, 1)
    done = here.mlops("watch", "--once", "-o", "json")
    here.tip()
    message = here.git("log", "-1", "--format=%B", "origin/main", "--", "data/raw.dvc")
    assert "Mlops-Reason: data data/raw" in message
    made = here.git("log", "-1", "--format=%H", "origin/main", "--", "data/raw.dvc")
    assert made != tip
    assert any(made[:12] in each["run"] for each in json.loads(done.stdout)), done.stderr


class _Tagged(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", f'"{hashlib.md5(path.read_bytes()).hexdigest()}"')  # noqa: S324
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def site(source) -> Iterator[str]:
    """The directory, served with ETags."""

    def handler(*args):
        return _Tagged(*args, directory=str(source))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_told_by_its_etag_and_one_that_is_gone_holds_nothing(here, source, site):
    watched(here, f"{site}/day-1.csv")
    look(here, 0)
    (source / "day-1.csv").write_text("1\n2\n")
    (seen,) = look(here, 1)
    assert not seen.failed, seen
    (source / "day-1.csv").rename(source / "gone.csv")
    (asked,) = look(here, 12)
    assert asked.failed
    assert asked.note.startswith(
        "data data/raw: DVC failed while asking for changes of data/raw.dvc"
    )
    (source / "gone.csv").rename(source / "day-1.csv")
    (asked,) = look(here, 13)
    assert on_remote(here, recorded(here, "mlops/data/spam"))


def test_what_no_file_imports_is_said(here):
    configure(here, "triggers: [{data: 's3://bucket/prefix'}, {data: data/train.csv}]")
    here.commit("Look at data")
    assert look(here, 0) == ()
    first, second = look(here, 1)
    assert "imports s3://bucket/prefix" in first.note
    assert "data/train.csv.dvc imports nothing" in second.note


def test_new_locks_are_proposed_and_what_stands_is_not(here):
    text = (here.path / "mlops.yaml").read_text()
    here.write("mlops.yaml", text.replace("models:", 'updates: {cron: "0 3 * * *"}\nmodels:', 1))
    lock = (here.path / "mlops.lock").read_text()
    (line,) = [each for each in lock.splitlines() if each.strip().startswith("uv:")]
    here.write("mlops.lock", lock.replace(line, line.split(":")[0] + ": 0.0.1"))
    here.commit("Look for updates")
    assert look(here, 0) == ()
    (asked,) = look(here, 200)
    assert asked.note == "updates cron 0 3 * * *: new locks are proposed on mlops/lock"
    here.git("fetch", "-q", "origin", "mlops/lock")
    assert here.git("show", "FETCH_HEAD:mlops.lock") == lock.strip()
    assert "uv: 0.0.1 → " in here.git("log", "-1", "--format=%b", "FETCH_HEAD")
    assert look(here, 300) == ()
    here.git("merge", "-q", "--ff-only", "FETCH_HEAD")
    here.git("push", "-q", "origin", "main")
    (asked,) = look(here, 200 + 24 * 60)
    assert asked.note.endswith("nothing is new")


def test_somebody_elses_commit_on_the_branch_of_locks_is_not_tried_at_each_look(here):
    text = (here.path / "mlops.yaml").read_text()
    here.write("mlops.yaml", text.replace("models:", 'updates: {cron: "0 3 * * *"}\nmodels:', 1))
    lock = (here.path / "mlops.lock").read_text()
    (line,) = [each for each in lock.splitlines() if each.strip().startswith("uv:")]
    here.write("mlops.lock", lock.replace(line, line.split(":")[0] + ": 0.0.1"))
    here.commit("Look for updates")
    here.git("push", "-q", "origin", "HEAD:refs/heads/mlops/lock")
    look(here, 0)
    (asked,) = look(here, 200)
    assert "somebody else committed to mlops/lock" in asked.note, asked
    assert "The next attempt is due 2026-01-01 03:2" in asked.note
    here.git("push", "-q", "origin", "--delete", "mlops/lock")
    assert look(here, 200.5) == (asked,)
    (asked,) = look(here, 202)
    assert asked.note.endswith("new locks are proposed on mlops/lock"), asked


def test_what_is_proposed_has_a_pull_request_once_the_forge_is_back(here, source):
    with FakeGitea() as forge:
        forge.heads = lambda branch: here.git("ls-remote", "origin", f"refs/heads/{branch}")[:40]
        section = f"forge: {{kind: gitea, url: '{forge.api}', repository: ada/ml}}\n"
        here.write("mlops.yaml", (here.path / "mlops.yaml").read_text() + section)
        here.env.update(MLOPS_FORGE_TOKEN=TOKEN, MLOPS_FORGE_HOST=forge.host)
        watched(here, str(source))
        look(here, 0)
        (source / "day-2.csv").write_text("2\n")
        look(here, 2)
        look(here, 13)
        forge.faults += [Fault(503, path="pulls")] * 40
        done = here.mlops("triggers", "--ask")
        assert "the pull request is opened later" in done.stderr, done.stderr
        assert forge.pulls == []

        forge.faults.clear()
        done = here.mlops("triggers", "--ask")
        (pull,) = forge.pulls
        assert (pull.branch, pull.into) == ("mlops/data/spam", "main")
        assert "pull request #1 is open" in done.stderr
        assert "Fingerprint of the source: " in pull.body
        here.mlops("watch", "--once")
        assert len(forge.pulls) == 1

        pull.state = "closed"
        here.mlops("triggers", "--ask")
        (source / "day-3.csv").write_text("3\n")
        look(here, 700)
        look(here, 711)
        here.mlops("watch", "--once")
        assert [each.state for each in forge.pulls] == ["closed", "open"]
