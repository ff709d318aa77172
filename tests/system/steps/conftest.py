"""A small real project, and runs of its generated documents step by step."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host
from mlops.config.lockfile import dump_lock
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.lock import LockedImage, ProjectLock
from mlops.domain.release import ReleaseRecord
from mlops.domain.run import RunSpec
from mlops.domain.source import Commit
from mlops.manifests.pipelinerun import generate

MLOPS_YAML = """\
apiVersion: mlops/v1
kind: Project
name: spam-filter
environments: [dev]
models:
  spam:
    build: {base: host, code: [src]}
    train: {env: {GREETING: hello}}
    artifact: models/spam.txt
    metrics: metrics.json
    gates:
      - {metric: accuracy, min: 0.5}
      - {metric: accuracy, max_regression: 0.2}
    serve: {command: [python, src/train.py]}
"""
DVC_YAML = """\
stages:
  prepare:
    cmd: python src/prepare.py
    deps: [data/train.csv, src/prepare.py]
    outs: [data/prepared.csv]
  train:
    cmd: python src/train.py
    deps: [data/prepared.csv, src/train.py]
    params: [weight]
    outs: [models/spam.txt]
    metrics:
      - metrics.json: {cache: false}
"""
PREPARE = """\
from pathlib import Path
Path("data/prepared.csv").write_text(Path("data/train.csv").read_text().upper())
print("prepared")
"""
TRAIN = """\
import json, os, re
from pathlib import Path
weight = float(re.search("weight: (.*)", Path("params.yaml").read_text())[1])
Path("models").mkdir(exist_ok=True)
Path("models/spam.txt").write_text(Path("data/prepared.csv").read_text() + os.environ["GREETING"])
Path("metrics.json").write_text(json.dumps({"accuracy": weight}))
print("trained")
"""
KUSTOMIZATION = """\
# pins
resources: [../base]
images:
  - name: other
    newTag: v1
