"""What is told of probes that fail: nothing that is usual of pods that start."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.adapters.cluster.workloads import warnings
from mlops.tekton import podprobes
from mlops.tekton.podstatus import Trouble

REFUSED = (
    'Get "http://10.244.0.7:8080/healthz": dial tcp 10.244.0.7:8080: connect: connection refused'
)


def pod(probes: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """As the API has a pod whose container runs."""
    seen = {"name": "server", "ready": False, "started": False, "restartCount": 0}
    seen |= {"state": {"running": {"startedAt": "2026-11-28T18:00:00Z"}}, **status}
    return {
        "metadata": {"name": "spam-0", "uid": "u1"},
        "spec": {"containers": [{"name": "server", **(probes or {})}, {"name": "mesh"}]},
        "status": {"phase": "Running", "containerStatuses": [seen, {"name": "mesh"}]},
    }


def event(message: str, count: int = 1, second: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "type": "Warning",
        "reason": "Unhealthy",
        "message": message,
        "count": count,
        "lastTimestamp": f"2026-11-28T18:00:{second:02}Z",
        "involvedObject": {"uid": "u1", "fieldPath": "spec.containers{server}"},
        **more,
    }


STARTUP = {"startupProbe": {"httpGet": {}, "periodSeconds": 2, "failureThreshold": 150}}
READINESS = {"readinessProbe": {"httpGet": {}, "periodSeconds": 5, "failureThreshold": 3}}


def told(found: dict[str, Any], *events: dict[str, Any]) -> list[Trouble]:
    return list(warnings(events, {"u1": found}))


def test_who_starts_is_told_with_the_time_that_the_startup_probe_gives():
    assert list(podprobes.starting(pod(STARTUP))) == [
        "server starts, for which its startup probe gives it 300 s"
    ]
    assert not list(podprobes.starting(pod(STARTUP, started=True)))
    assert not list(podprobes.starting(pod(READINESS)))
    assert not list(podprobes.starting(pod(STARTUP, state={"waiting": {"reason": "x"}})))


def test_a_startup_probe_that_fails_is_usual_until_the_container_was_restarted():
    failed = event(f"Startup probe failed: {REFUSED}", count=40)
    assert told(pod(STARTUP), failed) == [
        Trouble(f"Unhealthy: Startup probe failed: {REFUSED}", usual=True)
    ]
    (after,) = told(pod(STARTUP, restartCount=1), failed)
    assert not after.usual


@pytest.mark.parametrize(("count", "usual"), [(2, True), (3, False)])
def test_a_readiness_probe_that_fails_is_usual_as_often_as_its_threshold_allows(count, usual):
    failed = event(f"Readiness probe failed: {REFUSED}", count)
    (found,) = told(pod(READINESS, started=True), failed)
    assert found.usual is usual
    (found,) = told(pod(started=True), failed)  # Kubernetes' own threshold
    assert found.usual is usual


def test_failures_with_different_messages_count_together():
    events = [event(f"Readiness probe failed: {n} ms", second=n) for n in range(3)]
    (found,) = told(pod(READINESS, started=True), *events)
    assert found == Trouble("Unhealthy: Readiness probe failed: 2 ms")


@pytest.mark.parametrize(
    "other",
    [
        event("Liveness probe failed: x"),
        event("x", reason="FailedMount"),
        event("Startup probe failed: x", involvedObject={"uid": "u1"}),
    ],
)
def test_whatever_else_is_warned_of_is_told(other):
    (found,) = told(pod(STARTUP | READINESS), other)
    assert not found.usual


@pytest.mark.parametrize("found", [{}, {"spec": None, "status": None}, {"spec": {"containers": 1}}])
def test_a_pod_without_the_usual_fields_is_read(found):
    assert not list(podprobes.starting(found))
    assert told(found, event("Readiness probe failed: x", count=9))
