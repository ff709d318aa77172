"""What goes wrong on a cluster, and what a user is told of it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops.adapters.cluster.kinds import TASK_RUN
from mlops.domain.run import Ending, Phase, RunResult, TaskState
from mlops.errors import ClusterError, ConfigError, ForbiddenError, RefusedError, UsageError
from mlops.tekton import asked
from tests.cluster import control
from tests.cluster.conftest import Namespace
from tests.cluster.waiting import until

RUN = """
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: NAME}
spec:
  timeouts: {pipeline: TIMEOUT}
  WORKSPACES
  pipelineSpec:
    workspaces: DECLARED
    tasks:
      - name: work
        workspaces: DECLARED
        taskSpec:
          workspaces: DECLARED
          steps:
            - name: s
              image: IMAGE
              LIMITS
              script: |
                #!/bin/sh
                SCRIPT
"""


class Heard:
    """A RunObserver that keeps what it hears."""

    def __init__(self) -> None:
        self.states: list[TaskState] = []
        self.lines: list[str] = []

    def task(self, state: TaskState) -> None:
        self.states.append(state)

    def log(self, task: str, step: str, line: str) -> None:
        self.lines.append(line)


def document(
    name: str,
    script: str,
    image: str,
    *,
    timeout: str = "5m",
    workspace: str = "",
    limits: str = "",
) -> str:
    declared = "[{name: w}]" if workspace else "[]"
    return (
        RUN.replace("NAME", name)
        .replace("SCRIPT", script)
        .replace("IMAGE", image)
        .replace("TIMEOUT", timeout)
        .replace("WORKSPACES", workspace or "params: []")
        .replace("DECLARED", declared)
        .replace("LIMITS", limits or "env: []")
    )


def run_of(text: str) -> asked.Asked:
    (found,) = asked.read([("run.yaml", text.encode())], params={})
    return found


@pytest.fixture
def carry(namespace: Namespace, plain: str) -> Callable[..., tuple[RunResult, Heard]]:
    def carry(name: str, script: str, **more: str) -> tuple[RunResult, Heard]:
        heard = Heard()
        text = document(name, script, more.pop("image", plain), **more)
        return namespace.executor().submit(run_of(text), heard), heard

    return carry


def test_a_step_that_runs_out_of_memory_is_told(carry) -> None:
    result, _ = carry(
        "memory",
        'python3 -c "x = bytearray(400 << 20); print(len(x))"',
        limits="computeResources: {limits: {memory: 64Mi}}",
    )

    (task,) = result.tasks
    assert result.phase is Phase.FAILED
    assert task.steps[0].reason == "OOMKilled"
    assert task.steps[0].exit_code == 137


def test_an_image_that_cannot_be_pulled_is_told(carry) -> None:
    result, _ = carry("image", "true", image="10.244.0.1:5000/nothing:1", timeout="2m")

    (task,) = result.tasks
    assert result.phase is Phase.FAILED
    assert "10.244.0.1:5000/nothing:1" in task.message


def test_a_claim_that_never_binds_is_told_after_the_time_is_over(carry) -> None:
    claim = (
        "workspaces: [{name: w, volumeClaimTemplate: {spec: {storageClassName: never, accessModes: "
        "[ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}}]"
    )
    result, _ = carry("claim", "true", timeout="20s", workspace=claim)

    (task,) = result.tasks
    assert result.phase is Phase.FAILED
    assert result.reason == "PipelineRunTimeout"
    assert "PersistentVolumeClaim" in task.message


def test_a_run_that_somebody_removes_is_told(namespace: Namespace, plain: str) -> None:
    text = document("removed", "sleep 60", plain)
    started = threading.Event()

    class Watching(Heard):
        def task(self, state: TaskState) -> None:
            if any(step.phase is Phase.RUNNING for step in state.steps) and not started.is_set():
                started.set()
                namespace.kubectl("delete", "pipelinerun", "removed", "--wait=false")

    result = namespace.executor().submit(run_of(text), Watching())

    assert started.is_set()
    assert (result.phase, result.reason) == (Phase.FAILED, "Deleted")


def test_a_pod_that_is_deleted_is_told_as_tekton_takes_it(namespace: Namespace, plain: str) -> None:
    """Tekton makes another pod, or fails the task: what it decides is what we say."""
    text = document("pod", "sleep 5", plain)
    deleted = threading.Event()

    class Watching(Heard):
        def task(self, state: TaskState) -> None:
            if any(step.phase is Phase.RUNNING for step in state.steps) and not deleted.is_set():
                deleted.set()
                namespace.kubectl(
                    *("delete", "pod", "-l", "tekton.dev/pipelineRun=pod"),
                    *("--wait=false", "--grace-period=0", "--force"),
                )

    result = namespace.executor().submit(run_of(text), Watching())

    truth = json.loads(namespace.kubectl("get", "pipelinerun", "pod", "-o", "json"))
    (condition,) = truth["status"]["conditions"]
    assert deleted.is_set()
    assert result.phase is {"True": Phase.SUCCEEDED, "False": Phase.FAILED}[condition["status"]]
    assert result.reason == condition["reason"]


def test_a_namespace_that_is_not_there_is_named(namespace: Namespace, plain: str) -> None:
    there = Namespace(namespace.layout, "not-there")

    with pytest.raises(ConfigError, match="no namespace not-there"):
        there.executor().submit(run_of(document("x", "true", plain)), Heard())


def test_a_quota_that_is_used_up_is_told(namespace: Namespace, carry) -> None:
    namespace.kubectl("create", "quota", "none", "--hard=count/pipelineruns.tekton.dev=0")

    with pytest.raises(ClusterError, match="exceeded quota") as told:
        carry("quota", "true")
    assert told.value.hint == "Wait for room, or ask for a larger quota"


def test_a_quota_of_pods_is_told_when_the_time_is_over(namespace: Namespace, carry) -> None:
    """Tekton tries again until there is room, or no time left."""
    namespace.kubectl("create", "quota", "none", "--hard=pods=0")
    result, heard = carry("pods", "true", timeout="20s")

    (task,) = result.tasks
    assert result.reason == "PipelineRunTimeout"
    assert "exceeded quota" in "".join(state.waits for state in heard.states)
    assert "exceeded quota" in task.message


def test_a_user_without_the_right_is_told_which(
    namespace: Namespace, plain: str, tmp_path: Path
) -> None:
    namespace.kubectl("create", "serviceaccount", "nobody")
    token = namespace.kubectl("create", "token", "nobody").strip()

    with pytest.raises(ForbiddenError, match=r"pipelineruns\.tekton\.dev is forbidden"):
        namespace.as_bearer(token, tmp_path).submit(run_of(document("x", "true", plain)), Heard())


def test_the_same_run_again_is_the_same_run_and_another_is_refused(
    namespace: Namespace, plain: str
) -> None:
    kept = namespace.executor()
    first = kept.run(run_of(document("same", "echo one", plain)).run, Heard())
    again = kept.run(run_of(document("same", "echo one", plain)).run, Heard())

    assert first.uid == again.uid
    with pytest.raises(RefusedError, match="is not what this says"):
        kept.run(run_of(document("same", "echo two", plain)).run, Heard())
    with pytest.raises(UsageError, match="already"):
        kept.submit(run_of(document("same", "echo one", plain)), Heard(), new=True)


@pytest.mark.alone
def test_the_api_server_may_go_and_come_back(namespace: Namespace, plain: str) -> None:
    text = document(
        "away", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; sleep 1; done", plain
    )
    heard = Heard()
    done: list[RunResult] = []
    following = threading.Thread(
        target=lambda: done.append(namespace.executor().submit(run_of(text), heard))
    )
    following.start()
    until(lambda: "line 2" in heard.lines)
    control.kill(namespace.layout, "kube-apiserver")
    following.join(180)

    assert done
    assert done[0].phase is Phase.SUCCEEDED
    assert [line for line in heard.lines if line.startswith("line")] == [
        f"line {number}" for number in range(1, 13)
    ]


def test_who_watches_may_be_killed_and_the_run_is_found_again(
    user: Namespace, plain: str, here: Path
) -> None:
    (here / "run.yaml").write_text(document("killed", "sleep 6; echo done", plain))
    where = ("--executor", "tekton", "-n", user.name)
    argv = [sys.executable, "-m", "mlops", "runs", "submit", "-f", "run.yaml", *where]
    watcher = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = user.executor()
    until(lambda: kept.status("killed") is not None)
    watcher.kill()
    watcher.wait()
    heard = Heard()

    result = kept.attend("killed", heard)

    assert result.phase is Phase.SUCCEEDED
    assert "done" in heard.lines


def test_a_run_is_cancelled_and_gone_on_with(namespace: Namespace, plain: str) -> None:
    text = f"""
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {{name: again}}
spec:
  workspaces: [{{name: w, volumeClaimTemplate: {{spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}}}}}]
  pipelineSpec:
    workspaces: [{{name: w}}]
    results:
      - {{name: first, value: $(tasks.first.results.r)}}
      - {{name: second, value: $(tasks.second.results.r)}}
    tasks:
      - name: first
        workspaces: [{{name: w}}]
        taskSpec:
          workspaces: [{{name: w}}]
          results: [{{name: r}}]
          steps:
            - name: s
              image: {plain}
              script: |
                #!/bin/sh
                echo x >> $(workspaces.w.path)/count
                printf one > $(results.r.path)
      - name: second
        runAfter: [first]
        workspaces: [{{name: w}}]
        taskSpec:
          workspaces: [{{name: w}}]
          results: [{{name: r}}]
          steps:
            - name: s
              image: {plain}
              env: [{{name: FIRST, value: $(tasks.first.results.r)}}]
              script: |
                #!/bin/sh
                if [ ! -f $(workspaces.w.path)/twice ]; then touch $(workspaces.w.path)/twice; echo asleep; sleep 300; fi
                printf "$FIRST-$(wc -l < $(workspaces.w.path)/count)" > $(results.r.path)
