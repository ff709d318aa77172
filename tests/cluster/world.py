"""The world of a project whose runs are pods: git server, DVC remote, package index, registry, namespaces."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import addresses, stock
from tests.cluster.conftest import Cluster
from tests.cluster.layout import Layout
from tests.fakes.remotes import Remote, remote
from tests.fakes.wheels import index
from tests.system.git.servers import HttpServer, http

LOGIN = "bot:hunter2-Zw9x"
DEMO = stock.ROOT / "mlops" / "demo" / "project"
ACCOUNTS = stock.ROOT / "tekton" / "install" / "accounts.yaml"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class Typed:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


def installed(directory: Path) -> Path:
    """A directory for PYTHONPATH with mlops as a release has it: it names the tool image, which is
    published to the cluster's registry here."""
    (wheel,) = stock.WHEEL.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    script = [sys.executable, str(stock.ROOT / "scripts" / "tool_image.py"), "publish"]
    record = directory / "mlops" / "_data" / "tool-image.yaml"
    # a version is published once, and a cluster may outlive many states of a checkout
    named = hashlib.sha256(wheel.read_bytes()).hexdigest()[:12]
    argv = [*script, "--store", str(stock.STORE), "--to", f"{addresses.REGISTRY}/{named}/mlops"]
    env = {**os.environ, "MLOPS_REGISTRY_HTTP": addresses.REGISTRY}
    subprocess.run([*argv, "--record", str(record)], env=env, check=True, capture_output=True)
    return directory


@dataclass
class Project:
    """A clone of the demo's project, as its owner has it, and the namespaces that it uses."""

    layout: Layout
    root: Path  # a directory that holds the clone and its owner's settings
    name: str
    env: Mapping[str, str]
    git_server: HttpServer
    dvc: Remote
    index: str
    spaces: list[str] = field(default_factory=list)

    @property
    def work(self) -> Path:
        return self.root / self.name

    @property
    def namespace(self) -> str:
        """Where its runs are."""
        return self.name

    @property
    def cluster(self) -> Cluster:
        """kubectl in that namespace."""
        return Cluster(self.layout, self.namespace)

    def typed(self, *argv: str, timeout: float = 540.0, **env: str) -> Typed:
        """Type a command in the clone, and wait for its end."""
        found = subprocess.run(
            argv,
            cwd=self.work,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Typed(found.returncode, found.stdout, found.stderr)

    def done(self, *argv: str, code: int = 0, **env: str) -> str:
        """What a command prints, which must exit with `code`."""
        found = self.typed(*argv, **env)
        assert found.code == code, f"{argv}: exit {found.code}\n{found.out}{found.err}"
        return found.out

    def mlops(self, *argv: str, code: int = 0, **env: str) -> str:
        return self.done(sys.executable, "-m", "mlops", *argv, code=code, **env)

    def git(self, *argv: str) -> str:
        return self.done("git", *argv)

    def commit(self, message: str) -> None:
        """Commit all that changed, and push it."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        self.git("pull", "-q", "--rebase")
        self.git("push", "-q")

    def space(self, name: str) -> Cluster:
        """A namespace that is removed in the end, whoever makes it."""
        self.spaces.append(name)
        return Cluster(self.layout, name)

    def create_namespace(self, name: str) -> Cluster:
        made = self.space(name)
        meta = {"name": name, "labels": RESTRICTED}
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        made.done("create", "-f", "-", document=document)
        made.done("wait", "--for=create", "--timeout=60s", "serviceaccount/default")
        return made

    def install(self, **settings: str) -> None:
        """What runs need in the project's own namespace: accounts, credentials, settings."""
        made = self.create_namespace(self.namespace)
        for name in ("mlops-git", "mlops-git-push"):
            user, _, password = LOGIN.partition(":")
            server = f"http://{self.git_server.host}:{self.git_server.port}"
            made.done(
                "create",
                "-f",
                "-",
                document={
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": name, "annotations": {"tekton.dev/git-0": server}},
                    "type": "kubernetes.io/basic-auth",
                    "stringData": {"username": user, "password": password},
                },
            )
        data = {
            "UV_DEFAULT_INDEX": f"http://{self.index}",
            "MLOPS_REGISTRY_HTTP": addresses.REGISTRY,
            **settings,
        }
        meta = {"name": "mlops-settings"}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        made.done("create", "-f", "-", document=document)
        made.done("apply", "-f", str(ACCOUNTS))

    def configure(self, **changes: Any) -> None:
        """Change mlops.yaml; a mapping changes what is below its key."""
        path = self.work / "mlops.yaml"
        found = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(_merged(found, changes), sort_keys=False))

    def answer(self, *argv: str) -> Any:
        """What a command says with `--output json`."""
        return json.loads(self.mlops(*argv, "--output", "json"))


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    return new


@contextlib.contextmanager
def project(layout: Layout, root: Path, tool: Path) -> Iterator[Project]:
    """The demo's project, pushed to a git server that asks who one is; nothing of mlops in it yet."""
    name = f"wine-{uuid.uuid4().hex[:6]}"
    served = root / "served"
    shutil.copytree(DEMO, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (
        http(served, LOGIN, host=addresses.HOST) as server,
        remote(addresses.HOST) as dvc,
        index(stock.PACKAGES, host=addresses.HOST) as (packages, _),
    ):
        env = _environment(root, tool) | {"UV_DEFAULT_INDEX": f"http://{packages}"}
        made = Project(layout, root, name, env, server, dvc, packages)
        url = server.url(served / f"{name}.git", LOGIN)
        made.git("init", "-q", "--bare", "-b", "main", str(served / f"{name}.git"))
        made.git("init", "-q", "-b", "main")
        made.git("remote", "add", "origin", url)
        made.done("dvc", "init", "-q")
        made.done("dvc", "remote", "add", "-q", "--default", "store", dvc.url)
        made.done("dvc", "add", "-q", "data/labels.csv")
        made.done("dvc", "push", "-q")
        made.git("add", "-A")
        made.git("commit", "-q", "-m", "Tell wines apart")
        made.git("push", "-q", "-u", "origin", "main")
        try:
            yield made
        finally:
            for space in made.spaces:
                Cluster(layout, space).done(
                    "delete", "namespace", space, "--wait=false", "--ignore-not-found"
                )


def _environment(root: Path, tool: Path) -> dict[str, str]:
    dropped = ("GIT_", "MLOPS_", "DVC_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    home = root / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.com\n")
    return env | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
        "PYTHONPATH": str(tool),
        "KUBECONFIG": os.environ["KUBECONFIG"],
        "MLOPS_REGISTRY_HTTP": addresses.REGISTRY,
        "DVC_NO_ANALYTICS": "1",
        "UV_CACHE_DIR": str(root / "uv"),
    }
