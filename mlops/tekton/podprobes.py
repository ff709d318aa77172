"""Probes of pods that start: what is usual then, and how long it may take.

core/v1 Probe and ContainerStatus; the kubelet's events of the reason Unhealthy name the container by their
`fieldPath`. Nothing is presumed of an object that a cluster gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlops.tekton.loose import Json, mapping, mappings

_FIELD = re.compile(r"spec\.containers\{(.+)\}\Z")
_EVERY, _FAILURES = 10, 3  # where a probe does not say


def starting(pod: Json) -> Iterator[str]:
    """Which containers run, and have not passed their startup probe, with the time that it gives them."""
    for spec in mappings(mapping(pod, "spec").get("containers")):
        probe, status = mapping(spec, "startupProbe"), _status(pod, spec.get("name"))
        if probe and mapping(status, "state").get("running") and not status.get("started"):
            times = _number(probe, "periodSeconds", _EVERY) * _failures(probe)
            allowed = _number(probe, "initialDelaySeconds", 0) + times
            yield f"{spec.get('name')} starts, for which its startup probe gives it {allowed} s"


def usual(pod: Json, event: Json, failures: int) -> bool:
    """Whether a warning tells of a probe that fails because a container only just starts: of its startup
    probe, or of its readiness probe as long as that failed less often than makes it unready."""
    named = _FIELD.match(str(mapping(event, "involvedObject").get("fieldPath") or ""))
    if event.get("reason") != "Unhealthy" or named is None:
        return False
    if _status(pod, named[1]).get("restartCount"):
        return False
    kind = probe_of(event)
    if kind == "Readiness":
        spec = _named(mapping(pod, "spec").get("containers"), named[1])
        return failures < _failures(mapping(spec, "readinessProbe"))
    return kind == "Startup"


def probe_of(event: Json) -> str:
    """Which probe a warning is about: Startup, Readiness, Liveness; empty where it is none."""
    first, _, rest = str(event.get("message") or "").partition(" ")
    return first if rest.startswith("probe ") else ""


def count(event: Json) -> int:
    """How often it happened, by an event's own count."""
    series = mapping(event, "series").get("count")
    found = series if isinstance(series, int) else event.get("count")
    return found if isinstance(found, int) else 1


def _status(pod: Json, name: Any) -> Json:
    return _named(mapping(pod, "status").get("containerStatuses"), name)


def _named(found: Any, name: Any) -> Json:
    return next((each for each in mappings(found) if each.get("name") == name), {})


def _failures(probe: Json) -> int:
    return _number(probe, "failureThreshold", _FAILURES)


def _number(probe: Json, key: str, usually: int) -> int:
    found = probe.get(key)
    return found if isinstance(found, int) else usually
