"""The pipeline of an installed release, carried out in the tool image that its package names: by podman, as a user
that nothing knows, on read-only roots, with nothing of this machine but a git server, a DVC remote and a registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.fakes.remotes import Remote, remote
from tests.system.git.servers import http
from tests.system.registry.servers import Running
from tests.system.tool.conftest import PACKAGED, ROOT, Published

FILES = {
    "mlops.yaml": """
apiVersion: mlops/v1
kind: Project
name: spam-filter
environments: [dev]
registry: {registry}/team
models:
  spam:
    build: {{base: host, code: [src]}}
    artifact: models/spam.json
    metrics: metrics.json
    gates:
      - {{metric: accuracy, min: 0.5}}
    serve: {{command: [python, src/serve.py]}}
""",
    "dvc.yaml": """
stages:
  train:
    cmd: python src/train.py
    deps: [data/train.csv, src/train.py]
    outs: [models/spam.json]
    metrics: [metrics.json: {cache: false}]
""",
    "src/train.py": """
import json, os, pathlib
rows = pathlib.Path("data/train.csv").read_text().split()
pathlib.Path("models").mkdir(exist_ok=True)
pathlib.Path("models/spam.json").write_text(json.dumps({"rows": rows, "user": os.getuid()}))
pathlib.Path("metrics.json").write_text('{"accuracy": 0.9}')
""",
    "src/serve.py": "print(open('models/spam.json').read())\n",
    ".gitignore": "/.mlops/\n/models/\n/data/train.csv\n",
    ".dvc/config": "[core]\n    remote = store\n['remote \"store\"']\n    url = {remote}\n",
    ".dvcignore": "",
    "environments/dev/kustomization.yaml": "resources: []\n",
}


@pytest.fixture
def dvc_remote() -> Iterator[Remote]:
    with remote() as served:
        yield served


@pytest.fixture(scope="module")
def installed(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of an environment where the released wheel is installed, as a user has it."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    env = {**os.environ, "VIRTUAL_ENV": str(place)}
    for argv in (
        ["venv", "--quiet", "--python", sys.executable, str(place)],
        [
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "-r",
            str(ROOT / "requirements-tool.txt"),
        ],
        ["pip", "install", "--quiet", "--no-deps", str(published.wheel)],
    ):
        subprocess.run([uv, *argv], env=env, check=True, cwd=place.parent)
    return place / "bin"


@dataclass(frozen=True)
class Project:
    work: Path
    env: dict[str, str]

    def run(self, *argv: str, **env: str) -> str:
        done = subprocess.run(
            argv,
            cwd=self.work,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def project(tmp_path: Path, installed: Path, registry: Running, dvc_remote: Remote) -> Project:
    """A project that the installed release locked, pushed to a bare repository beside it."""
    work = tmp_path / "work"
    for name, text in FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        filled = name in ("mlops.yaml", ".dvc/config")
        whole = text.format(registry=registry.host, remote=dvc_remote.url) if filled else text
        (work / name).write_text(whole.lstrip("\n"))
    (work / "data").mkdir()
    (work / "data/train.csv").write_text("1\n2\n3\n")
    dropped = ("GIT_", "MLOPS_", "DVC_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    env |= {"HOME": str(tmp_path), "PATH": f"{installed}:{env['PATH']}", "DVC_NO_ANALYTICS": "1"}
    env.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.com\n")
    made = Project(work, env)
    made.run("git", "init", "-q", "-b", "main")
    made.run("git", "init", "-q", "--bare", "-b", "main", "../served/project.git")
    made.run("git", "remote", "add", "origin", str(tmp_path / "served/project.git"))
    made.run("dvc", "add", "-q", "data/train.csv")
    made.run("dvc", "push", "-q")
    made.run("mlops", "lock")
    made.run("git", "add", "-A")
    made.run("git", "commit", "-q", "-m", "first")
    made.run("git", "push", "-q", "-u", "origin", "main")
    return made


def restricted(document: dict) -> dict:
    """The run as a cluster with arbitrary users and restricted pods would have it."""
    spec = document["spec"]
    spec["taskRunTemplate"] = {
        "podTemplate": {
            "securityContext": {"runAsUser": 12345, "runAsGroup": 0, "runAsNonRoot": True}
        }
    }
    for task in spec["pipelineSpec"]["tasks"]:
        inner = task["taskSpec"]
        inner.setdefault("volumes", []).append({"name": "tmp", "emptyDir": {}})
        inner["stepTemplate"] = {
            "securityContext": {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        }
    return document


def test_a_release_comes_out_of_the_published_image(
    project: Project, published: Published, dvc_remote: Remote, podman: None, tmp_path: Path
):
    lock = yaml.safe_load((project.work / "mlops.lock").read_text())
    (tool,) = (each for each in lock["images"] if each["name"] == "mlops")
    assert f"{tool['ref']}@{tool['digest']}" == published.ref
    document = yaml.safe_load(project.run("mlops", "plan", "--output", "yaml"))
    params = {each["name"]: each["value"] for each in document["spec"]["params"]}
    assert params["tool"] == published.ref
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with http(tmp_path / "served") as server:
        url = server.url(tmp_path / "served/project.git")
        (elsewhere / "run.yaml").write_text(yaml.safe_dump(restricted(document)))
        argv = ["mlops", "runs", "submit", "-f", "run.yaml", "-p", f"repository={url}"]
        argv += ["--runtime", "podman", "-o", "json", "--with-taskruns", "--repo", "."]
        env = {**project.env, "MLOPS_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(
            argv, cwd=elsewhere, env=env, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    (tmp_path / "status.json").write_text(done.stdout)
    run, *tasks = json.loads(done.stdout)["items"]
    status = run["status"]
    results = {each["name"]: each["value"] for each in status["results"]}
    assert results["pinned"] == "true"
    project.run("git", "pull", "-q")
    pins = yaml.safe_load((project.work / "environments/dev/kustomization.yaml").read_text())[
        "images"
    ]
    digest = results["release"].partition("@")[2]
    assert [each["digest"] for each in pins] == [digest]
    record = project.work / f"environments/releases/spam/{digest.removeprefix('sha256:')}.json"
    assert json.loads(record.read_text())["release"] == results["release"]
    steps = {
        task["metadata"]["labels"]["tekton.dev/pipelineTask"]: step
        for task in tasks
        for step in task["status"]["steps"]
    }
    assert set(steps) >= {
        "fetch",
        "data",
        "build",
        "train",
        "validate",
        "push",
        "package",
        "attest",
    }
    for name, step in steps.items():
        assert step["imageID"] == published.ref, name
    trained = [content for content in dvc_remote.held.values() if b'"rows"' in content]
    assert [json.loads(content)["user"] for content in trained] == [12345]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("digest: sha256:", "digest: sha1:", "tool-image.yaml:6: digest: expected"),
        ('version: "', 'version: "9', "its tool-image.yaml names the image of 9"),
        ("apiVersion", "\x00", "tool-image.yaml"),
    ],
)
def test_a_damaged_installation_says_what_to_do(
    installed: Path, tmp_path: Path, before: str, after: str, said: str
):
    (tmp_path / "mlops.yaml").write_text(FILES["mlops.yaml"].format(registry="127.0.0.1:9"))
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (file,) = installed.parent.glob(f"lib/*/site-packages/{PACKAGED}")
    whole = file.read_text()
    assert before in whole
    file.write_text(whole.replace(before, after))
    try:
        done = subprocess.run(
            [installed / "mlops", "lock"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    finally:
        file.write_text(whole)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Install mlops again" in done.stderr
    assert not (tmp_path / "mlops.lock").exists()
