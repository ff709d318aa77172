"""Tekton: it carries out, and its webhook judges what mlops writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.conftest import Cluster

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("pipelinerun-*.yaml"))


def _run(cluster: Cluster, **more: Any) -> dict[str, Any]:
    step = {
        "name": "say",
        "image": cluster.image("busybox"),
        "script": "#!/bin/sh\nset -e\nprintf yes | tee $(results.answer.path)\n",
    }
    task = {"results": [{"name": "answer"}], "steps": [{**step, **more}]}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "says"},
        "spec": {"taskSpec": task},
    }


@pytest.fixture
def open_cluster(cluster: Cluster) -> Cluster:
    """Tekton's own containers are not restricted as it ships: the namespace lets them in."""
    label = "pod-security.kubernetes.io/enforce=baseline"
    cluster.done("label", "--overwrite", "namespace", cluster.namespace, label)
    return cluster


def test_a_script_runs_and_gives_its_result(open_cluster: Cluster) -> None:
    open_cluster.done("create", "-f", "-", document=_run(open_cluster))
    ended = "--for=jsonpath={.status.completionTime}"
    open_cluster.done("wait", ended, "--timeout=180s", "taskrun/says")
    status = open_cluster.get("taskrun", "says")["status"]
    assert status["conditions"][0]["reason"] == "Succeeded", status["conditions"]
    assert [(each["name"], each["value"]) for each in status["results"]] == [("answer", "yes")]
    log = open_cluster.done("logs", status["podName"], "-c", "step-say")
    assert log == "yes"


def test_tasks_share_a_claim_and_pass_a_result(open_cluster: Cluster) -> None:
    shell = {"name": "do", "image": open_cluster.image("busybox")}
    shared = [{"name": "work"}]
    writes = {
        "name": "writes",
        "workspaces": shared,
        "taskSpec": {
            "workspaces": shared,
            "results": [{"name": "file"}],
            "steps": [
                {
                    **shell,
                    "script": "echo kept >$(workspaces.work.path)/a; printf a >$(results.file.path)",
                }
            ],
        },
    }
    reads = {
        "name": "reads",
        "workspaces": shared,
        "params": [{"name": "file", "value": "$(tasks.writes.results.file)"}],
        "taskSpec": {
            "workspaces": shared,
            "params": [{"name": "file"}],
            "results": [{"name": "content"}],
            "steps": [
                {
                    **shell,
                    "env": [{"name": "FILE", "value": "$(params.file)"}],
                    "script": "cat $(workspaces.work.path)/$FILE >$(results.content.path)",
                }
            ],
        },
    }
    claim = {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    }
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "shares"},
        "spec": {
            "pipelineSpec": {
                "workspaces": shared,
                "tasks": [writes, reads],
                "results": [{"name": "content", "value": "$(tasks.reads.results.content)"}],
            },
            "workspaces": [{"name": "work", "volumeClaimTemplate": claim}],
        },
    }
    open_cluster.done("create", "-f", "-", document=run)
    ended = "--for=jsonpath={.status.completionTime}"
    open_cluster.done("wait", ended, "--timeout=180s", "pipelinerun/shares")
    status = open_cluster.get("pipelinerun", "shares")["status"]
    assert status["conditions"][0]["reason"] == "Succeeded", status["conditions"]
    assert status["results"] == [{"name": "content", "value": "kept\n"}]


def test_the_webhook_refuses_what_the_schema_lets_through(cluster: Cluster) -> None:
    wrong = _run(cluster, command=["true"])
    refused = cluster.kubectl("create", "--dry-run=server", "-f", "-", document=wrong)
    assert refused.returncode != 0
    assert 'admission webhook "validation.webhook.pipeline.tekton.dev" denied' in refused.stderr


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_mlops_writes_is_admitted(cluster: Cluster, path: Path) -> None:
    strict = ("--dry-run=server", "--validate=strict", "-f", "-")
    document = yaml.safe_load(path.read_text())
    document["metadata"].pop("namespace", None)
    cluster.done("create", *strict, document=document)
    document["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"]["steps"][0]["nonsense"] = "x"
    assert (
        'unknown field "nonsense"' in cluster.kubectl("create", *strict, document=document).stderr
    )
