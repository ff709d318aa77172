"""Many runs at once, created and watched by one process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient

from mlops.domain.run import Phase, RunResult
from mlops.engine.outcome import failed_outside
from mlops.tekton import asked
from tests.cluster import control
from tests.cluster.conftest import Namespace
from tests.cluster.typed import mlops

RUN = """
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: NAME}
spec:
  pipelineSpec:
    tasks: [{name: work, taskSpec: {steps: [{name: s, image: IMAGE, command: [sh, -c, 'COMMAND']}]}}]
"""


def text_of(name: str, image: str, command: str = "true") -> str:
    text = RUN.replace("NAME", name).replace("IMAGE", image)
    return text.replace("COMMAND", command)


def run_of(text: str) -> asked.Asked:
    (found,) = asked.read([("run.yaml", text.encode())], params={})
    return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The requests that are sent to the API, by method."""
    counted: Counter[str] = Counter()
    whole = ApiClient.call_api

    def call(self: ApiClient, method: str, *rest: Any, **more: Any) -> Any:
        counted[method] += 1
        return whole(self, method, *rest, **more)

    monkeypatch.setattr(ApiClient, "call_api", call)
    return counted


@pytest.mark.timeout(600)
@pytest.mark.alone
def test_many_runs_are_seen_to_their_ends_though_the_api_server_goes(
    namespace: Namespace, plain: str, sent: Counter[str]
) -> None:
    kept = namespace.executor()
    names = [f"many-{number}" for number in range(30)]
    for name in names:
        kept.create(run_of(text_of(name, plain)))
    created = sum(sent.values())
    ended: list[RunResult] = []
    for result in _ends(kept.endings(names)):
        ended.append(result)
        if len(ended) == 5:
            control.kill(namespace.layout, "kube-apiserver")
    assert Counter(each.name for each in ended) == Counter(names)
    # Tekton fails a task for good whose pod it could not make while the API server was away
    others = [each for each in ended if each.phase is not Phase.SUCCEEDED]
    assert [each for each in others if not failed_outside(each)] == []
    assert len(others) < len(names) // 3
    assert created == len(names)
    assert sum(sent.values()) - created < len(names)  # tries while it was away among them


def _ends(results: Iterator[RunResult]) -> Iterator[RunResult]:
    for each in results:
        assert each.phase.done
        yield each


def test_those_that_fail_or_go_are_told_once_with_why(namespace: Namespace, plain: str) -> None:
    kept = namespace.executor()
    kept.create(run_of(text_of("good", plain)))
    kept.create(run_of(text_of("bad", plain, "false")))
    kept.create(run_of(text_of("goes", plain, "sleep 600")))
    namespace.kubectl("create", "-f", "-", text=text_of("anothers", plain))
    ended: dict[str, RunResult] = {}
    for result in kept.endings(["good", "bad", "goes", "anothers"]):
        assert result.name not in ended
        ended[result.name] = result
        if result.name == "bad":
            namespace.kubectl("delete", "pipelinerun", "goes", "--wait=false")
    assert {name: each.phase for name, each in ended.items()} == {
        "good": Phase.SUCCEEDED,
        "bad": Phase.FAILED,
        "goes": Phase.FAILED,
        "anothers": Phase.SUCCEEDED,
    }
    assert ended["goes"].reason == "Deleted"
    assert ended["bad"].tasks[0].steps[0].exit_code == 1


def test_waiting_for_all_of_them_says_how_each_ended(
    user: Namespace, plain: str, here: Path
) -> None:
    where = ("--executor", "tekton", "-n", user.name)
    (here / "runs.yaml").write_text(
        "---".join((text_of("one", plain), text_of("two", plain, "false")))
    )
    assert mlops("runs", "submit", "-f", "runs.yaml", "--detach", *where).code == 0
    said = mlops("runs", "wait", "one", "two", *where)
    assert said.code == 1
    assert "one: Succeeded\n" in said.out
    assert "two: Failed: " in said.out
    again = mlops("runs", "wait", "one", *where, "-o", "json")
    assert again.code == 0
    assert [(each["name"], each["executor"]) for each in json.loads(again.out)] == [
        ("one", "tekton")
    ]
    assert mlops("runs", "wait", *where).out == ""


def test_who_waits_may_be_killed_and_waits_again(user: Namespace, plain: str, here: Path) -> None:
    where = ("--executor", "tekton", "-n", user.name)
    (here / "runs.yaml").write_text(
        "---".join((text_of("one", plain), text_of("two", plain, "sleep 30")))
    )
    assert mlops("runs", "submit", "-f", "runs.yaml", "--detach", *where).code == 0
    argv = [sys.executable, "-m", "mlops", "runs", "wait", "one", "two", *where]
    waiting = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert waiting.stdout is not None
    with waiting.stdout:
        assert waiting.stdout.readline() == "one: Succeeded\n"
        waiting.kill()
    waiting.wait()
    again = mlops("runs", "wait", "two", *where)
    assert (again.code, again.out) == (0, "two: Succeeded\n")
