"""`mlops demo` is what it says: it runs what it shows, and what it leaves behind is real."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from mlops.demo.evidence import Evidence, released
from mlops.demo.stage import DemoError, Output, Stage
from tests.e2e.repositories import environment, run

COMMAND = re.compile(r"^\$ (.*)$", re.MULTILINE)
DONE = re.compile(r"^✓ (.*)$", re.MULTILINE)


@pytest.mark.timeout(1800)
def test_the_demo(tmp_path):
    """Played once, with a bare home: no git user, no terminal. One test, so that no second worker
    plays it again."""
    base = tmp_path
    env = environment(base / "home")
    (base / "home" / ".gitconfig").unlink()
    done = run(base, env, "mlops", "demo", "here", timeout=1500)
    played = base / "here", env, done.stdout
    it_plays_to_the_end(played)
    what_it_tells_is_checked(played)
    every_command_is_one_that_a_user_may_type(played)
    prod_renders_to_a_digest_that_is_in_its_registry(played)
    the_directory_is_left_to_play_in(played)


def it_plays_to_the_end(played):
    base, _, text = played
    assert "All as told" in text
    for act in (
        "first release",
        "documentation",
        "New data",
        "worse model",
        "production",
        "prediction",
        "incident",
        "Automation",
        "in production?",
        "built again",
    ):
        assert re.search(f"^── .*{re.escape(act)}", text, re.MULTILINE), act
    assert sorted(path.name for path in base.iterdir()) == [
        "dvc-store",
        "remote.git",
        "second-clone",
        "wine",
    ]


def what_it_tells_is_checked(played):
    told = DONE.findall(played[2])
    assert len(told) >= 18
    for part in ("nothing was to do", "the gate refused it", "prod is held", "in another clone"):
        assert any(part in line for line in told), part


def every_command_is_one_that_a_user_may_type(played):
    commands = COMMAND.findall(played[2])
    words = {word for line in commands for word in programs(line)}
    assert words <= {"git", "dvc", "mlops", "sed", "grep", "echo", "cat", "python", "cd", "kill"}
    assert str(played[0]) not in "\n".join(commands)  # nothing that holds in this directory only


def programs(line):
    """The first word of each simple command of a shell line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    first = True
    for word in lexer:
        if first:
            yield word
        first = word in ("&&", "&", ";", "|")


def prod_renders_to_a_digest_that_is_in_its_registry(played):
    base, env, _ = played
    run(base / "wine", env, "git", "pull", "-q", "--rebase")
    argv = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    rendered = run(base / "wine", env, *argv, "environments/prod").stdout
    (deployment,) = (d for d in yaml.safe_load_all(rendered) if d["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    name, _, digest = container["image"].partition("@")
    assert name == "wine"
    blobs = base / "wine" / ".mlops" / "registry" / "blobs" / "sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
    for layer in manifest["layers"]:
        assert (blobs / layer["digest"].removeprefix("sha256:")).stat().st_size == layer["size"]


def the_directory_is_left_to_play_in(played):
    base, env, _ = played
    status = json.loads(run(base / "wine", env, "mlops", "status", "--output", "json").stdout)
    assert {row["environment"]: bool(row["hold"]) for row in status} == {
        "dev": False,
        "staging": False,
        "prod": True,
    }
    run(base / "wine", env, "mlops", "resume", "prod")
    moved = run(base / "wine", env, "mlops", "promote", "--auto")
    assert "→ prod" in moved.stdout + moved.stderr


# --- the stage itself: each of its guards -----------------------------------------------------------


@pytest.fixture
def stage(tmp_path):
    lines: list[str] = []
    return Stage(tmp_path, lines.append), lines


def test_a_command_is_shown_run_and_echoed(stage):
    it, lines = stage
    done = it.type("echo one; echo two >&2; pwd")
    assert lines == ["$ echo one; echo two >&2; pwd", "  one", "  two", f"  {it.directory}"]
    assert done == Output(f"one\ntwo\n{it.directory}", 0)
    assert it.typed == ["echo one; echo two >&2; pwd"]


@pytest.mark.parametrize(("command", "code"), [("false", 0), ("true", 1), ("exit 3", 1)])
def test_an_unexpected_exit_code_stops_it(stage, command, code):
    with pytest.raises(DemoError, match="was expected"):
        stage[0].type(command, code=code)


def test_an_expected_failure_goes_on(stage):
    assert stage[0].type("exit 1", code=1).code == 1


def test_a_claim_that_does_not_hold_stops_it(stage):
    with pytest.raises(DemoError, match="this is not so: the sky is green"):
        stage[0].check("the sky is green", holds=False)
    assert not any("✓" in line for line in stage[1])


def test_no_release_stops_it():
    with pytest.raises(DemoError, match="printed no release"):
        released(Output("nothing to do", 0))


def test_the_users_own_settings_do_not_reach_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("MLOPS_ACTOR", "Somebody")
    lines: list[str] = []
    Stage(tmp_path, lines.append).type(
        "echo ${GIT_DIR-unset} ${MLOPS_ACTOR-unset}; command -v mlops"
    )
    assert lines[1] == "  unset unset"
    assert Path(lines[2].strip()).name == "mlops"


def test_evidence_is_read_from_the_remote(tmp_path):
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remote)], check=True)
    evidence = Evidence(remote)
    assert evidence.pin("prod") == ""
    assert not evidence.held("prod")
    with pytest.raises(DemoError, match="has no record"):
        evidence.record(released(Output("wine@sha256:" + "1" * 64, 0)))


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path):
    env = environment(tmp_path / "home")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    done = run(tmp_path, env, "mlops", "demo", "mine", code=2)
    assert "there already" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]
