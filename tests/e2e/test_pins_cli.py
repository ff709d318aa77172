"""The commands on pins as a user types them, on a real bare remote with records written by hand."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlops.domain.release import record_path
from mlops.manifests import kustomization
from tests.fakes.estate import digest, overlays, record, release
from tests.fakes.forges import FakeGitHub, Fault
from tests.fakes.forges.server import TOKEN

PROJECT = b"""apiVersion: mlops/v1
kind: Project
name: demo
models:
  eggs: {paths: ["**"]}
  spam: {paths: ["**"]}
"""
A, B, C = (str(digest(name)) for name in "ABC")


@dataclass
class Cli:
    """A clone, and `mlops` in it."""

    clone: Path

    @property
    def env(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLOPS_")}
        return {**kept, "MLOPS_ACTOR": "Ada", "GIT_CONFIG_GLOBAL": os.devnull}

    def __call__(
        self, *args: str, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "mlops", *args]
        done = subprocess.run(
            argv, cwd=self.clone, env={**self.env, **env}, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        assert code is None or done.returncode == code, (
            f"{args} → {done.returncode}\n{done.stdout}{done.stderr}"
        )
        assert "Traceback" not in done.stderr
        return done

    def json(self, *args: str, code: int | None = 0, **env: str) -> Any:
        return json.loads(self(*args, "--output", "json", code=code, **env).stdout)

    def git(self, *args: str) -> str:
        done = subprocess.run(
            ["git", *args], cwd=self.clone, env=self.env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, files: dict[str, bytes], message: str) -> None:
        for path, content in files.items():
            target = self.clone / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def damage(self, name: str) -> None:
        """Put a broken manifest of a release into this clone's registry."""
        path = self.clone / ".mlops/registry/blobs/sha256" / digest(name).hex
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}")

    def pin(self, environment: str, name: str) -> None:
        """By hand, pushed."""
        path = f"environments/{environment}/kustomization.yaml"
        self.git("pull", "-q", "--rebase", "origin", "main")
        content = (self.clone / path).read_bytes()
        pinned = kustomization.with_pin(content, "spam", digest(name), path)
        self.write({path: pinned}, f"{environment} {name}")
        self.git("push", "-q", "origin", "HEAD:main")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    remote = ["git", "init", "-q", "--bare", "-b", "main", "remote.git"]
    subprocess.run(remote, cwd=root, check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", "clone"], cwd=root, check=True)
    cli = Cli(root / "clone")
    cli.git("config", "user.name", "Ada")
    cli.git("config", "user.email", "ada@example.com")
    cli.git("remote", "add", "origin", "../remote.git")
    base = {"environments/base/kustomization.yaml": b"resources: []\n"}
    cli.write({"mlops.yaml": PROJECT, ".gitignore": b".mlops/\n", **base, **overlays()}, "begin")
    for number, name in enumerate("ABC"):
        source = cli.git("rev-parse", "HEAD")
        made = record(
            name,
            source={"repository": "demo", "commit": source},
            params={"depth": number},
            metrics={"accuracy": 0.9 + number / 100},
        )
        cli.write({record_path("environments", "spam", digest(name)): made.dump()}, name)
        cli.write({f"src/{name}.py": b""}, f"work after {name}")
    cli.git("push", "-q", "-u", "origin", "main")
    return root


@pytest.fixture
def cli(template: Path, tmp_path: Path) -> Cli:
    shutil.copytree(template, tmp_path / "w")
    return Cli(tmp_path / "w" / "clone")


def test_the_story_from_promotion_to_resume(cli: Cli):
    for name in "AB":
        for environment in ("dev", "staging", "prod"):
            cli.pin(environment, name) if environment == "dev" else cli(
                "promote", "spam@dev", "--to", environment
            )
    out = cli("promote", "spam@dev").stdout
    assert out == f"spam@sha256:{digest('B').short} → prod (it is there already)\n"
    head = cli.git("rev-parse", "HEAD")
    done = cli("rollback", "prod", "--reason", "nonsense", "--incident", "INC-7", "--yes")
    assert done.stdout.splitlines() == [
        f"prod: spam sha256:{digest('B').short} → sha256:{digest('A').short}",
        "held: no automation moves spam in prod until: mlops resume prod spam",
    ]
    assert "preflight: image" in done.stderr
    assert cli.git("rev-parse", "HEAD") == head, "what is checked out does not move"
    assert cli.git("status", "--porcelain") == ""

    again = cli("rollback", "prod", "--reason", "nonsense", "--incident", "INC-7")
    assert "was done before: nothing changed" in again.stdout

    refused = cli("promote", "spam@staging", "--to", "prod", code=1)
    assert "prod is held by Ada: nonsense" in refused.stderr
    rows = cli.json("status")
    assert [set(row) for row in rows] == [
        {"environment", "model", "release", "since", "source", "hold", "live"}
    ] * 6
    (prod,) = [r for r in rows if (r["environment"], r["model"]) == ("prod", "spam")]
    assert prod["release"] == f"spam@{A}"
    assert prod["hold"]["reason"] == "nonsense"
    assert prod["hold"]["avoid"] == [B]
    assert prod["live"] is None
    assert "is no longer held" in cli("resume", "prod", "spam").stdout
    assert cli("promote", "spam@staging", "--to", "prod").returncode == 0

    rows = cli.json("history", "prod", "spam")
    assert [set(row) for row in rows] == [
        {
            *("environment", "model", "release", "previous", "since", "until", "commit"),
            *("author", "actor", "action", "reason", "incident", "run"),
        }
    ] * 4
    told = [(row["release"], row["action"], row["incident"]) for row in rows]
    assert told == [
        (f"spam@{B}", "promote", None),
        (f"spam@{A}", "rollback", "INC-7"),
        (f"spam@{B}", "promote", None),
        (f"spam@{A}", "promote", None),
    ]
    assert rows[1]["commit"] in cli.git("log", "--format=%H", "origin/main")


def test_rollback_without_a_terminal(cli: Cli):
    cli.pin("prod", "A")
    cli.pin("prod", "B")
    assert "--reason" in cli("rollback", "prod", code=2).stderr
    cli.damage("A")
    refused = cli("rollback", "prod", "--reason", "bad", code=1)
    assert "preflight: image" in refused.stderr
    assert "--skip-preflight" in refused.stderr
    dry = cli("rollback", "prod", "--reason", "bad", "--dry-run")
    changed = [line for line in dry.stdout.splitlines() if line[:1] in "+-"]
    assert f"-    digest: {B}" in changed
    assert f"+    digest: {A}" in changed
    assert cli.json("history", "prod")[0]["release"] == f"spam@{B}"
    (answer,) = cli.json("rollback", "prod", "--reason", "bad", "--skip-preflight")
    assert (answer["release"], answer["previous"]) == (f"spam@{A}", f"spam@{B}")
    assert answer["changed"]
    assert answer["commit"] == cli.json("history", "prod")[0]["commit"]


def test_rollback_from_a_clone_that_built_nothing(cli: Cli):
    cli.pin("prod", "A")
    cli.pin("prod", "B")
    done = cli("rollback", "prod", "--reason", "bad")
    assert "not checked: the registry .mlops/registry belongs to the clone" in done.stderr
    assert cli.git("log", "-1", "--format=%s", "origin/main").startswith("Roll back prod to spam@")


def test_a_hold_says_what_it_replaces(cli: Cli):
    assert "replaces" not in cli("hold", "prod", "--reason", "freeze", "--until", "2d").stdout
    assert "replaces: freeze, until 2" in cli("hold", "prod", "--reason", "longer").stdout
    (answer,) = cli.json("hold", "prod", "--reason", "longest")
    assert answer["replaces"]["reason"] == "longer"


def test_rollback_on_a_terminal_asks_for_the_reason_and_before_going_on(cli: Cli):
    cli.pin("prod", "A")
    cli.pin("prod", "B")
    cli.damage("A")
    out, code = on_a_terminal(
        cli,
        ["rollback", "prod"],
        [("Why is prod rolled back?", "it is slow\n"), ("Roll back in spite of that?", "y\n")],
    )
    assert code == 0, out
    assert cli.json("history", "prod")[0]["reason"] == "it is slow"
    out, code = on_a_terminal(
        cli,
        ["rollback", "prod", "--to", f"spam@{A}", "--reason", "x"],
        [],
    )
    assert code == 1
    assert "already" in out


def on_a_terminal(cli: Cli, args: list[str], dialogue: list[tuple[str, str]]) -> tuple[str, int]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlops", *args], cwd=cli.clone, env=cli.env,
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    said, waiting, end = "", list(dialogue), time.monotonic() + 120
    while time.monotonic() < end:
        if not select.select([master], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            chunk = os.read(master, 4096)
        except OSError:  # Linux: the other side of a pty is closed
            break
        if not chunk:
            break
        said += chunk.decode(errors="replace")
        if waiting and waiting[0][0] in said:
            os.write(master, waiting.pop(0)[1].encode())
    os.close(master)
    assert not waiting, said
    return said, process.wait(timeout=60)


def test_tables_are_plain_when_piped_and_drawn_on_a_terminal(cli: Cli):
    cli.pin("prod", "A")
    piped = cli("status").stdout
    assert piped.splitlines()[0].split() == [
        "ENVIRONMENT",
        "MODEL",
        "RELEASE",
        "AGE",
        "SOURCE",
        "HOLD",
    ]
    assert "\x1b" not in piped
    drawn, _ = on_a_terminal(cli, ["status"], [])
    assert "─" in drawn or "━" in drawn


def test_history_at(cli: Cli):
    assert "prod has never pinned anything" in cli("history", "prod").stderr
    assert cli.json("history", "prod") == []
    assert (
        "prod has never pinned spam"
        in cli("history", "prod", "spam", "--at", "2020-01-01", code=1).stderr
    )
    cli.pin("prod", "A")
    (row,) = cli.json("history", "prod")
    then = cli.json("history", "prod", "--at", row["since"])
    assert [each["release"] for each in then] == [f"spam@{A}"]
    early = cli("history", "prod", "--at", "2020-01-01T00:00:00Z", code=1)
    assert "prod pinned nothing at 2020-01-01T00:00:00Z; its first pin is of" in early.stderr
    late = cli("history", "prod", "--at", "2999-01-01")
    assert "still to come" in late.stderr
    assert digest("A").short in late.stdout
    assert cli("history", "prod", "--at", "yesterday", code=2).stderr.startswith("error:")
    assert cli("history", "prod", "--tz", "Mars", "--at", "2020-01-01", code=2)


def test_show_and_diff(cli: Cli):
    cli.pin("prod", "A")
    cli.pin("prod", "B")
    (shown,) = cli.json("show", "spam@prod~1")
    assert shown["release"] == f"spam@{A}"
    assert shown["params"] == {"depth": 0}
    assert shown["environments"] == []
    text = cli("show", f"spam@sha256:{digest('B').hex[:6]}").stdout
    assert f"release: spam@{B}" in text
    assert "environments: prod" in text
    (change,) = cli.json("diff", "spam@prod~1", "spam@prod")
    assert [c["subject"] for c in change["commits"]] == ["work after A", "A"]
    assert change["params"] == [{"name": "depth", "from": "0", "to": "1"}]
    assert change["metrics"] == [{"name": "accuracy", "from": "0.9", "to": "0.91"}]
    assert "accuracy: 0.9 → 0.91" in cli("diff", "spam@prod~1", "prod").stdout
    assert "pin the same" in cli("diff", "prod", "prod").stderr


def test_hold_resume_quarantine(cli: Cli):
    cli.pin("prod", "A")
    (answer,) = cli.json("hold", "prod", "--reason", "freeze", "--until", "4h")
    assert (answer["model"], answer["reason"], answer["changed"]) == ("*", "freeze", True)
    assert "held by Ada until" in cli("status").stdout
    assert "is no longer held: freeze" in cli("resume", "prod").stdout
    assert "is not held" in cli("resume", "prod").stdout
    done = cli("quarantine", "spam@prod", "--reason", "leaks")
    assert "prod still pins it. Go back: mlops rollback prod spam" in done.stderr
    assert "which is quarantined" in cli("status").stderr
    refused = cli("promote", f"spam@{A}", "--to", "dev", code=1)
    assert "quarantined" in refused.stderr
    assert "out of quarantine" in cli("quarantine", "--lift", f"spam@{A}").stdout
    assert "is not in quarantine" in cli("quarantine", "--lift", f"spam@{A}").stdout
    assert cli("quarantine", code=2)


def test_automation_says_why_not(cli: Cli):
    policy = b"apiVersion: mlops/v1\nkind: Environment\nfrom: dev\nauto: true\n"
    cli.write({"environments/staging/environment.yaml": policy}, "let automation")
    cli.git("push", "-q", "origin", "HEAD:main")
    assert "nothing to move" in cli("promote", "--auto").stderr
    cli.pin("dev", "A")
    cli("hold", "staging", "--reason", "freeze")
    done = cli("promote", "--auto")
    assert done.stdout == ""
    assert "staging stays: staging is held by Ada: freeze" in done.stderr
    cli("resume", "staging")
    (moved,) = cli.json("promote", "--auto")
    assert (moved["environment"], moved["release"], moved["changed"]) == (
        "staging",
        f"spam@{A}",
        True,
    )


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["promote"], 2, "error: no release is named. Name one: mlops promote spam@dev"),
        (["promote", "spam", "--to", "prod"], 2, "spam@staging, spam@prod~1 or spam@sha256:"),
        (["show", f"spam@{A[7:15]}"], 2, f"Did you mean spam@{A[:15]}?"),
        (["show", "spam@sha256:3943"], 2, "at least 6"),
        (["promote", "$(id)@prod"], 2, "names no release"),
        (["promote", "spam@prod"], 1, "prod has never pinned spam"),
        (["rollback", "prod", "spam", "--reason", "x"], 1, "prod has never pinned spam"),
        (["rollback", "prd", "--reason", "x"], 2, "Did you mean prod"),
        (["show", f"spam@sha256:{'0' * 64}"], 1, "no record"),
        (["show", "spma@prod"], 2, "Did you mean spam"),
        (["history", "-prod"], 2, ""),
        (["history", "prod\x1b[31m"], 2, "no environment"),
        (["hold", "prod"], 2, "--reason"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(cli: Cli, args, code, said):
    done = cli(*args, code=code)
    assert said in done.stderr
    assert "\x1b" not in done.stderr


def test_an_unreachable_remote(cli: Cli):
    cli.pin("prod", "A")
    cli.pin("prod", "B")
    shutil.rmtree(cli.clone.parent / "remote.git")
    assert "could not fetch" in cli("status").stderr
    assert "could not fetch" not in cli("status", "--no-fetch").stderr
    assert cli("rollback", "prod", "--reason", "x", "--yes", code=3)


def test_completion_offers_names_and_never_fails(cli: Cli, tmp_path: Path):
    cli.pin("prod", "A")

    def offered(words: str, where: Path) -> list[str]:
        env = {**cli.env, "_MLOPS_COMPLETE": "complete_bash", "COMP_WORDS": words}
        env["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        code = "import sys; sys.argv = ['mlops']; from mlops.cli.app import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=where, env=env, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout.split()

    assert offered("mlops rollback ", cli.clone) == ["dev", "staging", "prod"]
    assert offered("mlops history prod s", cli.clone) == ["spam"]
    assert f"spam@{A}" in offered("mlops promote spam@", cli.clone)
    assert "spam@prod" in offered("mlops show ", cli.clone)
    assert offered("mlops rollback ", tmp_path) == []


def test_reading_imports_neither_dvc_nor_kubernetes(cli: Cli):
    code = (
        "import sys; sys.argv = ['mlops', 'COMMAND', *ARGS]\n"
        "from mlops.cli.app import run\n"
        "code = run()\n"
        "heavy = {'dvc', 'kubernetes', 'rich', 'scmrepo'} & {m.partition('.')[0] for m in sys.modules}\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    cli.pin("prod", "A")
    for command, args in (("status", []), ("history", ["prod"])):
        script = code.replace("COMMAND", command).replace("ARGS", repr(args))
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=cli.clone, env=cli.env, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_release_names_are_short_for_people_and_whole_for_programs(cli: Cli):
    (answer,) = cli.json("promote", str(release("A")), "--to", "dev")
    assert answer["release"] == f"spam@{A}"
    assert A not in cli("promote", str(release("B")), "--to", "dev").stdout


def test_pull_request_mode_proposes_and_rollback_push_goes_past_it(cli: Cli):
    for environment in ("dev", "prod"):
        cli.pin(environment, "A")
        cli.pin(environment, "B")
    mode = PROJECT + b"gitops: {mode: pull-request, rollback: push}\n"
    cli.write({"mlops.yaml": mode}, "let people look first")
    cli.git("push", "-q", "origin", "HEAD:main")
    tip = cli.git("rev-parse", "origin/main")
    done = cli("promote", "spam@dev", "--to", "staging")
    assert done.stdout == (
        "proposed on branch mlops/promote/staging/spam: open a pull request for it\n"
    )
    (again,) = cli.json("promote", "spam@dev", "--to", "staging")
    assert (again["changed"], again["commit"]) == (False, None)
    assert again["proposed"] == "mlops/promote/staging/spam"
    cli.git("fetch", "-q")
    assert cli.git("rev-parse", "origin/main") == tip
    (back,) = cli.json("rollback", "prod", "--reason", "bad", "--yes")
    assert (back["changed"], back["proposed"]) == (True, None)
    assert cli.json("history", "prod")[0]["action"] == "rollback"


def test_where_a_forge_is_known_the_pull_request_is_opened_and_named(cli: Cli):
    for environment in ("dev", "prod"):
        cli.pin(environment, "A")
        cli.pin(environment, "B")
    with FakeGitHub() as forge:
        at = f"forge: {{kind: github, url: '{forge.api}', repository: ada/ml}}\n"
        mode = f"gitops: {{mode: pull-request, auto-merge: true}}\n{at}"
        cli.write({"mlops.yaml": PROJECT + mode.encode()}, "let people look first")
        cli.git("push", "-q", "origin", "HEAD:main")
        forge.heads = lambda branch: cli.git("ls-remote", "origin", f"refs/heads/{branch}")[:40]
        env = {"MLOPS_FORGE_TOKEN": TOKEN, "MLOPS_FORGE_HOST": forge.host}
        page = f"{forge.web}/ada/ml/pull/1"
        done = cli("promote", "spam@dev", "--to", "staging", **env)
        proposed = "proposed on branch mlops/promote/staging/spam"
        assert done.stdout == f"{proposed}: pull request #1: {page}\n"
        (pull,) = forge.pulls
        assert pull.title == f"Promote {release('B').short} to staging"
        assert pull.waits
        (again,) = cli.json("promote", "spam@dev", "--to", "staging", **env)
        assert (again["proposed"], again["pull_request"]) == (pull.branch, page)
        (back,) = cli.json("rollback", "prod", "--reason", "bad", "--yes", **env)
        assert back["pull_request"] == f"{forge.web}/ada/ml/pull/2"
        assert [each.branch for each in forge.open_pulls()] == [
            "mlops/promote/staging/spam",
            "mlops/rollback/prod/spam",
        ]

        forge.faults += [Fault(502)] * 4
        done = cli("hold", "staging", "--reason", "freeze", **env)
        assert "opened later" in done.stderr
        assert "proposed on branch mlops/hold/staging/every-model" in done.stdout
        assert len(forge.pulls) == 2
        assert TOKEN not in done.stderr + done.stdout

        (found,) = [
            each for each in cli.json("doctor", code=None, **env) if each["subject"] == "forge"
        ]
        assert found["fine"]
        assert "as ada" in found["said"]
        forge.scopes = "repo:status, read:org"
        (found,) = [
            each for each in cli.json("doctor", code=None, **env) if each["subject"] == "forge"
        ]
        assert not found["fine"]
        (found,) = [each for each in cli.json("doctor", code=None) if each["subject"] == "forge"]
        assert "no token" in found["said"]


def test_several_environments_go_back_together(cli: Cli):
    for environment in ("staging", "prod"):
        cli.pin(environment, "A")
        cli.pin(environment, "B")
    done = cli("rollback", "staging,prod", "--reason", "bad", "--dry-run")
    assert "preflight: record" in done.stderr
    dry = done.stdout
    assert dry.count(f"+    digest: {A}") == 2
    rows = cli.json("rollback", "staging,prod", "--reason", "bad", "--yes")
    assert [(row["environment"], row["release"]) for row in rows] == [
        ("staging", f"spam@{A}"),
        ("prod", f"spam@{A}"),
    ]
    assert len({row["commit"] for row in rows}) == 1
    assert "no environment" in cli("rollback", "prod,qa", "--reason", "x", code=2).stderr
