"""What a user reads of runs on a real Tekton: why pods wait, which task failed, how logs end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mlops.cli import app
from tests.cluster.conftest import Namespace
from tests.cluster.waiting import until

NO_FILE = "no such file or directory"


def written(here: Path, name: str, spec: str) -> str:
    """The file of a PipelineRun."""
    text = (
        f"apiVersion: tekton.dev/v1\nkind: PipelineRun\nmetadata: {{name: {name}}}\nspec:\n{spec}"
    )
    (here / f"{name}.yaml").write_text(text)
    return f"{name}.yaml"


@pytest.fixture
def mlops(user: Namespace, here: Path, monkeypatch, capsys):
    """Types a command in the namespace: its code, stdout, stderr."""

    def mlops(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlops", *words, "--executor", "tekton", "-n", user.name])
        monkeypatch.setattr(
            "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION",
            str(user.layout.kubeconfig),
        )
        code = app.run()
        told = capsys.readouterr()
        return code, told.out, told.err

    return mlops


def test_what_failed_is_named_and_a_retry_is_another_attempt(mlops, here: Path, plain: str) -> None:
    spec = f"""
  pipelineSpec:
    tasks:
      - {{name: work, taskSpec: {{steps: [{{name: main, image: "{plain}", script: "exit 3"}}]}}}}
      - {{name: after, runAfter: [work], taskSpec: {{steps: [{{name: main, image: "{plain}", script: "true"}}]}}}}
"""
    file = written(here, "broken", spec)

    code, _, story = mlops("runs", "submit", "-f", file)
    assert code == 1
    assert "after: Skipped: not begun: work failed" in story
    assert "waits:" not in story  # a pod that only begins is no news
    code, _, story = mlops("runs", "retry", "broken")
    assert code == 1
    _, listed, _ = mlops("runs")
    outcomes = {line.split()[0]: line for line in listed.splitlines()}
    assert outcomes["broken"].endswith("work: exit 3")
    assert outcomes["broken-try2"].endswith("work: exit 3")
    _, listed, _ = mlops("runs", "-o", "json")
    assert {each["name"]: each["attempt"] for each in json.loads(listed)} == {
        "broken": 1,
        "broken-try2": 2,
    }


def test_why_pods_do_not_begin_is_told_once_each(mlops, here: Path, plain: str) -> None:
    claim = "{accessModes: [ReadWriteOnce], storageClassName: never, resources: {requests: {storage: 1Mi}}}"
    mounted = "volumes: [{name: v, secret: {secretName: absent}}]"
    spec = f"""
  timeouts: {{pipeline: 40s}}
  workspaces: [{{name: w, volumeClaimTemplate: {{spec: {claim}}}}}]
  taskRunSpecs: [{{pipelineTaskName: node, podTemplate: {{nodeSelector: {{pool: none}}}}}}]
  pipelineSpec:
    workspaces: [{{name: w}}]
    tasks:
      - name: volume
        workspaces: [{{name: w}}]
        taskSpec: {{workspaces: [{{name: w}}], steps: [{{name: main, image: "{plain}", script: "true"}}]}}
      - {{name: node, taskSpec: {{steps: [{{name: main, image: "{plain}", script: "true"}}]}}}}
      - {{name: image, taskSpec: {{steps: [{{name: main, image: "10.244.0.1:5000/nothing:1", script: "true"}}]}}}}
      - name: secret
        taskSpec:
          {mounted}
          steps: [{{name: main, image: "{plain}", volumeMounts: [{{name: v, mountPath: /v}}], script: "true"}}]
"""
    code, _, story = mlops("runs", "submit", "-f", written(here, "waiting", spec))

    assert code == 1
    waits = [line.partition(" ")[2] for line in story.splitlines() if " waits: " in line]
    for task, why in (
        ("volume", 'storageclass.storage.k8s.io "never" not found'),
        ("node", "node affinity/selector"),
        ("image", "10.244.0.1:5000/nothing:1: not found"),
        ("secret", 'secret "absent" not found'),
    ):
        assert any(line.startswith(f"{task}: waits: ") and why in line for line in waits), story
    assert len(waits) == len(set(waits)), story
    assert len(waits) <= 8, story
    assert "\\x0a" not in story


@pytest.mark.timeout(300)
def test_the_end_of_a_sidecar_is_no_line_of_its_log(
    mlops, user: Namespace, here: Path, plain: str
) -> None:
    spec = f"""
  pipelineSpec:
    tasks:
      - name: work
        taskSpec:
          sidecars: [{{name: beside, image: "{plain}", script: "trap 'exit 0' TERM; while :; do sleep 0.2; done"}}]
          steps: [{{name: main, image: "{plain}", script: "echo done"}}]
"""
    code, _, _ = mlops("runs", "submit", "-f", written(here, "beside", spec))
    assert code == 0
    raw = ("logs", "beside-work-pod", "-c", "sidecar-beside")
    until(lambda: NO_FILE in user.kubectl(*raw))

    _, told, _ = mlops("runs", "logs", "beside")

    assert told.splitlines() == ["work/main | done"]
