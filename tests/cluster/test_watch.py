"""`mlops watch` in a pod: with the pod's own account, under restricted Pod Security, and without a memory of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import addresses, triggers, world
from tests.cluster.installing import Installed
from tests.cluster.layout import Layout
from tests.cluster.pushes import github_push, listen, signed
from tests.cluster.world import LOGIN, Project

CHOSEN = ("-l", "app.kubernetes.io/name=mlops-watch")
ANYONE = 1000690123  # a user that no image knows


@pytest.fixture
def project(
    layout: Layout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    tool = world.installed(tmp_path_factory.mktemp("installed"))
    with world.project(layout, tmp_path, tool) as made:
        made.install()
        made.mlops("init", "--yes")
        made.configure(
            registry=f"{addresses.REGISTRY}/{made.name}",
            # people's kubeconfig has this context; the pod has none
            cluster={"namespace": made.namespace, "context": "cluster"},
            models={"wine": {"gates": [{"metric": "accuracy", "min": 0.9}]}},
        )
        made.mlops("lock")
        made.commit("Add mlops")
        yield made


def login(project: Project) -> None:
    """The Secret of the watcher, as the how-to makes it."""
    user, _, password = LOGIN.partition(":")
    server = f"http://{project.git_server.host}:{project.git_server.port}"
    helper = '"!cat ~/.config/git/login; :"'
    content = {
        "config": f'[credential "{server}"]\n\thelper = {helper}\n',
        "login": f"username={user}\npassword={password}\n",
    }
    meta = {"name": "mlops-watch-git"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": content}
    project.cluster.done("create", "-f", "-", document=secret)


def as_anyone(path: Path) -> None:
    """Let the watcher run as a number that the cluster gives."""
    document = yaml.safe_load(path.read_text())
    change = [
        {"op": "replace", "path": f"/spec/template/spec/securityContext/{key}", "value": ANYONE}
        for key in ("runAsUser", "fsGroup")
    ]
    change += [{"op": "remove", "path": "/spec/template/spec/securityContext/runAsGroup"}]
    target = {"kind": "Deployment", "name": "mlops-watch"}
    document["patches"] = [{"target": target, "patch": json.dumps(change)}]
    path.write_text(yaml.safe_dump(document))


def settled(project: Project) -> dict[str, Any]:
    """The only claim of the project, once it has its outcome."""
    end = time.monotonic() + 420
    while True:
        listed = project.git("ls-remote", "origin", "refs/mlops/runs/*").split()
        if listed:
            project.git("fetch", "-q", "origin", "+refs/mlops/runs/*:refs/mlops/runs/*")
            found = [json.loads(project.git("cat-file", "blob", ref)) for ref in listed[1::2]]
            if all(each["state"] == "outcome" for each in found):
                (claim,) = found
                return claim
        log = project.cluster.kubectl("logs", "deployment/mlops-watch", "--all-containers")
        assert time.monotonic() < end, log.stdout + log.stderr
        time.sleep(0.5)


@pytest.mark.timeout(900)
def test_the_watcher_makes_one_run_and_finds_it_again_after_its_pod_is_gone(
    project: Project,
) -> None:
    cluster = project.cluster
    login(project)
    as_anyone(project.work / "tekton" / "install" / "kustomization.yaml")
    cluster.done("apply", "--server-side", "-k", str(project.work / "tekton" / "install"))
    cluster.done("wait", "--for=create", "--timeout=180s", "pipelinerun", "-l", "dev.mlops/model")
    (run,) = cluster.done("get", "pipelineruns", "-o", "name").split()
    cluster.done("wait", "--for=jsonpath={.status.startTime}", "--timeout=60s", run)

    (before,) = cluster.done("get", "pods", *CHOSEN, "-o", "name").split()
    spec = json.loads(cluster.done("get", before, "-o", "json"))["spec"]
    assert spec["securityContext"]["runAsUser"] == ANYONE
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    cluster.done("delete", before)
    still = json.loads(cluster.done("get", run, "-o", "json"))
    assert "spec" in still
    assert still["spec"].get("status") is None

    claim = settled(project)
    assert claim["outcome"] == "succeeded", claim
    assert claim["actor"] == "mlops-watch"
    assert f"pipelinerun.tekton.dev/{claim['run']}" == run
    assert cluster.done("get", "pipelineruns", "-o", "name").split() == [run]
    (after,) = cluster.done("get", "pods", *CHOSEN, "-o", "name").split()
    assert after != before
    log = (
        f"/work/project/.mlops/watch/logs/{claim['run']}.log"  # of the process that carries it out
    )
    told = cluster.done("exec", after, "--", "cat", log)
    assert f"run {claim['run']} is there already: following it" in told
    (row,) = (each for each in project.answer("status") if each["environment"] == "dev")
    assert row["release"] == claim["release"]


@pytest.mark.timeout(900)
def test_a_push_that_a_forge_tells_makes_the_run(project: Project) -> None:
    """Also where mlops watch does not run: the Job of the push does what it would."""
    triggers.install()
    cluster = project.cluster
    login(project)
    path = project.work / "tekton" / "install" / "kustomization.yaml"
    path.write_text(path.read_text() + "replicas: [{name: mlops-watch, count: 0}]\n")
    installed = Installed(project.work, cluster)
    installed.apply()
    listener = listen(installed)
    head = project.git("rev-parse", "HEAD").strip()
    body = json.dumps(github_push(head, project.name)).encode()
    for _ in range(3):
        listener.deliver(body, signed(body))
    assert listener.jobs() == {head}
    cluster.done("wait", "--for=create", "--timeout=240s", "pipelinerun", "-l", "dev.mlops/model")
    (run,) = json.loads(cluster.done("get", "pipelineruns", "-o", "json"))["items"]
    assert run["metadata"]["labels"]["dev.mlops/source"] == head
    assert cluster.done("get", "pods", *CHOSEN, "-o", "name") == ""
    for kind in ("clusterrolebinding", "clusterrole"):
        cluster.done("delete", kind, f"mlops-listener-{installed.namespace}")
