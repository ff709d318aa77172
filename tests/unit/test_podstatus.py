"""Why pods do not run, read from what a cluster says of them."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.tekton.podstatus import State, Trouble, state, troubles


def pod(container: Any = None, **status: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [container] if container else [], **status}}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}, **more}


def ended(code: int, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Error", **more}}


@pytest.mark.parametrize(
    "found",
    [
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        {"state": {"running": {}}, "ready": True, "restartCount": 9, "lastState": ended(1)},
        {"state": {"running": {}}, "ready": False, "restartCount": 1, "lastState": ended(1)},
        {"state": ended(0)},
        {},
    ],
)
def test_what_begins_or_runs_is_no_trouble(found):
    assert list(troubles(pod(found))) == []


@pytest.mark.parametrize(
    ("found", "text", "lasting"),
    [
        (waiting("ErrImagePull", "x: not found"), "ErrImagePull: x: not found", True),
        (
            waiting("ImagePullBackOff", 'Back-off pulling "x": ErrImagePull: dial tcp: timeout'),
            "ImagePullBackOff: dial tcp: timeout",
            False,
        ),
        (waiting("InvalidImageName"), "InvalidImageName", True),
        (
            waiting("CreateContainerConfigError", 'secret "s" not found'),
            'CreateContainerConfigError: secret "s" not found',
            True,
        ),
        (
            waiting("CrashLoopBackOff", lastState=ended(3, message="boom\n"), restartCount=1),
            "ended with exit code 3: boom",
            False,
        ),
        (
            waiting("CrashLoopBackOff", lastState=ended(137, reason="OOMKilled"), restartCount=3),
            "ended 3 times, last with exit code 137 (OOMKilled)",
            True,
        ),
        (
            {"state": {"running": {}}, "ready": False, "restartCount": 4, "lastState": ended(2)},
            "ended 4 times, last with exit code 2",
            True,
        ),
        ({"state": ended(128, reason="StartError")}, "ended with exit code 128 (StartError)", True),
    ],
)
def test_each_trouble_is_told_and_whether_it_will_last(found, text, lasting):
    assert list(troubles(pod(found))) == [Trouble(text, lasting)]


def test_a_pod_without_a_place_says_why():
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes:\n too little"}
    assert list(troubles(pod(conditions=[condition]))) == [Trouble("0/1 nodes: too little")]


def test_a_pod_that_is_over_says_why():
    found = pod(phase="Failed", reason="Evicted", message="low on memory")
    assert list(troubles(found)) == [Trouble("Evicted low on memory")]


def test_long_messages_keep_their_end():
    (found,) = troubles(pod(waiting("Weird", "x" * 1000 + " why")))
    assert len(found.text) < 450
    assert found.text.endswith(" why")


@pytest.mark.parametrize("found", [None, 3, "x", [], {"waiting": 3, "terminated": "x"}])
def test_what_is_no_state_reads_as_empty(found):
    assert state(found) == State()
    assert list(troubles({"status": {"containerStatuses": found}})) == []