"""


def sh(*argv: str, cwd: Path) -> str:
    env = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def store_with_base(
    tmp_path_factory: pytest.TempPathFactory, host_store: Callable[[Path], OciLayout]
) -> tuple[Path, Digest]:
    root = tmp_path_factory.mktemp("registry")
    digest, _ = host.pack(host_store(root), Uv(root))
    return root, digest


@pytest.fixture(scope="session")
def template(
    tmp_path_factory: pytest.TempPathFactory, store_with_base: tuple[Path, Digest]
) -> Path:
    """A project with a bare git remote and a DVC remote that holds its data."""
    root = tmp_path_factory.mktemp("template")
    work = root / "work"
    files = {
        "mlops.yaml": MLOPS_YAML,
        "dvc.yaml": DVC_YAML,
        "params.yaml": "weight: 0.75\n",
        "src/prepare.py": PREPARE,
        "src/train.py": TRAIN,
        "data/train.csv": "a,b\n1,2\n",
        "environments/dev/kustomization.yaml": KUSTOMIZATION,
        ".dvc/config": "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../dvc-store\n",
        ".gitignore": "/.mlops/\n/models/\n/data/prepared.csv\n/data/train.csv\n",
        ".dvcignore": "",
    }
    for name, text in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    base = store_with_base[1]
    images = (
        LockedImage("host", "host", base, base, host.host_platform()),
        LockedImage("mlops", "mlops", Digest("a" * 64), Digest("a" * 64), host.host_platform()),
    )
    (work / "mlops.lock").write_bytes(dump_lock(ProjectLock(images)))
    sh("git", "init", "-q", "-b", "main", cwd=work)
    sh("git", "config", "user.name", "Ana", cwd=work)
    sh("git", "config", "user.email", "ana@example.com", cwd=work)
    sh("dvc", "add", "-q", "data/train.csv", cwd=work)
    sh("dvc", "push", "-q", cwd=work)
    sh("git", "add", "-A", cwd=work)
    sh("git", "commit", "-q", "-m", "first", cwd=work)
    sh("git", "init", "-q", "--bare", "-b", "main", "../remote.git", cwd=work)
    return root


@dataclass
class Play:
    """One copy of the project, and what its runs left."""

    root: Path
    registry: Path
    runs: int = 0

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def remote(self) -> Path:
        return self.root / "remote.git"

    def git(self, *args: str, cwd: Path | None = None) -> str:
        return sh("git", *args, cwd=cwd or self.work)

    def head(self) -> Commit:
        return Commit.parse(self.git("rev-parse", "HEAD"))

    def commit(self, files: dict[str, str | None], push: bool = True) -> Commit:
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink() if text is None else path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        if push:
            self.publish()
        return self.head()

    def publish(self) -> None:
        """Push as a colleague does who rebases on what runs pinned."""
        if "origin" in self.git("remote"):
            self.git("pull", "-q", "--rebase", "origin", "main")
            self.git("push", "-q", "origin", "main")

    def tip(self, path: str, ref: str = "main") -> str:
        return self.git("show", f"{ref}:{path}", cwd=self.remote)

    def record(self, release: str) -> ReleaseRecord:
        model, _, digest = release.partition("@sha256:")
        path = f"environments/releases/{model}/{digest}.json"
        return ReleaseRecord.parse(self.tip(path).encode(), path)

    def run(self, **spec: Any) -> "Run":
        self.runs += 1
        source = spec.pop("source", None) or self.head()
        name = f"spam-{source.sha[:12]}-{self.runs}"
        chosen = RunSpec(
            name=name,
            attempt=self.runs,
            model="spam",
            source=source,
            repository=str(self.work),
            registry=f"oci:{self.registry}",
            tool=ImageRef("mlops", Digest("a" * 64)),
            environment="dev",
            gitops_path="environments",
            gitops_branch="main",
            actor="Ana",
            plan="first release of spam",
            train_env=(("GREETING", "hello"),),
        )
        return Run(self, self.root / "runs" / str(self.runs), replace(chosen, **spec))


@dataclass
class Run:
    """Carries out tasks of the generated document, in this process."""

    play: Play
    root: Path
    spec: RunSpec
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = generate(self.spec)
        for name in ("source", "state", "results", "exchange"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        pipeline = self.document["spec"]["pipelineSpec"]
        self.tasks = {task["name"]: task for task in pipeline["tasks"]}
        self.params = {p["name"]: p["value"] for p in self.document["spec"]["params"]}

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def again(self, **spec: Any) -> "Run":
        """The same files under another document."""
        return Run(self.play, self.root, replace(self.spec, **spec), self.results, self.env)

    def upto(self, last: str) -> "Run":
        for name in self.tasks:
            if name != "train" or self.params["train"] == "true":
                self.step(name)
            if name == last:
                break
        return self

    def step(self, name: str) -> None:
        task = self.tasks[name]
        env = self.environment(name)
        declared = [each["name"] for each in task["taskSpec"].get("results", [])]
        if name == "train":
            with self._sidecar(task["taskSpec"]["sidecars"][0]):
                self._call(name, env)
        else:
            self._call(name, env)
        self.results[name] = {r: (self.root / "results" / r).read_text() for r in declared}

    def environment(self, name: str) -> dict[str, str]:
        """What the step of a task is told."""
        return self._env(name, self.tasks[name]["taskSpec"]["steps"][0]["env"])

    def _call(self, name: str, env: dict[str, str]) -> None:
        here = Path.cwd()
        try:
            import_module(f"mlops.steps.{name}").run({**env, **self.env})
        finally:
            os.chdir(here)

    def _env(self, name: str, pairs: list[dict[str, str]]) -> dict[str, str]:
        given = {p["name"]: self._resolved(p["value"], {}) for p in self.tasks[name]["params"]}
        env = {pair["name"]: self._resolved(pair["value"], given) for pair in pairs}
        if "MLOPS_EXCHANGE" in env:
            env["MLOPS_EXCHANGE"] = str(self.root / "exchange")
        return env

    def _resolved(self, text: str, own: dict[str, str]) -> str:
        def found(match: re.Match[str]) -> str:
            kind, _, rest = match[1].partition(".")
            if kind == "params":
                return own[rest] if own else self.params[rest]
            if kind == "workspaces":
                return str(self.root / rest.removesuffix(".path"))
            if kind == "results":
                return str(self.root / "results" / rest.removesuffix(".path"))
            task, _, result = rest.partition(".results.")
            return self.results[task][result]

        return re.sub(r"\$\(([^)]*)\)", found, text)

    def _sidecar(self, sidecar: dict[str, Any]) -> "Sidecar":
        script = self.root / "sidecar"
        script.write_text(sidecar["script"])
        script.chmod(0o755)
        return Sidecar(script, self._env("train", sidecar["env"]))


@dataclass
class Sidecar:
    script: Path
    env: dict[str, str]

    def __enter__(self) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**self.env, "PATH": path}
        self.process = subprocess.Popen([self.script], env=env, start_new_session=True)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def copied(template: Path, registry: Path, root: Path) -> Play:
    """A copy of a whole project, its remote among it, in a directory of its own."""
    skip = shutil.ignore_patterns("registry", "exchange")
    shutil.copytree(template, root, symlinks=True, ignore=skip)
    shutil.copytree(registry, root / "work/.mlops/registry", copy_function=link_blobs)
    play = Play(root, root / "work/.mlops/registry")
    if "origin" in play.git("remote"):
        play.git("remote", "set-url", "origin", str(play.remote))
    else:
        play.git("remote", "add", "origin", str(play.remote))
        play.git("push", "-q", "-u", "origin", "main")
    return play


def link_blobs(old: str, new: str) -> None:
    """Blobs are never written again, so they may be shared; index.json is."""
    (os.link if "/blobs/" in old else shutil.copy2)(old, new)


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("MLOPS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def play(template: Path, store_with_base: tuple[Path, Digest], tmp_path: Path) -> Play:
    """The project before its first run."""
    return copied(template, store_with_base[0], tmp_path / "play")


@pytest.fixture(scope="session")
def attested(
    template: Path,
    store_with_base: tuple[Path, Digest],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Play, "Run"]:
    """The project after a run that did all but propose; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        patch.setenv("MLOPS_CACHE", str(tmp_path_factory.mktemp("cache")))
        root = tmp_path_factory.mktemp("attested") / "play"
        play = copied(template, store_with_base[0], root)
        return play, play.run().upto("attest")


@pytest.fixture
def run(attested: tuple[Play, "Run"], tmp_path: Path) -> "Run":
    """A run that did all but propose, in a copy of its own; any of its tasks can be repeated."""
    old_play, old = attested
    play = copied(old_play.root, old_play.registry, tmp_path / "play")
    play.runs = old_play.runs
    spec = replace(old.spec, repository=str(play.work), registry=f"oci:{play.registry}")
    return Run(play, play.root / old.root.relative_to(old_play.root), spec, dict(old.results))
