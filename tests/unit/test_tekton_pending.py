"""Why the pods of a run do not begin, asked of objects in memory as a cluster has them."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.adapters.cluster.kinds import CLAIM, EVENT, PIPELINE_RUN, POD, TASK_RUN, Kind
from mlops.adapters.cluster.watching import Change
from mlops.adapters.executors.tekton.pending import Asking
from mlops.adapters.executors.tekton.standing import Standing
from mlops.cli.livetree import PlainLines
from mlops.cli.progress import Progress
from mlops.domain.run import Phase, TaskState
from mlops.errors import ForbiddenError

NO_ROOM = "0/1 nodes are available: 1 Insufficient cpu."
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."


class Objects:
    """Meets what is asked of a Cluster: pods, and events by what they are about."""

    def __init__(self, pod: Any = None, claim: Any = None, **events: str) -> None:
        self.pod, self.claim, self.events, self.asked = pod, claim, events, 0
        self.forbidden: tuple[Kind, ...] = ()

    def get(self, kind: Kind, name: str) -> Any:
        self.asked += 1
        self._allow(kind)
        if kind is CLAIM:
            return self.claim
        return self.pod if (kind, name) == (POD, "r-t-pod") else None

    def list(self, kind: Kind, picked: Any) -> tuple[list[dict[str, Any]], str]:
        self._allow(kind)
        assert kind is EVENT
        ((_, fields),) = picked
        name = fields.rpartition("=")[2]
        told = self.events.get(name.replace("-", "_"))
        return ([{"reason": "FailedMount", "message": told}] if told else []), "1"

    def _allow(self, kind: Kind) -> None:
        if kind in self.forbidden:
            raise ForbiddenError("no")


def pod(message: str = "", claim: str = "", reason: str = "") -> dict[str, Any]:
    unplaced = {"type": "PodScheduled", "status": "False", "message": message}
    waiting = {"state": {"waiting": {"reason": reason, "message": "why"}}}
    return {
        "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": claim}}] if claim else []},
        "status": {
            "conditions": [unplaced] if message else [],
            "containerStatuses": [waiting] if reason else [],
        },
    }


def standing(*, steps: Any = (), message: str = "Pending", truth: str = "Unknown") -> Standing:
    """A run of one task whose TaskRun has a pod."""
    condition = {"type": "Succeeded", "status": truth, "reason": "Pending", "message": message}
    found = Standing()
    run = {
        "kind": "PipelineRun",
        "metadata": {"name": "r"},
        "spec": {"pipelineSpec": {"tasks": [{"name": "t"}]}},
        "status": {"childReferences": [{"name": "r-t", "pipelineTaskName": "t"}]},
    }
    task = {
        "kind": "TaskRun",
        "metadata": {"name": "r-t"},
        "status": {"podName": "r-t-pod", "conditions": [condition], "steps": list(steps)},
    }
    found.take(Change(PIPELINE_RUN, run))
    found.take(Change(TASK_RUN, task))
    return found


def waits(cluster: Objects, found: Standing | None = None) -> str:
    found = found or standing()
    Asking(cluster).again(found, silent=0.0)  # type: ignore[arg-type]
    result = found.result()
    assert result is not None
    (task,) = result.tasks
    return task.waits


@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        (Objects(pod(NO_ROOM)), NO_ROOM),
        (Objects(pod(reason="ImagePullBackOff")), "ImagePullBackOff: why"),
        (Objects(pod(reason="PodInitializing")), ""),
        (
            Objects(pod(UNBOUND, "data"), data='class "never" not found'),
            f'{UNBOUND}; claim data: FailedMount: class "never" not found',
        ),
        (Objects(pod("", "data"), {"status": {"phase": "Bound"}}, data="of the time before"), ""),
        (
            Objects(pod("", "data"), {"status": {"phase": "Pending"}}, data="no volume"),
            "claim data: FailedMount: no volume",
        ),
        (Objects(pod(), r_t_pod="secret x is not there"), "FailedMount: secret x is not there"),
        (Objects(pod()), ""),
        (Objects(), ""),
    ],
)
def test_each_reason_is_told(cluster: Objects, told: str):
    assert waits(cluster) == told


def test_a_pod_that_has_only_just_been_made_is_not_asked_and_nothing_is_told_of_it():
    cluster = Objects(pod(NO_ROOM))
    found = standing(message='pod status "PodScheduled":"False"; message: "not yet"')

    assert not Asking(cluster).again(found, silent=60.0)  # type: ignore[arg-type]

    result = found.result()
    assert result is not None
    assert (cluster.asked, result.tasks[0].waits) == (0, "")


@pytest.mark.parametrize(
    "steps", [[{"name": "s", "running": {}}], [{"name": "s", "terminated": {}}]]
)
def test_what_has_begun_is_not_asked(steps):
    cluster = Objects(pod(NO_ROOM))

    assert waits(cluster, standing(steps=steps)) == ""
    assert cluster.asked == 0


def test_who_may_not_ask_pods_hears_what_tekton_says_and_asks_once():
    cluster = Objects(pod(NO_ROOM))
    cluster.forbidden = (POD,)
    found, asking = standing(message="TaskRun Pod exceeded available resources"), Asking(cluster)  # type: ignore[arg-type]

    assert asking.again(found, silent=0.0)
    assert not asking.again(found, silent=0.0)

    result = found.result()
    assert result is not None
    assert result.tasks[0].waits == "TaskRun Pod exceeded available resources"
    assert cluster.asked == 1


def test_who_may_not_read_events_hears_what_the_pod_says():
    cluster = Objects(pod(UNBOUND, "data"), data="x")
    cluster.forbidden = (EVENT,)

    assert waits(cluster) == UNBOUND


@pytest.mark.parametrize("reason", ["TaskRunTimeout", "TaskRunCancelled"])
def test_what_a_task_waited_for_is_said_when_time_is_over(reason: str):
    found = standing()
    assert waits(Objects(pod(NO_ROOM)), found) == NO_ROOM
    late = standing(message="took too long", truth="False")
    late.taskruns["r-t"]["status"]["conditions"][0]["reason"] = reason

    found.taskruns |= late.taskruns

    result = found.result()
    assert result is not None
    assert result.tasks[0].message == f"took too long; it waited all the time: {NO_ROOM}"


@pytest.mark.parametrize("seen", [Progress(), PlainLines()])
def test_what_a_task_waits_for_is_told_once_for_each_change(seen, capsys):
    for told in ("0/1 nodes: cpu", "0/2 nodes: cpu", "no image", "0/3 nodes: cpu", ""):
        seen.task(TaskState("t", Phase.RUNNING, taskrun="r-t", waits=told))

    lines = capsys.readouterr().err.splitlines()

    assert [line.partition("waits: ")[2] for line in lines if "waits" in line] == [
        "0/1 nodes: cpu",
        "no image",
    ]


def test_a_task_that_has_not_had_its_turn_is_no_news_of_mlops_run(capsys):
    Progress().task(TaskState("t", Phase.PENDING, waits="2 tasks of this run work already"))

    assert capsys.readouterr().err == ""
