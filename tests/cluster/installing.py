"""tekton/install of a project of its own, applied as its README says."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from mlops import resources
from mlops.manifests import install
from tests.cluster.conftest import Cluster
from tests.cluster.layout import Layout


@dataclass(frozen=True)
class Installed:
    """The files, and kubectl in the namespace that they are for."""

    root: Path
    cluster: Cluster

    @property
    def namespace(self) -> str:
        return self.cluster.namespace

    def account(self, name: str) -> str:
        """A service account of the namespace, as the API calls it."""
        return f"system:serviceaccount:{self.namespace}:{name}"

    def apply(self, part: str = "", *more: str) -> str:
        """`kubectl apply --server-side -k`, as users type it; what it prints, warnings too."""
        argv = ("apply", "--server-side", *more, "-k", str(self.root / install.PATH / part))
        done = self.cluster.kubectl(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def remove(self) -> None:
        """The namespace with all that is in it, and what the listener has outside of it."""
        name = f"mlops-listener-{self.namespace}"
        for kind in ("clusterrolebinding", "clusterrole"):
            self.cluster.done("delete", kind, name, "--ignore-not-found")
        self.cluster.done("delete", "namespace", self.namespace, "--wait=false")


def write(layout: Layout, root: Path, image: str, url: str, namespace: str = "") -> Installed:
    """What `mlops init` writes for a project whose repository is at `url`."""
    namespace = namespace or f"inst-{uuid.uuid4().hex[:6]}"
    source = resources.path(install.PATH)
    templates = {str(path.relative_to(source)): path.read_text() for path in source.rglob("*.yaml")}
    about = install.Installation("shop", namespace, url, ("main", "rel/*"), image)
    for name, text in install.files(templates, about).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Installed(root, Cluster(layout, namespace))
