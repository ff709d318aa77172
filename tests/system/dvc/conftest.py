"""A real project: git, DVC with a local remote, and a pipeline with all that DVC's graph can hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops.adapters.dvc import DvcStore
from mlops.adapters.git import Git, Repository
from mlops.domain.source import Commit

ENV = {
    **{k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DVC_"))},
    "DVC_NO_ANALYTICS": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.com",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.com",
}

DVC_YAML = """\
vars:
  - regions.yaml
stages:
  prepare:
    cmd: cat data/raw.csv src/prepare.py > data/clean.csv && echo ${prepare.rows} >> data/clean.csv && date > data/extra.txt
    deps: [data/raw.csv, src/prepare.py]
    params: [prepare.rows]
    outs: [data/clean.csv]
  train:
    cmd:
      - find src/train -type f -print0 | sort -z | xargs -0 cat data/clean.csv > model.bin
      - cat params.yaml more.toml config.py >> model.bin
    deps: [data/clean.csv, src/train]
    params:
      - train
      - more.toml: [sizes.hidden]
      - config.py: [DEPTH, Net.width]
    outs: [model.bin]
  evaluate:
    cmd: cp model.bin metrics.json
    deps: [model.bin]
    metrics: [metrics.json: {cache: false}]
  score:
    foreach: ${regions}
    do:
      cmd: cat model.bin ${item.file} > scores/${key}.txt
      deps: [model.bin, "${item.file}"]
      outs: ["scores/${key}.txt"]
  old:
    cmd: cat legacy.txt > old.txt
    deps: [legacy.txt]
    outs: [old.txt]
    frozen: true
"""

SUB_YAML = """\
stages:
  report:
    wdir: inner
    cmd: cat ../../metrics.json notes.txt > report.txt
    deps: [../../metrics.json, notes.txt]
    params: [title]
    outs: [report.txt]
"""

FILES = {
    "dvc.yaml": DVC_YAML,
    "sub/dvc.yaml": SUB_YAML,
    "sub/inner/notes.txt": "notes\n",
    "sub/inner/params.yaml": "title: One\n",
    "params.yaml": "prepare: {rows: 3}\ntrain:\n  depth: 3\n  lr: 1e-3\n  on: on\n  flags: [1, 2]\nunused: 1\n",
    "more.toml": "[sizes]\nhidden = 8\nother = 1\n",
    "config.py": "DEPTH = 3\nOTHER = 1\n\n\nclass Net:\n    width = (1, 2)\n",
    "regions.yaml": "regions:\n  uk: {file: uk.txt}\n  us: {file: us.txt}\n",
    "uk.txt": "uk\n",
    "us.txt": "us\n",
    "legacy.txt": "legacy\n",
    "src/prepare.py": "# prepare\n",
    "src/train/main.py": "# train\r\n",
    "src/train/ümläut name.py": "# more\n",
    "src/train/deep/more.py": "# deep\n",
    "src/train/skip.log": "not hashed\n",
    ".dvcignore": "*.log\n!keep.log\n",
    "docs/index.md": "docs\n",
    "scores/.gitignore": "",
    ".gitignore": "/data/extra.txt\n",
}


def dvc(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env=ENV | {"DVC_SITE_CACHE_DIR": str(root.parent / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, env=ENV, capture_output=True, text=True, check=True
    ).stdout.strip()


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def commit(root: Path, message: str = "change") -> str:
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", message)
    return git(root, "rev-parse", "HEAD")


def opened(root: Path) -> Repository:
    return Repository(Git(root))


def store(root: Path) -> DvcStore:
    return DvcStore(opened(root), root, root.parent / "graphs")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that DVC has reproduced and pushed; copy it before changing anything."""
    base = tmp_path_factory.mktemp("trained")
    root = base / "project"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    dvc(root, "init", "-q")
    config = "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../remote\n"
    write(root, {".dvc/config": config})
    write(root, FILES | {"data/raw.csv": "a,b\n1,2\n", "old.txt": "old\n"})
    dvc(root, "add", "-q", "data/raw.csv")
    dvc(root, "repro", "-q", "--all-pipelines")
    source = commit(root, "first")
    dvc(root, "push", "-q")
    store(root).stages(Commit(source))  # copies have the resolved graph with them
    return root
