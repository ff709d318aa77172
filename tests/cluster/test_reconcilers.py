"""Argo CD and Flux: the examples against their own definitions, and who is told of a promotion and of a rollback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops.domain.release import record_path
from mlops.manifests import kustomization
from tests.cluster import reconcilers
from tests.cluster.conftest import Cluster
from tests.cluster.layout import Layout
from tests.fakes.estate import digest, overlays, record

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = (
    "argo-cd/application.yaml",
    "argo-cd/applicationset.yaml",
    "flux/environments.yaml",
)
URL = "https://git.example.com/ml/spam-filter.git"
REFRESH, REQUESTED = "argocd.argoproj.io/refresh", "reconcile.fluxcd.io/requestedAt"
KINDS = ("application", "gitrepository", "kustomization.kustomize.toolkit.fluxcd.io")
NAMESPACES = ("argocd", "flux-system")


class Project:
    """A clone with releases A and B, pushed to a remote; the URL that pods know is `URL`."""

    def __init__(self, root: Path, namespace: str) -> None:
        self.clone = root / "clone"
        self.clone.mkdir()
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", root / "remote"], check=True)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", "../remote")
        project = {
            "apiVersion": "mlops/v1",
            "kind": "Project",
            "name": "demo",
            "models": {"spam": {"paths": ["**"]}},
            "cluster": {"namespace": namespace, "repository": URL},
        }
        base = {"environments/base/kustomization.yaml": b"resources: []\n"}
        self.write({"mlops.yaml": yaml.safe_dump(project).encode(), **base, **overlays()})
        head = self.git("rev-parse", "HEAD")
        for name in "AB":
            made = record(name, source={"repository": "demo", "commit": head})
            self.write({record_path("environments", "spam", digest(name)): made.dump()})
        for name in "AB":
            for environment in ("dev", "staging") if name == "A" else ("dev",):
                path = f"environments/{environment}/kustomization.yaml"
                text = (self.clone / path).read_bytes()
                self.write({path: kustomization.with_pin(text, "spam", digest(name), path)})
        self.git("push", "-q", "-u", "origin", "main")

    def git(self, *arguments: str) -> str:
        name = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        done = subprocess.run(
            ["git", *name, *arguments], cwd=self.clone, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, files: dict[str, bytes]) -> None:
        for path, content in files.items():
            (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
            (self.clone / path).write_bytes(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")

    def mlops(self, *arguments: str, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mlops", *arguments],
            cwd=self.clone,
            env={**os.environ, "MLOPS_ACTOR": "Ada", "KUBECONFIG": str(kubeconfig)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def promote(self, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
        return self.mlops("promote", "spam@dev", "--to", "staging", kubeconfig=kubeconfig)


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Project(tmp_path, cluster.namespace)


@pytest.fixture(scope="module")
def definitions(layout: Layout) -> Iterator[Cluster]:
    """The cluster with the definitions of Argo CD and Flux, as long as this module's tests want them."""
    made = Cluster(layout, "default")
    for path in reconcilers.definitions():
        made.done("apply", "--server-side", "-f", str(path))
    for name in reconcilers.names():
        made.done("wait", "--for=condition=Established", "--timeout=60s", f"crd/{name}")
    for name in NAMESPACES:
        made.done("create", "namespace", name)
    yield made
    made.done("delete", "crd", *reconcilers.names())
    made.done("delete", "namespace", *NAMESPACES, "--wait=false")


@pytest.fixture
def installed(definitions: Cluster) -> Iterator[Cluster]:
    """The same, with nothing of them in it."""
    yield definitions
    for name in NAMESPACES:
        definitions.done("delete", ",".join(reconcilers.names()), "--all", "-n", name)


def documents() -> list[dict[str, Any]]:
    return [each for name in FILES for each in yaml.safe_load_all((EXAMPLES / name).read_text())]


