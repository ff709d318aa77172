"""Why the pods of a run do not begin: asked of the pods, of their claims, and of what befell these.

Tekton repeats of it what the scheduler says, and nothing of volumes and mounts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import CLAIM, EVENT, POD
from mlops.adapters.executors.tekton.standing import Standing
from mlops.errors import ForbiddenError
from mlops.tekton import podstatus

Json = Mapping[str, Any]
_SILENT = 2.0  # seconds that a pod may take to begin
_PAUSE = 3.0  # seconds until it is asked again
_UNBOUND = "PersistentVolumeClaim"  # of the scheduler's message where a pod waits for volumes


class Asking:
    """Asks of the pods of one run, now and then; of none any more where that is forbidden."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._due: dict[str, float] = {}
        self._forbidden = False

    def again(self, standing: Standing, *, silent: float = _SILENT) -> bool:
        """Ask of those that have not begun for `silent` seconds; whether another reason is known now."""
        if self._forbidden:
            return False
        now, news = time.monotonic(), False
        for taskrun, pod in standing.waiting():
            if now < self._due.setdefault(taskrun, now + silent):
                continue
            self._due[taskrun] = now + _PAUSE
            try:
                told = reason(self._cluster, pod)
            except ForbiddenError:
                self._forbidden = True
                return standing.unasked()
            news = standing.lacks(taskrun, told) or news
        return news


def reason(cluster: Cluster, name: str) -> str:
    """Why a pod does not begin, as far as is known; empty where it only just begins. Raises
    ForbiddenError where pods may not be asked."""
    pod = cluster.get(POD, name)
    if pod is None:
        return ""
    found = [each.text for each in podstatus.troubles(pod)]
    if not found or any(_UNBOUND in each for each in found):
        with contextlib.suppress(ForbiddenError):  # the pod's own word must do
            found += _befell(cluster, pod, name)
    return "; ".join(dict.fromkeys(found))


def _befell(cluster: Cluster, pod: Json, name: str) -> Iterator[str]:
    """What the cluster says of claims that have no volume, and of the pod. What befell a claim that has one
    is of the time before."""
    for claim in podstatus.claims(pod):
        with contextlib.suppress(ForbiddenError):
            if podstatus.bound(cluster.get(CLAIM, claim)):
                continue
        for told in podstatus.befell(_events(cluster, "PersistentVolumeClaim", claim)):
            yield f"claim {claim}: {told}"
    yield from podstatus.befell(_events(cluster, "Pod", name))


def _events(cluster: Cluster, kind: str, name: str) -> list[dict[str, Any]]:
    about = f"involvedObject.kind={kind},involvedObject.name={name}"
    return cluster.list(EVENT, [("fieldSelector", about)])[0]
