"""`mlops doctor` of a real cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import installing
from tests.cluster.conftest import Cluster, Namespace
from tests.cluster.installing import Installed
from tests.cluster.layout import Layout
from tests.cluster.typed import mlops
from tests.system.git.servers import http

OURS = ("cluster", "Tekton", "Tekton's flags", "namespace", "rights", "accounts", "secrets")
OURS += ("settings", "storage", "mlops watch")
SECRET = "hunter2-Zw9x"
Asked = Callable[..., dict[str, list[dict[str, Any]]]]


def project(namespace: str, **more: Any) -> str:
    model = {"artifact": "m.pkl", "train": {"command": ["true"]}}
    document = {"apiVersion": "mlops/v1", "kind": "Project", "name": "shop", "executor": "tekton"}
    document |= {"registry": "registry.example.org/ml", "models": {"shop": model}}
    document |= {"cluster": {"namespace": namespace, "repository": "https://git.example.org/shop"}}
    return yaml.safe_dump(document | more)


@pytest.fixture
def asked(here: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What doctor says, by subject, in a project whose runs are in a namespace."""
    subprocess.run(["git", "init", "-q"], check=True)
    monkeypatch.setenv("KUBECONFIG", str(layout.kubeconfig))
    for name in ("MLOPS_REGISTRY_HTTP", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX"):
        monkeypatch.delenv(name, raising=False)

    def asked(namespace: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
        (here / "mlops.yaml").write_text(project(namespace, **more))
        said = mlops("doctor", "--output", "json")
        assert said.code in (0, 1), said.err
        assert SECRET not in said.out + said.err
        found: dict[str, list[dict[str, Any]]] = {}
        for each in json.loads(said.out):
            if each["subject"] in OURS:
                found.setdefault(each["subject"], []).append(each)
        return found

    return asked


@pytest.fixture
def installed(layout: Layout, tmp_path: Path) -> Iterator[Installed]:
    image = json.loads(layout.images.read_text())["busybox"]
    found = installing.write(layout, tmp_path / "install", image, "https://git.example.org/shop")
    found.apply()
    watcher(found, command=["sh", "-c", "sleep 1000"])  # the image has no mlops
    found.cluster.done("rollout", "status", "deployment/mlops-watch", "--timeout=120s")
    yield found
    found.remove()


def watcher(found: Installed, **container: Any) -> None:
    """Change the watcher's container, and leave out the one that clones."""
    spec = {"initContainers": None, "containers": [{"name": "watch", **container}]}
    patch = json.dumps({"spec": {"template": {"spec": spec}}})
    found.cluster.done("patch", "deployment", "mlops-watch", "-p", patch)


def wrong(found: dict[str, list[dict[str, Any]]]) -> list[tuple[str, str, bool]]:
    return [
        (each["subject"], each["said"], each["needed"])
        for some in found.values()
        for each in some
        if not each["fine"] and each["subject"] != "secrets"
    ]


def test_a_cluster_with_what_runs_need_is_in_order(asked: Asked, installed: Installed) -> None:
    found = asked(installed.namespace)
    assert wrong(found) == []
    assert set(found) == set(OURS) - {"Tekton's flags", "settings"}
    assert "Kubernetes v1.36" in found["cluster"][0]["said"]
    assert found["Tekton"][0]["said"] == "Tekton Pipelines devel"


def told_of_the_watcher(asked: Asked, installed: Installed, told: str) -> dict[str, Any]:
    """What doctor says of the watcher, once it says so."""
    end = time.monotonic() + 120
    while told not in (said := asked(installed.namespace)["mlops watch"][0])["said"]:
        assert time.monotonic() < end, said
    assert not said["fine"]
    return said


def test_a_watcher_that_is_scaled_away_is_a_note(asked: Asked, installed: Installed) -> None:
    installed.cluster.done("scale", "deployment", "mlops-watch", "--replicas=0")
    said = told_of_the_watcher(asked, installed, "has 0 replicas: no push begins a run")
    assert not said["needed"]
    command = said["remedy"].partition(",")[0].split()
    assert installed.cluster.kubectl(*command[1:]).returncode == 0
    assert installed.cluster.get("deployment", "mlops-watch")["spec"]["replicas"] == 1


def test_a_watcher_whose_image_is_not_there_is_named(asked: Asked, installed: Installed) -> None:
    watcher(installed, image=f"10.244.0.1:5000/none@sha256:{'1' * 64}")
    said = told_of_the_watcher(asked, installed, "ErrImagePull")
    assert said["said"].startswith("0 of 1 replicas available, no push begins a run: ErrImagePull")
    assert "not found" in said["said"]
    assert said["needed"]
    assert "none@sha256" in installed.cluster.done(*said["remedy"].split()[1:])


def test_a_watcher_that_ends_is_told_with_what_it_said_last(
    asked: Asked, installed: Installed
) -> None:
    watcher(installed, command=["sh", "-c", "echo fatal: no login; exit 128"])
    said = told_of_the_watcher(asked, installed, "exit code 128: fatal: no login")
    assert said["needed"]
    assert "fatal: no login" in installed.cluster.done(*said["remedy"].split()[1:])


def test_a_namespace_that_is_not_there_is_mended_by_what_is_said(
    asked: Asked, cluster: Cluster
) -> None:
    name = f"{cluster.namespace}-new"
    first = asked(name)
    assert wrong(first) == [("namespace", f"the cluster has no namespace {name}", True)]
    assert first["namespace"][0]["remedy"].startswith("mlops init --yes && kubectl apply")

    typed(first["namespace"][0]["remedy"])

    after = asked(name)
    assert after["namespace"][0]["fine"]
    assert after["accounts"][0]["fine"]
    cluster.done("delete", "namespace", name, "--wait=false")
    (again,) = (each for each in asked(f"{name}er")["namespace"])
    assert again["remedy"].startswith(f"write cluster: {{namespace: {name}}}, for which tekton/")


def typed(command: str) -> None:
    """Type what doctor says, in a shell."""
    mine = command.replace("mlops init", f"{sys.executable} -m mlops init")
    done = subprocess.run(["sh", "-ec", mine], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_login_that_git_asks_for_is_needed_until_tasks_get_it(
    asked: Asked, installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "login").write_text(SECRET)
    with http(tmp_path, login=f"ada:{SECRET}") as server:
        url = server.url(tmp_path / "shop.git")
        place = {"namespace": installed.namespace, "repository": url}

        def lacking() -> list[dict[str, Any]]:
            found = asked(installed.namespace, cluster=place)["secrets"]
            return [each for each in found if each["needed"] and not each["fine"]]

        first = lacking()
        assert [each["said"].partition(":")[0] for each in first] == [
            *("no mlops-watch-git", "no mlops-git", "no mlops-git-push")
        ]
        for each in first:
            assert f"and {url} asks for one" in each["said"] or "mlops watch" in each["said"]
            typed(each["remedy"].replace("=FILE", f"={tmp_path / 'login'}"))
        assert lacking() == []
        installed.cluster.done("annotate", "secret", "mlops-git", "tekton.dev/git-0-")
        (without,) = lacking()
        assert "has no annotation tekton.dev/git-… for http" in without["said"]
        typed(without["remedy"])
        assert lacking() == []
        unlisted = json.dumps({"secrets": [{"name": "other"}]})
        patch = ("patch", "serviceaccount", "mlops-fetch", "--type=merge", "-p", unlisted)
        installed.cluster.done(*patch)
        (unlisted,) = lacking()
        assert "the account mlops-fetch does not list it" in unlisted["said"]
        assert server.asked
        assert {login for _, login in server.asked} == {""}


def test_a_git_server_that_lets_everybody_in_and_one_that_cannot_be_asked_are_not_refused(
    asked: Asked, installed: Installed, tmp_path: Path
) -> None:
    bare = tmp_path / "shop.git"
    subprocess.run(["git", "init", "-q", "--bare", bare], check=True)
    subprocess.run(["git", "-C", bare, "config", "http.receivepack", "true"], check=True)
    with http(tmp_path) as server:
        place = {"namespace": installed.namespace, "repository": server.url(bare)}
        found = asked(installed.namespace, cluster=place)["secrets"]
    assert [each["said"] for each in found if each["fine"]] == [
        f"{place['repository']} asks for no login (mlops-git)",
        f"{place['repository']} asks for no login (mlops-git-push)",
    ]
    found = asked(installed.namespace)["secrets"]
    assert not any(each["needed"] for each in found)
    assert any("cannot be known from here" in each["said"] for each in found)


def test_a_registry_without_tls_must_be_told_to_pods(
    asked: Asked, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = {"registry": "10.244.0.1:5000/ml"}
    (unheard,) = (
        each["said"]
        for each in asked(installed.namespace, **registry)["secrets"]
        if "mlops-registry" in each["said"]
    )
    assert unheard.endswith(
        "cannot be known from here. "
        "If it speaks plain HTTP, say so: export MLOPS_REGISTRY_HTTP=10.244.0.1:5000"
    )
    monkeypatch.setenv("MLOPS_REGISTRY_HTTP", "10.244.0.1:5000")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://packages.example.com/simple")
    found = asked(installed.namespace, **registry)
    ((subject, said, needed),) = wrong(found)
    assert (subject, needed) == ("settings", True)
    assert said.startswith("the registry 10.244.0.1:5000 speaks plain HTTP, UV_DEFAULT_INDEX here")
    open_ = "10.244.0.1:5000/ml asks for no login (mlops-registry)"
    assert open_ in [each["said"] for each in found["secrets"]]
    typed(found["settings"][0]["remedy"])
    assert wrong(asked(installed.namespace, **registry)) == []


def test_values_of_secrets_that_kubectl_keeps_beside_them_are_not_shown(
    asked: Asked, installed: Installed
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mlops-git"}}
    secret |= {"type": "kubernetes.io/basic-auth"}
    secret["stringData"] = {"username": "ada", "password": SECRET}
    installed.cluster.done("apply", "-f", "-", document=secret)
    about = installed.cluster.get("secret", "mlops-git")["metadata"]["annotations"]
    assert SECRET in json.dumps(about)
    found = asked(installed.namespace)["secrets"]  # which holds that it is not in the answer
    assert any("mlops-git has no annotation" in each["said"] for each in found)


def test_a_bare_namespace_lacks_profile_and_accounts(asked: Asked, namespace: Namespace) -> None:
    found = wrong(asked(namespace.name))
    assert [(subject, needed) for subject, _, needed in found] == [
        ("namespace", False),
        ("accounts", True),
    ]
    assert "mlops-train" in found[1][1]


def test_secrets_are_named_and_never_read(asked: Asked, installed: Installed) -> None:
    before = asked(installed.namespace)["secrets"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mlops-dvc"}}
    secret["stringData"] = {"AWS_SECRET_ACCESS_KEY": SECRET}
    installed.cluster.done("create", "-f", "-", document=secret)
    after = asked(installed.namespace)["secrets"]
    assert {each["said"] for each in after} - {each["said"] for each in before} == {
        "there: mlops-dvc"
    }
    assert len(after) == len(before)


def test_a_right_too_many_is_found(asked: Asked, installed: Installed) -> None:
    who = f"--serviceaccount={installed.namespace}:mlops-train"
    installed.cluster.done("create", "rolebinding", "too-much", "--clusterrole=edit", who)
    ((subject, said, needed),) = wrong(asked(installed.namespace))
    assert (subject, needed) == ("accounts", False)
    assert (
        "mlops-train may get secrets; create pods; create pipelineruns.tekton.dev, and needs"
        in said
    )


def test_who_has_no_rights_hears_what_they_may_not_see(
    asked: Asked, installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = installed.cluster.done("create", "token", "mlops-train").strip()
    document = yaml.safe_load(installed.cluster.layout.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    with monkeypatch.context() as other:
        other.setenv("KUBECONFIG", str(path))
        found = asked(installed.namespace)
    (said,) = (said for _, said, needed in wrong(found) if needed)
    assert said.startswith("you may not create, get, list, watch, patch pipelineruns.tekton.dev; ")
    hidden = [said for _, said, _ in wrong(found) if "you may not see" in said]
    assert len(hidden) >= 3


def test_a_storage_class_that_is_not_there_is_named(asked: Asked, installed: Installed) -> None:
    model = {"artifact": "m.pkl", "train": {"command": ["true"]}}
    model["workspace"] = {"storageClass": "gone"}
    ((subject, said, needed),) = wrong(asked(installed.namespace, models={"shop": model}))
    assert (subject, needed) == ("storage", True)
    assert "gone" in said
    assert "directory" in said


@pytest.mark.parametrize(
    ("server", "told"),
    [("https://127.0.0.1:9", "cannot be reached"), ("", "names no server")],
)
def test_a_cluster_that_does_not_answer_is_a_finding(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, told: str
) -> None:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(path))
    ((subject, said, needed),) = wrong(asked("shop"))
    assert (subject, needed) == ("cluster", True)
    assert told in said


def test_a_registry_that_pods_cannot_reach_is_a_finding(asked: Asked, installed: Installed) -> None:
    ((subject, said, needed),) = wrong(asked(installed.namespace, registry="oci:.mlops/registry"))
    assert (subject, needed) == ("cluster", True)
    assert "pods cannot reach oci:.mlops/registry" in said


def test_a_project_without_a_cluster_asks_none(asked: Asked) -> None:
    assert asked("shop", executor="local", cluster={}) == {}