def create(cluster: Cluster, document: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    there = Cluster(cluster.layout, document["metadata"]["namespace"])
    return there.kubectl("create", "--validate=strict", "-f", "-", document=document)


def changed(document: dict[str, Any], name: str, **spec: Any) -> dict[str, Any]:
    metadata = {**document["metadata"], "name": name}
    return {**document, "metadata": metadata, "spec": {**document["spec"], **spec}}


def marks(cluster: Cluster) -> dict[str, str]:
    """Object → what it was told, of all that were told something."""
    found = {}
    for kind in KINDS:
        for each in json.loads(cluster.done("get", kind, "-A", "-o", "json"))["items"]:
            notes = each["metadata"].get("annotations") or {}
            for key in (REFRESH, REQUESTED):
                if key in notes:
                    found[f"{each['kind']} {each['metadata']['name']}"] = notes[key]
    return found


def test_where_neither_is_installed_nothing_is_said(project: Project, cluster: Cluster) -> None:
    assert cluster.kubectl("get", "crd", "applications.argoproj.io").returncode != 0

    said = project.promote(cluster.layout.kubeconfig)

    assert said.returncode == 0
    assert "reconcile" not in said.stderr


@pytest.mark.parametrize("name", FILES)
def test_the_examples_are_what_their_definitions_say(installed: Cluster, name: str) -> None:
    for document in yaml.safe_load_all((EXAMPLES / name).read_text()):
        misspelt = {**document, "spec": {**document["spec"], "intervall": "1m"}}
        assert "unknown field" in create(installed, misspelt).stderr
        made = create(installed, document)
        assert made.returncode == 0, made.stderr
        assert made.stderr == ""


def test_the_set_gives_the_applications_of_the_other_example(installed: Cluster) -> None:
    one, several = documents()[:2]
    text = json.dumps(several["spec"]["template"]).replace("{{.path.basename}}", "dev")
    made = json.loads(text.replace("{{.path.path}}", "environments/dev"))

    assert made["spec"] == one["spec"]
    assert made["metadata"]["name"] == one["metadata"]["name"]
    assert several["spec"]["generators"][0]["git"]["files"] == [
        {"path": "environments/*/environment.yaml"}
    ]


def test_who_follows_an_environment_is_told_of_it_and_nobody_else(
    project: Project, installed: Cluster
) -> None:
    one, _, repository, _, staging, _ = documents()
    source = {**one["spec"]["source"], "path": "environments/staging"}
    several = {key: value for key, value in one["spec"].items() if key != "source"}
    for document in (
        *documents(),
        changed(one, "ours", source=source),
        changed(one, "by-ssh", source={**source, "repoURL": "git@git.example.com:ml/spam-filter"}),
        {**changed(one, "several"), "spec": {**several, "sources": [source]}},
        changed(one, "other-branch", source={**source, "targetRevision": "next"}),
        changed(one, "other-repository", source={**source, "repoURL": f"{URL}x"}),
        changed(repository, "at-a-tag", ref={"tag": "v1"}),
        changed(repository, "still", suspend=True),
        changed(staging, "of-a-tag", sourceRef={"kind": "GitRepository", "name": "at-a-tag"}),
        changed(staging, "of-none", sourceRef={"kind": "OCIRepository", "name": "spam-filter"}),
        changed(staging, "still", suspend=True),
    ):
        made = create(installed, document)
        assert made.returncode == 0, made.stderr

    said = project.promote(installed.layout.kubeconfig)

    first = marks(installed)
    assert said.returncode == 0, said.stderr
    assert set(first) == {
        "Application ours",
        "Application by-ssh",
        "Application several",
        "GitRepository spam-filter",
        "Kustomization spam-filter-staging",
    }
    assert {first[each] for each in first if each.startswith("Application")} == {"normal"}
    assert "told Kustomization flux-system/spam-filter-staging to reconcile" in said.stderr

    back = project.mlops(
        *("rollback", "staging", "--reason", "nonsense", "--yes", "--skip-preflight"),
        kubeconfig=installed.layout.kubeconfig,
    )

    assert back.returncode == 0, back.stderr
    second = marks(installed)
    assert set(second) == set(first)
    for each in ("GitRepository spam-filter", "Kustomization spam-filter-staging"):
        assert second[each] > first[each]


def bearer(cluster: Cluster, namespace: str, directory: Path) -> Path:
    """The kubeconfig of an account that may do nothing."""
    cluster.done("create", "serviceaccount", "ada", "-n", namespace)
    token = cluster.done("create", "token", "ada", "-n", namespace).strip()
    found = yaml.safe_load(cluster.layout.kubeconfig.read_text())
    found["users"][0]["user"] = {"token": token}
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(found))
    return path


def test_who_may_not_tell_them_promotes_all_the_same(
    project: Project, installed: Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    said = project.promote(bearer(installed, cluster.namespace, tmp_path))

    assert said.returncode == 0, said.stderr
    assert said.stderr.count("not told to reconcile") == 2
    assert "forbidden" in said.stderr


def test_who_may_tell_those_of_one_namespace_tells_these(
    project: Project, installed: Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    one = documents()[0]
    source = {**one["spec"]["source"], "path": "environments/staging"}
    made = create(installed, changed(one, "ours", source=source))
    assert made.returncode == 0, made.stderr
    kubeconfig = bearer(installed, cluster.namespace, tmp_path)
    verbs = "--verb=get,list,patch"
    about = ("--resource=applications.argoproj.io", "-n", "argocd")
    installed.done("create", "role", "teller", verbs, *about)
    account = f"--serviceaccount={cluster.namespace}:ada"
    installed.done("create", "rolebinding", "teller", "--role=teller", account, "-n", "argocd")

    said = project.promote(kubeconfig)

    assert said.returncode == 0, said.stderr
    assert "told Application argocd/ours to reconcile" in said.stderr
    assert marks(installed) == {"Application ours": "normal"}


def test_a_cluster_that_never_answers_keeps_nobody_waiting(
    project: Project, cluster: Cluster, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = yaml.safe_load(cluster.layout.kubeconfig.read_text())
        found["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{silent.getsockname()[1]}"
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(found))

        said = project.promote(path)  # ended by its own time limit where it waited

    assert said.returncode == 0, said.stderr
    assert "nobody was told to reconcile" in said.stderr
