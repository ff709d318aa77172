"""Why pods do not run, read from what a cluster says of them."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.tekton.podstatus import State, Trouble, befell, claims, state, troubles, waits


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


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Pending", ""),
        ("Not all Steps in the Task have finished executing", ""),
        (
            'pod status "Initialized":"False"; message: "containers with incomplete status: [prepare]"',
            "",
        ),
        (
            'pod status "PodScheduled":"False"; message: "0/1 nodes: didn\'t match\\n a \\"selector\\""',
            '0/1 nodes: didn\'t match a "selector"',
        ),
        (
            'pod status "PodScheduled":"False"; message: "a \\x07"',
            "a \\x07",
        ),  # Go's escape, not JSON's
        ('build step "step-s" is pending with reason "no such image"', "no such image"),
        ("TaskRun Pod exceeded available resources", "TaskRun Pod exceeded available resources"),
    ],
)
def test_what_tekton_says_of_a_pod_that_waits_is_told_without_its_frame(message, said):
    assert waits(message) == said


def test_events_tell_why_a_claim_has_no_volume_and_a_pod_no_start():
    def event(reason: str, message: str, when: str = "1") -> dict[str, Any]:
        return {"reason": reason, "message": message, "lastTimestamp": when}

    found = befell(
        [
            event("ProvisioningFailed", "class never", when="2"),
            event("ProvisioningFailed", "older", when="1"),
            event("FailedBinding", "no class is set"),
            event("FailedScheduling", "what its condition says"),
            event("MissingClusterDNS", "what keeps nothing from beginning"),
            event("Scheduled", "all is well"),
            event("FailedMount", "secret \n gone"),
        ]
    )

    assert found == (
        "ProvisioningFailed: class never",
        "FailedBinding: no class is set",
        "FailedMount: secret gone",
    )


@pytest.mark.parametrize("found", [None, 3, [], {"volumes": 3}, {"volumes": [{"emptyDir": {}}]}])
def test_a_pod_without_claims_has_none(found):
    assert claims({"spec": found}) == ()
    assert list(befell([{}, {"reason": 3}])) == []