"""
    kept = namespace.executor()

    class Cancelling(Heard):
        asked = False

        def log(self, task: str, step: str, line: str) -> None:
            if line == "asleep" and not self.asked:  # a step that runs may not have come so far
                self.asked = True
                kept.cancel("again", Ending.CANCELLED)

    first = kept.submit(run_of(text), Cancelling())
    assert first.phase is Phase.CANCELLED

    second = kept.retry("again", Heard())

    assert second.name == "again-try2"
    assert second.phase is Phase.SUCCEEDED
    assert [task.name for task in second.tasks] == ["second"]
    assert second.text("first") == "one"
    assert second.text("second") == "one-1"  # the first ran once: its result and its file stand
    kept.remove("again")
    claims = namespace.kubectl("get", "pvc", "-o", "name").split()
    time.sleep(2)
    assert namespace.kubectl("get", "pvc", "-o", "name").split() == claims


def test_a_taskrun_alone_is_followed(namespace: Namespace, plain: str) -> None:
    text = f"""
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {{name: alone}}
spec:
  taskSpec:
    results: [{{name: r}}]
    steps: [{{name: s, image: {plain}, script: "printf hi > $(results.r.path); echo said"}}]
"""
    heard = Heard()

    result = namespace.executor().submit(run_of(text), heard)

    assert (result.kind, result.phase) == ("TaskRun", Phase.SUCCEEDED)
    assert result.results == {"r": "hi"}
    assert heard.lines == ["said"]
    assert namespace.api().get(TASK_RUN, "alone") is not None
