"""A project with one environment, brought to a namespace by `mlops deploy`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cluster.conftest import Namespace
from tests.cluster.typed import Typed, mlops

PROJECT = """\
apiVersion: mlops/v1
kind: Project
name: shop
registry: 10.244.0.1:5000
environments: [dev]
branches: [main]
models: {plain: {}}
"""
BASE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  progressDeadlineSeconds: 15
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: server, image: plain, command: [sleep, "1000"]}]
"""
MORE = """\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
"""


class Shop:
    """A project with one environment, whose pin is written by hand."""

    def __init__(self, root: Path, user: Namespace) -> None:
        self.root = root
        self.user = user
        (root / "mlops.yaml").write_text(PROJECT)
        self.git("init", "-q", "-b", "main")
        self.write(BASE + MORE)

    def git(self, *arguments: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *name, *arguments], cwd=self.root, check=True, capture_output=True)

    def tip(self) -> str:
        head = ("git", "-C", str(self.root), "rev-parse", "HEAD")
        return subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, resources: str, digest: str = "") -> None:
        home = self.root / "environments" / "dev"
        home.mkdir(parents=True, exist_ok=True)
        (home / "web.yaml").write_text(resources)
        if digest:
            self.digest = digest
        pin = getattr(self, "digest", "")
        image = (
            f"  - name: plain\n    newName: 10.244.0.1:5000/plain\n    digest: {pin}\n"
            if pin
            else ""
        )
        (home / "kustomization.yaml").write_text(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
            f"namespace: {self.user.name}\nresources: [web.yaml]\n"
            + (f"images:\n{image}" if image else "")
        )
        (home / "environment.yaml").write_text("apiVersion: mlops/v1\nkind: Environment\n")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")

    def deploying(self, *more: str) -> subprocess.Popen[str]:
        """A deployment that goes on beside the test, which ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "mlops", "deploy", "dev", "--repo", str(self.root), *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def deploy(self, *more: str) -> Typed:
        return mlops("deploy", "dev", "--repo", str(self.root), "--timeout", "60s", *more)


def digest(plain: str) -> str:
    """The digest of an image in the cluster's registry."""
    inspect = ["skopeo", "inspect", "--tls-verify=false", "--format={{.Digest}}"]
    said = subprocess.run(
        [*inspect, f"docker://{plain}"], check=True, capture_output=True, text=True
    )
    return said.stdout.strip()
