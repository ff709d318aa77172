"""The demo's story on a real cluster: from a push to a prediction, and back."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import addresses, world
from tests.cluster.conftest import Cluster
from tests.cluster.layout import Layout
from tests.cluster.world import LOGIN, Project

BOTTLES = [
    [14.23, 1.71, 2.43, 15.6, 127.0, 2.8, 3.06, 0.28, 2.29, 5.64, 1.04, 3.92, 1065.0],
    [13.27, 4.28, 2.26, 20.0, 120.0, 1.59, 0.69, 0.43, 1.35, 10.2, 0.59, 1.56, 835.0],
]


@pytest.fixture(scope="module")
def tool(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.installed(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def project(layout: Layout, tool: Path, tmp_path: Path) -> Iterator[Project]:
    with world.project(layout, tmp_path, tool) as made:
        yield made


def served(space: Cluster, path: str, body: Any = None) -> str:
    """What the model's Service answers."""
    address = space.get("service", "wine")["spec"]["clusterIP"]
    content = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://{address}{path}", content)
    request.add_header("Content-Type", "application/json")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=30
    ) as answer:
        return answer.read().decode()


def cultivars(space: Cluster) -> list[int]:
    tensor = {"name": "bottles", "shape": [2, 13], "datatype": "FP64", "data": BOTTLES}
    answer = json.loads(served(space, "/v2/models/wine/infer", {"inputs": [tensor]}))
    return answer["outputs"][0]["data"]


def running(space: Cluster) -> set[str]:
    """The digests that the pods of the model run."""
    pods = json.loads(space.done("get", "pods", "-l", "app.kubernetes.io/name=wine", "-o", "json"))
    return {
        each["imageID"].rpartition("@")[2]
        for pod in pods["items"]
        if "deletionTimestamp" not in pod["metadata"]
        for each in pod["status"]["containerStatuses"]
    }


@pytest.mark.timeout(900)
def test_from_a_push_to_a_prediction_and_back(project: Project) -> None:
    project.install()
    dev, prod = (project.space(f"{project.name}-{env}") for env in ("dev", "prod"))
    project.mlops("init", "--yes")
    project.configure(
        executor="tekton",
        registry=f"{addresses.REGISTRY}/{project.name}",
        cluster={"namespace": project.namespace},
        models={"wine": {"gates": [{"metric": "accuracy", "min": 0.9}]}},
    )
    project.mlops("lock")
    project.commit("Add mlops")

    first = project.mlops("run").strip()
    assert first.startswith("wine@sha256:")
    project.mlops("deploy", "dev")
    assert running(dev) == {first.partition("@")[2]}
    project.mlops("promote", "wine@dev", "--to", "staging")
    project.mlops("promote", "wine@staging", "--to", "prod")
    project.mlops("deploy", "prod")
    assert running(prod) == {first.partition("@")[2]}
    assert cultivars(prod)[0] == 0

    more = (project.work / "more-labels.csv").read_text()
    with (project.work / "data/labels.csv").open("a") as labels:
        labels.write(more)
    project.mlops("data", "add", "data/labels.csv")
    project.mlops("data", "push")
    project.commit("Add seventy labels")
    project.mlops("watch", "--once")
    (row,) = (each for each in project.answer("status") if each["environment"] == "dev")
    second = row["release"]
    assert second != first
    project.mlops("promote", "wine@dev", "--to", "staging")
    project.mlops("promote", "wine@staging", "--to", "prod")
    project.mlops("deploy", "prod")
    assert running(prod) == {second.partition("@")[2]}
    assert cultivars(prod)[0] == 0
    assert second.partition("@")[2][7:19] in served(prod, "/metrics")

    project.mlops("rollback", "prod", "--reason", "sour", "--incident", "INC-7", "--yes")
    assert project.typed("python", "-m", "mlops", "status", "--live").code == 1
    project.mlops("deploy", "prod")
    assert running(prod) == {first.partition("@")[2]}
    assert cultivars(prod)[0] == 0
    assert first.partition("@")[2][7:19] in served(prod, "/metrics")

    # the very same image comes out of the sandboxes of this machine
    here = project.mlops("run", "--again", "--no-pin", "--executor", "local", "--quiet").strip()
    assert here == second

    told = project.cluster.done("get", "pipelineruns,taskruns,pods", "-o", "yaml")
    assert LOGIN.partition(":")[2] not in told
