"""`mlops runs submit --executor tekton`: documents to a real cluster, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.conftest import Namespace
from tests.cluster.typed import Typed, mlops

HELLO = """
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: hello}
spec:
  params: [{name: whom, value: world}]
  pipelineSpec:
    params: [{name: whom}]
    results: [{name: said, value: $(tasks.say.results.said)}]
    tasks:
      - name: say
        taskSpec:
          results: [{name: said}]
          steps:
            - name: speak
              image: busybox
              env: [{name: WHOM, value: $(params.whom)}]
              script: |
                #!/bin/sh
                echo "speaking to $WHOM"
                printf 'hello %s' "$WHOM" > $(results.said.path)
"""
FAILS = HELLO.replace("name: hello", "name: fails").replace("echo", "exit 3; echo")


@pytest.fixture
def submit(user: Namespace, plain: str, here: Path):
    def submit(text: str, *more: str) -> Typed:
        (here / "run.yaml").write_text(text)
        where = ("--executor", "tekton", "-n", user.name, "--image", f"busybox={plain}")
        return mlops("runs", "submit", "-f", "run.yaml", *where, *more)

    return submit


def test_a_run_succeeds_and_says_what_it_gave(submit, user: Namespace) -> None:
    said = submit(HELLO, "-p", "whom=you", "--logs")

    assert said.code == 0, said.err
    assert "said: hello you" in said.out
    assert "speaking to you" in said.err
    assert user.kubectl("get", "pipelinerun", "hello", "-o", "name").strip().endswith("/hello")


def test_a_run_that_fails_exits_with_one_and_names_step_and_code(submit) -> None:
    said = submit(FAILS)

    assert said.code == 1
    assert "say" in said.err
    assert "mlops runs logs fails" in said.err


def test_what_admission_refuses_exits_with_two_and_says_why(submit) -> None:
    said = submit(HELLO.replace("image: busybox", "image: busybox\n              imagee: x"))

    assert said.code == 2
    assert "imagee" in said.err
    assert "admission webhook" not in said.err


def test_a_name_that_is_taken_is_said(submit) -> None:
    submit(HELLO)
    said = submit(HELLO)

    assert said.code == 2
    assert "there is a PipelineRun hello" in said.err


def test_a_dry_run_asks_admission_and_creates_nothing(submit, user: Namespace) -> None:
    assert submit(HELLO, "--dry-run").code == 0
    assert submit(HELLO.replace("script:", "scriptt:"), "--dry-run").code == 2
    assert user.kubectl("get", "pipelineruns") == ""


def test_json_is_the_clusters_own_object(submit) -> None:
    said = submit(HELLO, "-o", "json")

    found = json.loads(said.out)
    assert found["kind"] == "PipelineRun"
    assert found["status"]["results"] == [{"name": "said", "value": "hello world"}]


def test_a_namespace_that_is_not_there_is_an_error_and_one_without_runs_is_empty(
    submit, user: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(user.layout.kubeconfig))
    place = ("--executor", "tekton", "-n")
    assert mlops("runs", *place, user.name).code == 0
    for said in (
        mlops("runs", *place, "not-there"),
        mlops("runs", "list", *place, "not-there", "-o", "json"),
        mlops("runs", "show", "hello", *place, "not-there"),
        mlops("runs", "wait", *place, "not-there"),
    ):
        assert said.code == 2
        assert said.out == ""
        assert "no namespace not-there. Make it: kubectl create namespace not-there" in said.err


def test_runs_are_listed_shown_and_removed(submit, user: Namespace) -> None:
    submit(HELLO)
    there = ("--executor", "tekton", "-n", user.name)

    assert "hello" in mlops("runs", "list", *there).out
    shown = mlops("runs", "show", "hel", *there).out
    assert "say" in shown
    assert "speak" in shown
    logged = mlops("runs", "logs", "hello", *there).out
    assert "say/speak | speaking to world" in logged
    assert mlops("runs", "remove", "hello", *there).code == 0
    assert user.kubectl("get", "pipelineruns") == ""
