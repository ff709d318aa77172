"""Deployments, StatefulSets and DaemonSets on a cluster: how far a rollout is, which pods run what.

How `kubectl rollout status` judges, and beside it why the pods of the newest revision do not get ready.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import EVENT, POD, Kind
from mlops.domain.deployment import Object, Progress, Running
from mlops.tekton import podprobes
from mlops.tekton.podstatus import Trouble, troubles

Json = Mapping[str, Any]
_REPLICA_SET = Kind("ReplicaSet", "apps/v1", "replicasets")
_REVISION = Kind("ControllerRevision", "apps/v1", "controllerrevisions")
_NUMBER = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"
_CONTROLLER_HASH = "controller-revision-hash"
_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
_OURS = frozenset({"mlops", "kube-controller-manager", "kubelet"})
_HARMLESS = frozenset({"MissingClusterDNS", "DNSConfigForming"})  # warnings of pods that start
_MOST = 3  # troubles in one message


class Workloads:
    """Looks at the workloads of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def progress(self, which: Object) -> Progress:
        """How far the rollout of a workload is; what has none is done."""
        if which.kind not in _KINDS:
            return Progress(done=True)
        found = self._get(which)
        if found is None:
            return Progress(failed=True, message="is not on the cluster")
        state = _state(found)
        if state.done or (state.failed and state.message):
            return state
        said = list(dict.fromkeys(self._troubles(found, which.namespace)))
        text = _listed([each.text for each in said if not each.usual])
        told = ": ".join(each for each in (state.message, text) if each)
        aside = _listed([each.text for each in said if each.usual])
        if _late(found):
            return Progress(failed=True, message=told, aside=aside)
        stuck = any(each.lasting for each in said)
        return Progress(stuck=stuck, message=told, aside=aside)

    def running(self, which: Object) -> tuple[Running, ...]:
        """The containers of a workload's pods, but for pods that are over or end just now."""
        found = self._get(which)
        if found is None:
            return ()
        return tuple(
            Running(
                str(pod["metadata"]["name"]),
                str(each.get("name") or ""),
                str(each.get("imageID") or ""),
                bool(each.get("ready")),
            )
            for pod in self._pods(found, which.namespace)
            if not pod["metadata"].get("deletionTimestamp")
            and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
            for each in (pod.get("status") or {}).get("containerStatuses") or ()
        )

    def managers(self, which: Object) -> tuple[str, ...]:
        """Who wrote the fields of an object, besides us and the cluster itself."""
        listed = ((self._get(which) or {}).get("metadata") or {}).get("managedFields") or ()
        names = {str(each.get("manager")) for each in listed if each.get("subresource") != "status"}
        return tuple(sorted(names - _OURS))

    def _get(self, which: Object) -> dict[str, Any] | None:
        kind = self._cluster.kind({"apiVersion": which.version, "kind": which.kind})
        return self._cluster.get(kind, which.name, which.namespace)

    def _troubles(self, found: Json, namespace: str) -> Iterator[Trouble]:
        """Why the pods of the newest revision are not there, or do not get ready."""
        for condition in (found.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                text = " ".join(str(condition.get("message") or condition.get("reason")).split())
                yield Trouble(text, "is forbidden" in text)
        pods = self._pods(found, namespace, self._newest(found, namespace))
        quiet = {}
        for pod in pods:
            told = list(troubles(pod))
            yield from told
            if not told and not _ready(pod):
                yield from map(Trouble, podprobes.starting(pod))
                quiet[str(pod["metadata"]["uid"])] = pod
        if quiet or not pods:
            yield from self._events(found, quiet, namespace)

    def _events(self, found: Json, quiet: Mapping[str, Json], namespace: str) -> Iterator[Trouble]:
        """What was warned of last of pods that say nothing themselves, and of a workload without pods."""
        own = str(found["metadata"]["uid"])
        listed = self._cluster.list(EVENT, [("fieldSelector", "type=Warning")], namespace)[0]
        yield from warnings(listed, {own: {}, **quiet})

    def _newest(self, found: Json, namespace: str) -> str:
        """What picks the pods of the newest revision, as a label selector; empty: all."""
        kind, status = found.get("kind"), found.get("status") or {}
        if kind == "StatefulSet":
            revision = str(status.get("updateRevision") or "")
            return f"{_CONTROLLER_HASH}={revision}" if revision else ""
        own = [
            each
            for each in self._cluster.list(
                _REPLICA_SET if kind == "Deployment" else _REVISION,
                [("labelSelector", _selector(found))],
                namespace,
            )[0]
            if _owned(each, found)
        ]
        if kind == "DaemonSet":
            last = max(own, key=lambda each: int(each.get("revision") or 0), default=None)
            label = _CONTROLLER_HASH
        else:
            number = (found["metadata"].get("annotations") or {}).get(_NUMBER)
            last = next((each for each in own if _number(each) == number), None)
            label = _HASH
        value = ((last or {}).get("metadata", {}).get("labels") or {}).get(label)
        return f"{label}={value}" if value else ""

    def _pods(self, found: Json, namespace: str, more: str = "") -> list[dict[str, Any]]:
        selector = _selector(found)
        if not selector:
            return []
        chosen = f"{selector},{more}" if more else selector
        return self._cluster.list(POD, [("labelSelector", chosen)], namespace)[0]


def warnings(events: Iterable[Json], about: Mapping[str, Json]) -> Iterator[Trouble]:
    """What was warned of last of each of some objects, by their uid; they are empty where they are no pods."""
    latest: dict[str, Json] = {}
    failures = Counter[tuple[str, str]]()
    for each in events:
        uid = str((each.get("involvedObject") or {}).get("uid") or "")
        if uid in about and each.get("reason") not in _HARMLESS:
            failures[uid, podprobes.probe_of(each)] += podprobes.count(each)
            latest[uid] = max(each, latest.get(uid, each), key=_when)
    for uid, each in sorted(latest.items()):
        reason, text = (
            str(each.get("reason") or ""),
            " ".join(str(each.get("message") or "").split()),
        )
        often = failures[uid, podprobes.probe_of(each)]
        yield Trouble(
            f"{reason}: {text}",
            reason == "FailedCreate" and "is forbidden" in text,
            podprobes.usual(about[uid], each, often),
        )


def _when(event: Json) -> tuple[str, str, str]:
    when = str(event.get("lastTimestamp") or event.get("eventTime") or "")
    return (when, str(event.get("reason") or ""), str(event.get("message") or ""))


def _listed(said: list[str]) -> str:
    more = f"; and {len(said) - _MOST} more" if len(said) > _MOST else ""
    return "; ".join(said[:_MOST]) + more


def _selector(found: Json) -> str:
    """A workload's own selector, as the API takes it."""
    selector = (found.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels") or {}
    parts = [f"{key}={value}" for key, value in sorted(labels.items())]
    for each in selector.get("matchExpressions") or ():
        key, values = each.get("key"), ",".join(each.get("values") or ())
        match each.get("operator"):
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(f"{key}")
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)


def _owned(each: Json, owner: Json) -> bool:
    owners = each["metadata"].get("ownerReferences") or ()
    return any(found.get("uid") == owner["metadata"]["uid"] for found in owners)


def _number(replica_set: Json) -> Any:
    return (replica_set["metadata"].get("annotations") or {}).get(_NUMBER)


def _ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _current(found: Json) -> bool:
    seen = (found.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= found["metadata"].get("generation", 0))


def _late(found: Json) -> bool:
    """Whether its controller gave a rollout up."""
    conditions = (found.get("status") or {}).get("conditions") or ()
    return _current(found) and any(
        each.get("type") == "Progressing" and each.get("reason") == "ProgressDeadlineExceeded"
        for each in conditions
    )


def _state(found: Json) -> Progress:
    """What the numbers of a workload say."""
    spec, status = found.get("spec") or {}, found.get("status") or {}
    if found.get("kind") == "DaemonSet":
        wanted = total = status.get("desiredNumberScheduled", 0)
        updated, ready = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    else:
        wanted, total = spec.get("replicas", 1), status.get("replicas", 0)
        updated = status.get("updatedReplicas", 0)
        ready = status.get("availableReplicas", status.get("readyReplicas", 0))
    strategy = spec.get("updateStrategy") or {}
    held = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    changed = 0 if strategy.get("type") == "OnDelete" else max(wanted - held, 0)
    if not _current(found):
        return Progress(message="its controller has not seen it yet")
    if updated >= changed and ready >= wanted and total <= wanted:
        return Progress(done=True)
    if spec.get("paused"):
        return Progress(failed=True, message="its rollout is paused: kubectl rollout resume")
    if updated < changed:
        return Progress(message=f"{updated} of {wanted} updated")
    if total > wanted:
        return Progress(message="the former pods still run beside the new")
    return Progress(message=f"{ready} of {wanted} ready")
