"""A small project in the shape of the real ones, quick to run: DVC, data, one stage, no packages.

Its model is a mean; the server is the project's own command, so no dependency is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent

FILES = {
    "mlops.yaml": """
        apiVersion: mlops/v1
        kind: Project
        name: spam-filter
        runtime: {runtime}
        models:
          spam:
            paths: ["src/**", "data/**", "dvc.*", "params.yaml"]
            build: {{base: host, code: [src]}}
            train: {{timeout: 2m, resources: {{memory: 512Mi}}}}
            artifact: models/spam.json
            metrics: metrics.json
            gates:
              - {{metric: accuracy, min: 0.5}}
            serve: {{command: [python, -m, src.serve]}}
        """,
    ".gitignore": ".mlops/\n/models\n",
    "params.yaml": "train: {accuracy: 0.9}\n",
    "dvc.yaml": """
        stages:
          train:
            cmd: python src/train.py
            deps: [data/train.csv, src/train.py]
            params: [train.accuracy]
            outs: [models/spam.json]
            metrics: [{metrics.json: {cache: false}}]
        """,
    "src/train.py": """
        import json, os, pathlib

        accuracy = float(pathlib.Path("params.yaml").read_text().split("accuracy:")[1].strip(" }\\n"))
        rows = [float(r) for r in pathlib.Path("data/train.csv").read_text().split()]
        pathlib.Path("models").mkdir(exist_ok=True)
        pathlib.Path("models/spam.json").write_text(json.dumps({"mean": sum(rows) / len(rows)}))
        pathlib.Path("metrics.json").write_text(json.dumps({"accuracy": accuracy}))
        """,
    "src/serve.py": "print('serving')\n",
    "docs/readme.md": "# Spam\n",
}


@dataclass(frozen=True)
class Spam:
    """The clone, its bare remote, the DVC remote, and the environment of its person."""

    path: Path
    remote: Path
    data: Path
    env: dict[str, str]

    def run(self, *argv: str, code: int | None = 0, cwd: Path | None = None, **env: str):
        done = subprocess.run(
            argv,
            cwd=cwd or self.path,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=280,
            check=False,
        )
        assert code is None or done.returncode == code, (
            f"{argv} exited {done.returncode}, expected {code}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def git(self, *argv: str) -> str:
        return self.run("git", *argv).stdout.strip()

    def mlops(self, *argv: str, code: int | None = 0, **env: str):
        return self.run(sys.executable, "-m", "mlops", *argv, code=code, **env)

    def write(self, path: str, text: str) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text).lstrip("\n"))

    def commit(self, message: str) -> str:
        """Commit everything and push, as a person would after `git pull --rebase`."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        self.git("pull", "-q", "--rebase", "origin", "main")
        self.git("push", "-q", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def tip(self) -> str:
        """origin/main, freshly fetched."""
        self.git("fetch", "-q", "origin")
        return self.git("rev-parse", "origin/main")

    def pinned(self, environment: str) -> str | None:
        """The digest that an environment pins on the remote."""
        self.tip()
        text = self.git("show", f"origin/main:environments/{environment}/kustomization.yaml")
        found = [line.split()[-1].strip("'\"") for line in text.splitlines() if "digest:" in line]
        return found[0] if found else None


def environment(home: Path) -> dict[str, str]:
    """The environment of a person who just installed mlops."""
    dropped = ("GIT_", "MLOPS_", "DVC_", "KILLING_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    home.mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Rosa\n\temail = rosa@example.com\n[init]\n\tdefaultBranch = main\n"
    )
    real = Path.home() / ".cache"
    return {
        **kept,
        "HOME": str(home),
        "UV_CACHE_DIR": kept.get("UV_CACHE_DIR") or str(real / "uv"),
        "MLOPS_CACHE": str(home / "cache"),
        "PATH": f"{BIN}{os.pathsep}{kept['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def make(base: Path, runtime: str = "auto") -> Spam:
    """Write, initialise and lock the project below `base`; nothing is released yet."""
    env = environment(base / "home")
    spam = Spam(base / "work", base / "remote.git", base / "data-remote", env)
    spam.path.mkdir(parents=True)
    spam.data.mkdir()
    spam.run("git", "init", "-q", "--bare", "-b", "main", str(spam.remote))
    spam.git("init", "-q", "-b", "main")
    spam.git("remote", "add", "origin", str(spam.remote))
    for path, text in FILES.items():
        spam.write(path, text.format(runtime=runtime) if path == "mlops.yaml" else text)
    spam.write("data/train.csv", "1\n2\n3\n")
    spam.run(sys.executable, "-m", "dvc", "init", "-q")
    spam.run(sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "store", str(spam.data))
    spam.run(sys.executable, "-m", "dvc", "add", "-q", "data/train.csv")
    spam.run(sys.executable, "-m", "dvc", "push", "-q")
    spam.mlops("init", "--yes")
    spam.git("add", "-A")
    spam.git("commit", "-q", "-m", "Spam filter")
    spam.git("push", "-q", "-u", "origin", "main")
    spam.mlops("lock")
    spam.commit("Lock")
    return spam


def _copy(source: str, target: str) -> None:
    """Blobs of images are written once, beside, and renamed: a hard link will do."""
    if "/blobs/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def copy(made: Spam, base: Path) -> Spam:
    """A copy of a made project, remotes and all: making one takes seconds, copying does not.

    Unpacked layers are shared: they are named by their content and never change.
    """
    skipped = shutil.ignore_patterns("cache", "runs")
    shutil.copytree(made.path.parent, base, symlinks=True, ignore=skipped, copy_function=_copy)
    env = {**environment(base / "home"), "MLOPS_CACHE": made.env["MLOPS_CACHE"]}
    spam = Spam(base / "work", base / "remote.git", base / "data-remote", env)
    if spam.git("remote"):
        spam.git("remote", "set-url", "origin", str(spam.remote))
    # what `dvc remote modify --local store url` writes, without the half second that it takes
    spam.write(".dvc/config.local", f"['remote \"store\"']\n    url = {spam.data}\n")
    return spam
