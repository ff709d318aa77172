"""Real repositories: a bare remote, and clones of it, apart from the machine's own git settings."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops.adapters.git import GitOpsBranch, Repository, discover


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's git configuration, a file that a test may add to."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    config = home / ".gitconfig"
    config.write_text(
        "[user]\n name = Ada\n email = ada@example.com\n[init]\n defaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("MLOPS_ACTOR", raising=False)
    monkeypatch.delenv("EMAIL", raising=False)
    return config


@dataclass
class Sandbox:
    """Makes repositories in one directory, and runs git in them as a user would."""

    directory: Path
    seed: Path
    stack: ExitStack

    @property
    def remote(self) -> Path:
        return self.directory / "remote.git"

    def git(
        self, where: Path, *args: str, env: Mapping[str, str] | None = None, code: int = 0
    ) -> str:
        done = subprocess.run(
            ["git", *args],
            cwd=where,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout.strip()

    def new(self, name: str, *args: str) -> Path:
        """A repository without a commit."""
        self.git(self.directory, "init", "-q", *args, name)
        return self.directory / name

    def clone(self, name: str, *args: str) -> Path:
        """A clone of the bare remote, which is made, with one commit, when first asked for."""
        if not self.remote.exists():
            shutil.copytree(self.seed, self.remote)
        self.git(self.directory, "clone", "-q", *args, str(self.remote), name)
        return self.directory / name

    def commit(self, where: Path, message: str, files: Mapping[str, str | None]) -> str:
        """Commit files (None: removed) as a user would, and give the SHA."""
        for path, content in files.items():
            target = where / path
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content)
        self.git(where, "add", "-A")
        self.git(where, "commit", "-q", "--allow-empty", "-m", message)
        return self.git(where, "rev-parse", "HEAD")

    def open(self, where: Path) -> Repository:
        return self.stack.enter_context(Repository(discover(where)))

    def gitops(
        self, where: Path, remote: str | None = "origin", branch: str = "main"
    ) -> GitOpsBranch:
        return GitOpsBranch(self.open(where), branch, "environments", remote)

    @contextmanager
    def at(self, dates: Mapping[str, str]) -> Iterator[None]:
        """What git commits meanwhile in this process bears these dates."""
        with pytest.MonkeyPatch.context() as patch:
            for key, value in dates.items():
                patch.setenv(key, value)
            yield

    def script(self, path: Path, body: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with one commit on main, made once and copied."""
    directory = tmp_path_factory.mktemp("seed")
    who = {
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }
    (directory / "train.py").write_text("print(1)\n")
    for command in ("init -q -b main .", "add train.py", "commit -q -m first"):
        subprocess.run(["git", *command.split()], cwd=directory, check=True, env=os.environ | who)
    subprocess.run(["git", "clone", "-q", "--bare", ".", "seed.git"], cwd=directory, check=True)
    return directory / "seed.git"


@pytest.fixture
def sandbox(tmp_path: Path, seed: Path) -> Iterator[Sandbox]:
    directory = tmp_path / "repositories"
    directory.mkdir()
    with ExitStack() as stack:
        yield Sandbox(directory, seed, stack)
