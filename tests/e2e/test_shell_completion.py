"""Completion as somebody meets it who types in a real bash, on a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops.domain.release import record_path
from tests.fakes.estate import digest, overlays, record

PROJECT = """apiVersion: mlops/v1
kind: Project
name: demo
models:
  eggs: {paths: ["**"]}
  spam: {paths: ["**"]}
"""
A = digest("A").hex
_END = "\x01printf '<%s>' \r"  # Ctrl-A: to the start of the line, to have its words printed


def git(where: Path, *args: str) -> None:
    subprocess.run(["git", *args], cwd=where, check=True, capture_output=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("completed")
    git(root, "init", "-q", "-b", "main")
    hostile = "environments/releases/$(touch pwned)"
    files = {
        "mlops.yaml": PROJECT.encode(),
        **overlays(),
        record_path("environments", "spam", digest("A")): record("A").dump(),
        f"{hostile}/{'0' * 64}.json": b"{}",
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    git(root, "add", "-A")
    git(root, "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "begin")
    return root


class Bash:
    """An interactive bash with the completion that `mlops --show-completion bash` prints."""

    def __init__(self, where: Path) -> None:
        self.master, slave = pty.openpty()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {"PATH": path, "HOME": str(where), "TERM": "dumb", "PS1": "$ ", "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"], cwd=where, env=env,
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.say("bind 'set bell-style none'; bind 'set enable-bracketed-paste off'\r")
        self.say("source <(mlops --show-completion bash); echo re''ady\r")
        self.hear("ready")

    def say(self, text: str) -> None:
        os.write(self.master, text.encode())

    def hear(self, wanted: str) -> str:
        heard, end = "", time.monotonic() + 60
        while re.search(wanted, heard) is None:
            assert time.monotonic() < end, heard
            if select.select([self.master], [], [], 1)[0]:
                heard += os.read(self.master, 65536).decode(errors="replace")
        return heard

    def words(self, typed: str) -> list[str]:
        """The words of the line that stands there after `typed` and the tabulator."""
        self.say(typed + "\t" + _END)
        said = self.hear(r"(?m)^(?:<[^>\r\n]*>)+")
        found = re.search(r"(?m)^((?:<[^>\r\n]*>)+)", said)
        assert found is not None
        return found[1][1:-1].split("><")

    def close(self) -> None:
        os.close(self.master)
        self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def bash(clone):
    shell = Bash(clone)
    yield shell
    shell.close()


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("mlops rollb", "mlops rollback"),
        ("mlops rollback pr", "mlops rollback prod"),
        ("mlops rollback dev,st", "mlops rollback dev,staging"),
        ("mlops history prod sp", "mlops history prod spam"),
        ("mlops show spam@pr", "mlops show spam@prod"),
        (f"mlops show spam@sha256:{A[:8]}", f"mlops show spam@sha256:{A}"),
        ("mlops show spam@sha256:", f"mlops show spam@sha256:{A}"),
        ("mlops promote spam@dev --to sta", "mlops promote spam@dev --to staging"),
        ("mlops promote spam@dev --to=sta", "mlops promote spam@dev --to=staging"),
        ("mlops rollback prod --to=spam@st", "mlops rollback prod --to=spam@staging"),
        ("mlops diff stag", "mlops diff staging"),
        ("mlops status --outp", "mlops status --output"),
        ("mlops rollback nowhere", "mlops rollback nowhere"),
    ],
)
def test_what_is_typed_is_finished(bash, clone, typed, line):
    assert bash.words(typed) == line.split(" ")
    assert not (clone / "pwned").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_evaluates_holds_no_command(clone, shell):
    """zsh evaluates what is printed: a directory that somebody pushed must not be carried out."""
    env = {
        **os.environ,
        "_MLOPS_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "mlops history prod ",
    }
    env |= {"COMP_CWORD": "3", "_TYPER_COMPLETE_ARGS": "mlops history prod "}
    env["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    mlops = Path(sys.executable).with_name("mlops")
    done = subprocess.run([mlops], cwd=clone, env=env, capture_output=True, text=True, check=False)
    assert "spam" in done.stdout
    assert "eggs" in done.stdout
    assert "touch" not in done.stdout
    assert done.stderr == ""


def test_it_installs_itself(tmp_path):
    env = {**os.environ, "HOME": str(tmp_path)}
    mlops = Path(sys.executable).with_name("mlops")
    # by the shell that it is started from, whatever these tests were
    command = ["bash", "-c", '"$0" --install-completion; exit $?', mlops]
    subprocess.run(command, env=env, cwd=tmp_path, check=True, capture_output=True)
    assert "mlops" in (tmp_path / ".bashrc").read_text()
