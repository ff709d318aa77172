"""The GitHub Action and the GitLab template, as far as a machine without either can go: their documents against the
published schemas, and their scripts in a shell with the environment that a runner gives."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest
import yaml

from mlops import __version__

ROOT = Path(__file__).resolve().parents[2]
ACTION = ROOT / ".github/actions/mlops"
GITLAB = ROOT / "ci/gitlab/mlops.yml"
WORKFLOWS = [*(ROOT / ".github/workflows").glob("*.yml"), ROOT / "mlops/_data/workflow.yml"]
_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


def action() -> dict:
    return yaml.safe_load((ACTION / "action.yml").read_text())


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-actions", [ACTION / "action.yml"]),
        ("vendor.github-workflows", [*WORKFLOWS, ROOT / "mlops/_data/guard/github.yml"]),
        ("vendor.gitlab-ci", [GITLAB, ROOT / "mlops/_data/guard/gitlab.yml"]),
    ],
)
def test_the_documents_are_what_the_published_schemas_say(schema: str, files: list[Path]) -> None:
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    if schema == "vendor.gitlab-ci":
        argv += ["--data-transform", "gitlab-ci"]
    done = subprocess.run([*argv, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_by_the_same_commits_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in (ACTION / "action.yml", *WORKFLOWS, ROOT / "mlops/_data/guard/github.yml"):
        for name, pin in re.findall(r"uses: ([\w./-]+)@(\S+)", path.read_text()):
            assert re.fullmatch(r"[0-9a-f]{40}", pin), f"{path}: {name}@{pin}"
            pins.setdefault(name, set()).add(pin)
    assert {name for name, found in pins.items() if len(found) > 1} == set()


def test_no_input_is_substituted_into_a_script() -> None:
    for step in action()["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    for job in yaml.safe_load(GITLAB.read_text()).values():
        assert "$[[" not in str(job)


def test_the_template_has_the_guard_and_the_version_of_this_mlops() -> None:
    printed = yaml.safe_load((ROOT / "mlops/_data/guard/gitlab.yml").read_text())["mlops-guard"]
    jobs = yaml.safe_load(GITLAB.read_text())
    assert jobs["mlops-guard"]["script"] == printed["script"]
    assert jobs["mlops-guard"]["rules"] == printed["rules"]
    assert f"pip install --quiet mlops-gitops=={__version__}" in jobs[".mlops"]["before_script"]


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    shellcheck = str(Path(sys.executable).with_name("shellcheck"))
    scripts = [path.read_text() for path in ACTION.glob("*.sh")]
    for job in yaml.safe_load(GITLAB.read_text()).values():
        lines = [*job.get("before_script", ()), *job.get("script", ())]
        scripts.append("\n".join(["#!/bin/sh", *lines]))
    assert len(scripts) > 5
    for script in scripts:
        done = subprocess.run(
            [shellcheck, "-"], input=script, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


@dataclass
class Runner:
    """What GitHub's runner gives a composite step, and what it reads when the step has ended."""

    temp: Path
    where: Path

    def step(
        self,
        name: str,
        inputs: dict[str, str],
        code: int = 0,
        event: dict | None = None,
        **env: str,
    ) -> str:
        step = next(each for each in action()["runs"]["steps"] if each.get("name") == name)
        defaults = {key: str(each["default"]) for key, each in action()["inputs"].items()}
        known = {f"inputs.{key}": value for key, value in (defaults | inputs).items()}
        known |= {f"github.event.{key}": value for key, value in (event or {}).items()}
        given = {
            key: _EXPRESSION.sub(lambda match: known.get(match[1], ""), text)
            for key, text in step["env"].items()
        }
        for file in ("output", "summary", "path"):
            (self.temp / file).touch()
        runner = {
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_OS": "Linux",
            "GITHUB_ACTION_PATH": str(ACTION),
            "GITHUB_OUTPUT": str(self.temp / "output"),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
            "GITHUB_PATH": str(self.temp / "path"),
            "GITHUB_ACTOR": "rosa",
            "GITHUB_SHA": "f" * 40,
        }
        script = self.temp / "script.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.where,
            env={**os.environ, **runner, **given, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def program(self, text: str) -> None:
        """What stands for the installed mlops."""
        path = self.temp / "mlops-command"
        path.write_text(text)
        path.chmod(0o755)

    @property
    def outputs(self) -> dict[str, str]:
        """As the runner reads GITHUB_OUTPUT: `name=value`, and `name<<MARK` up to a line MARK."""
        found, lines = {}, iter((self.temp / "output").read_text().splitlines())
        for line in lines:
            name, heredoc, mark = line.partition("<<")
            if heredoc:
                found[name] = "\n".join(takewhile(mark.__ne__, lines))
            else:
                name, _, found[name] = line.partition("=")
        return found

    @property
    def summary(self) -> str:
        return (self.temp / "summary").read_text()


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    (tmp_path / "temp").mkdir()
    (tmp_path / "where").mkdir()
    return Runner(tmp_path / "temp", tmp_path / "where")


HOSTILE = "::error::x\n::add-mask::y\n```\n</code>\ncode=0\nanswer<<EOF\nEOF"
ECHO = """#!/usr/bin/env bash
printf '%s\\n' "$@" >"$RUNNER_TEMP/arguments"
printf '%s' "$SAY"
printf '%s' "$SAY" >&2
exit "$ENDS"
"""


@pytest.mark.parametrize("ends", [0, 1, 3])
def test_the_answer_and_the_exit_code_come_back_and_strangers_say_no_command(runner, ends):
    runner.program(ECHO)
    said = runner.step("run mlops", {"command": "watch --once"}, ends, SAY=HOSTILE, ENDS=str(ends))
    assert runner.outputs == {"code": str(ends), "answer": HOSTILE}
    mark = re.match(r"::stop-commands::([0-9a-f]{32})\n", said)
    assert mark is not None
    inside, _, after = said.partition(f"::{mark[1]}::")
    assert "::error::x" in inside
    assert inside.count("::error::x") == 1 or after.count("::error::x") == 1
    assert (runner.temp / "arguments").read_text().split() == ["watch", "--once"]
    assert f"### mlops watch: exit code {ends}" in runner.summary
    told = runner.summary.splitlines()[2:]
    assert all(line.startswith("    ") or not line for line in told)


def test_what_stands_in_an_input_is_words_and_no_shell(runner):
    runner.program(ECHO)
    command = 'status $(touch ran) `touch ran`; touch ran "a b" *'
    runner.step("run mlops", {"command": command}, SAY="", ENDS="0")
    assert (runner.temp / "arguments").read_text().splitlines() == command.split(" ")
    assert not (runner.where / "ran").exists()


def test_guard_and_plan_take_what_the_event_says(runner):
    runner.program(ECHO)
    say = {"SAY": "<!-- mlops -->", "ENDS": "0"}
    runner.step("run mlops", {"command": "guard"}, **say)
    sha = "f" * 40
    assert (runner.temp / "arguments").read_text().split() == ["guard", f"{sha}^1..{sha}"]
    event = {"merge_group.base_sha": "e" * 40}
    runner.step("run mlops", {"command": "guard"}, event=event, **say)
    assert (runner.temp / "arguments").read_text().split() == ["guard", f"{'e' * 40}..{sha}"]
    event = {"pull_request.number": "12"}
    runner.step("run mlops", {"command": "plan"}, event=event, **say)
    arguments = (runner.temp / "arguments").read_text().split()
    assert arguments == ["plan", "--pull-request", "12", "--markdown"]
    runner.step("run mlops", {"command": "plan", "comment": "true"}, event=event, **say)
    assert (runner.temp / "arguments").read_text().split() == [*arguments, "--comment"]
    assert "<!-- mlops -->\n" in runner.summary


@pytest.mark.parametrize("command", ["", "plan"])
def test_what_the_event_does_not_say_is_a_fault_of_usage(runner, command):
    runner.program(ECHO)
    said = runner.step("run mlops", {"command": command}, 2, SAY="", ENDS="0")
    assert "mlops:" in said
    assert not (runner.temp / "arguments").exists()


def test_the_installed_version_is_that_of_the_action_or_the_one_named(runner, tmp_path):
    """With a pip that tells what it was asked for; that it installs was tried by hand."""
    stub = tmp_path / "bin"
    stub.mkdir()
    fake = '#!/bin/sh\necho "$@" >>"$RUNNER_TEMP/pip"\n'
    script = f'#!/bin/sh\nmkdir -p "$3/bin"\nprintf \'%s\' \'{fake}\' >"$3/bin/python"\nchmod +x "$3/bin/python"\n'
    for name, text in {"python": script, "sudo": fake, "bwrap": "#!/bin/sh\n"}.items():
        (stub / name).write_text(text)
        (stub / name).chmod(0o755)
    path = f"{stub}{os.pathsep}{os.environ['PATH']}"
    runner.step("install mlops", {}, PATH=path)
    asked = (runner.temp / "pip").read_text()
    assert f"--require-hashes --requirement {ROOT}/requirements-tool.txt" in asked
    assert f"install --no-deps {ROOT}\n" in asked
    assert "apparmor" in asked
    shutil.rmtree(runner.temp)
    runner.temp.mkdir()
    runner.step("install mlops", {"version": "0.1.0", "command": "guard"}, PATH=path)
    asked = (runner.temp / "pip").read_text()
    assert "install mlops-gitops==0.1.0\n" in asked
    assert "apparmor" not in asked
    runner.step("install mlops", {"version": "0.1.0 --index-url x"}, 2, PATH=path)


def test_the_action_needs_nothing_that_a_script_cannot_see() -> None:
    """Every variable of ours that a script reads is one that its step sets."""
    for step in action()["runs"]["steps"]:
        if "run" in step:
            name = re.search(r"(\w+\.sh)", step["run"])[1]
            read = set(
                re.findall(r"\$\{?(MLOPS_(?:INPUT|PULL|QUEUE)\w*)", (ACTION / name).read_text())
            )
            assert read <= set(step["env"]), json.dumps(sorted(read))


def test_gitlabs_job_tells_git_the_token_and_no_file_holds_it(tmp_path: Path) -> None:
    token = "glpat-of-tests"
    env = {**os.environ, "MLOPS_GIT_TOKEN": token, "CI_PROJECT_URL": "https://git.example.com/a/b"}
    env |= {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }

    def run(*argv: str, given: str = "") -> str:
        done = subprocess.run(
            argv, cwd=tmp_path, env=env, input=given, capture_output=True, text=True, check=True
        )
        return done.stdout

    run("git", "init", "-q", ".")
    run("git", "remote", "add", "origin", "https://gitlab-ci-token:x@git.example.com/a/b.git")
    scripts = yaml.safe_load(GITLAB.read_text())[".mlops"]["before_script"]
    run("sh", "-e", "-c", next(each for each in scripts if "MLOPS_GIT_TOKEN" in each))
    assert run("git", "remote", "get-url", "origin") == "https://git.example.com/a/b.git\n"
    asked = "protocol=https\nhost=git.example.com\n\n"
    assert f"password={token}\n" in run("git", "credential", "fill", given=asked)
    assert token not in (tmp_path / ".git/config").read_text()
