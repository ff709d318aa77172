"""Objects of an overlay on a cluster: applied server-side, listed in an inventory, pruned by it, awaited.

The inventory is a ConfigMap of the overlay's namespace that names each object which the last
deployment applied, as the tools for GitOps do it: what an overlay no longer has is found without
asking every kind that a cluster knows.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlops import documents
from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import POD, Kind
from mlops.domain.deployment import Deployed, Object, Progress
from mlops.errors import ClusterError, ConfigError

Json = Mapping[str, Any]
ENVIRONMENT = "dev.mlops/environment"
COMMIT = "dev.mlops/commit"
_CONFIG_MAP = Kind("ConfigMap", "v1", "configmaps")
_NAMESPACE = Kind("Namespace", "v1", "namespaces", namespaced=False)
_OBJECTS = "objects"
# of an object, what the API writes and no overlay says
_OF_THE_API = (
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
)
# first what others need: namespaces, then what pods refer to
_FIRST = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ConfigMap",
    "Secret",
    "NetworkPolicy",
)
_ROLLED = ("Deployment", "StatefulSet", "DaemonSet")


class Deployer:
    """Meets `ports.Deployer`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.server = cluster.server

    def namespaces(self, wanted: Iterable[Json]) -> tuple[str, ...]:
        """The namespaces that documents are for and that the cluster lacks."""
        named = {self._namespace(each) for each in wanted if self._cluster.kind(each).namespaced}
        made = {each["metadata"]["name"] for each in wanted if each["kind"] == "Namespace"}
        return tuple(
            name for name in sorted(named - made) if self._cluster.get(_NAMESPACE, name) is None
        )

    def create_namespace(self, name: str) -> None:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self._cluster.create(document)

    def apply(
        self, wanted: Sequence[Json], environment: str, *, dry_run: bool, force: bool
    ) -> Iterator[Deployed]:
        """Apply the documents of an environment, those first that others need.

        With `dry_run` the API says what would come of it. Raises ConfigError where it refuses one,
        RefusedError where somebody else owns a field, and not with `force`.
        """
        for document in sorted(wanted, key=_rank):
            marked = _marked(document, environment)
            kind = self._cluster.kind(marked)
            name, namespace = str(marked["metadata"]["name"]), self._namespace(marked)
            before = self._cluster.get(kind, name, namespace if kind.namespaced else "")
            after = self._cluster.apply(marked, dry_run=dry_run, force=force)
            yield Deployed(
                Object(kind.version, kind.name, namespace if kind.namespaced else "", name),
                _change(before, after),
                _diff(before, after, f"{kind.name}/{name}"),
            )

    def inventory(self, environment: str, namespace: str) -> tuple[Object, ...]:
        """What the last deployment of an environment applied; empty where there was none."""
        found = self._cluster.get(_CONFIG_MAP, _inventory(environment), namespace)
        try:
            listed = json.loads(((found or {}).get("data") or {}).get(_OBJECTS) or "[]")
            return tuple(Object(*map(str, each)) for each in listed)
        except (ValueError, TypeError) as exc:
            raise ClusterError(
                f"ConfigMap {namespace}/{_inventory(environment)} is no inventory of mlops",
                hint="Remove it; objects that an overlay no longer has stay then",
            ) from exc

    def write_inventory(
        self, environment: str, namespace: str, found: Sequence[Object], about: Mapping[str, str]
    ) -> None:
        """Keep what was applied, and `about` it: the commit, by whom."""
        listed = [[each.version, each.kind, each.namespace, each.name] for each in found]
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": _inventory(environment),
                "namespace": namespace,
                "labels": {ENVIRONMENT: environment, "app.kubernetes.io/managed-by": "mlops"},
            },
            "data": {_OBJECTS: json.dumps(sorted(listed)), **about},
        }
        self._cluster.apply(document, force=True)

    def about(self, environment: str, namespace: str) -> Mapping[str, str]:
        """What was kept of the last deployment beside its objects; empty where there was none."""
        found = self._cluster.get(_CONFIG_MAP, _inventory(environment), namespace)
        data = (found or {}).get("data") or {}
        return {str(key): str(value) for key, value in data.items() if key != _OBJECTS}

    def remove(self, which: Object, environment: str, *, dry_run: bool) -> bool:
        """Remove an object that an overlay no longer has, where it still is the environment's."""
        kind = self._cluster.kind({"apiVersion": which.version, "kind": which.kind})
        found = self._cluster.get(kind, which.name, which.namespace)
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        if found is None or labels.get(ENVIRONMENT) != environment:
            return False
        return dry_run or self._cluster.delete(kind, which.name, which.namespace)

    def progress(self, which: Object) -> Progress:
        """How far the rollout of a Deployment, StatefulSet or DaemonSet is; what has none is done."""
        if which.kind not in _ROLLED:
            return Progress(done=True)
        kind = self._cluster.kind({"apiVersion": which.version, "kind": which.kind})
        found = self._cluster.get(kind, which.name, which.namespace)
        if found is None:
            return Progress(failed=True, message=f"{which} was removed")
        return _progress(found, self._troubles(found, which.namespace))

    def _troubles(self, found: Json, namespace: str) -> str:
        """Why pods of a workload do not run, in a line."""
        said = [
            f"{pod['metadata']['name']}: {trouble}"
            for pod in self._pods(found, namespace)
            for trouble in _troubles(pod.get("status") or {})
        ]
        return "; ".join(dict.fromkeys(said))

    def running(self, which: Object) -> tuple[tuple[str, bool], ...]:
        """Of the pods of a workload: the image that each container runs, by the digest that the node
        says, and whether it is ready."""
        kind = self._cluster.kind({"apiVersion": which.version, "kind": which.kind})
        found = self._cluster.get(kind, which.name, which.namespace)
        if found is None:
            return ()
        statuses = [
            each
            for pod in self._pods(found, which.namespace)
            if not pod["metadata"].get("deletionTimestamp")
            for each in (pod.get("status") or {}).get("containerStatuses") or ()
        ]
        return tuple((str(each.get("imageID") or ""), bool(each.get("ready"))) for each in statuses)

    def managers(self, which: Object) -> tuple[str, ...]:
        """Who wrote the fields of an object, besides us and the cluster itself."""
        kind = self._cluster.kind({"apiVersion": which.version, "kind": which.kind})
        found = self._cluster.get(kind, which.name, which.namespace) or {}
        listed = (found.get("metadata") or {}).get("managedFields") or ()
        names = {str(each.get("manager")) for each in listed if not each.get("subresource")}
        return tuple(sorted(names - {"mlops", "kube-controller-manager"}))

    def _pods(self, found: Json, namespace: str) -> list[dict[str, Any]]:
        labels = ((found.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        if not selector:
            return []
        pods, _ = self._cluster.list(POD, [("labelSelector", selector)], namespace)
        return pods

    def _namespace(self, document: Json) -> str:
        return str(document["metadata"].get("namespace") or self._cluster.namespace)


def _troubles(status: Json) -> Iterator[str]:
    """Why a pod does not run."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield str(condition.get("message") or condition.get("reason"))
    for each in status.get("containerStatuses") or ():
        state = each.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            yield f"{waiting['reason']}: {waiting.get('message') or ''}".rstrip(": ")
        elif ended:
            yield f"ended with {ended.get('exitCode')}"


def _inventory(environment: str) -> str:
    return f"mlops-deployed-{environment}"


def _rank(document: Json) -> tuple[int, str, str]:
    kind = str(document.get("kind"))
    first = _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
    return (first, kind, str(document["metadata"].get("name")))


def _marked(document: Json, environment: str) -> dict[str, Any]:
    found = copy.deepcopy(dict(document))
    labels = found["metadata"].setdefault("labels", {})
    if not isinstance(labels, dict):
        raise ConfigError(f"{found.get('kind')} {found['metadata'].get('name')}: labels is no map")
    labels[ENVIRONMENT] = environment
    return found


def _change(before: Json | None, after: Json) -> str:
    if before is None:
        return "created"
    return "unchanged" if _said(before) == _said(after) else "configured"


def _said(found: Json) -> dict[str, Any]:
    """An object without what the API keeps in it."""
    about = {k: v for k, v in found.get("metadata", {}).items() if k not in _OF_THE_API}
    return {**{k: v for k, v in found.items() if k != "status"}, "metadata": about}


def _diff(before: Json | None, after: Json, name: str) -> str:
    old = documents.dump(_hidden(_said(before))).splitlines(keepends=True) if before else []
    new = documents.dump(_hidden(_said(after))).splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"))


def _hidden(found: dict[str, Any]) -> dict[str, Any]:
    """A Secret's values are not for eyes."""
    if found.get("kind") != "Secret":
        return found
    keys = ("data", "stringData")
    return {k: (dict.fromkeys(v, "***") if k in keys and v else v) for k, v in found.items()}


def _progress(found: Json, troubles: str) -> Progress:
    spec, status = found.get("spec") or {}, found.get("status") or {}
    current = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
    for condition in status.get("conditions") or ():
        late = condition.get("reason") == "ProgressDeadlineExceeded"
        if current and condition.get("type") == "Progressing" and late:
            return Progress(failed=True, message=troubles or str(condition.get("message") or ""))
    if found.get("kind") == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        updated, ready = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
        total = wanted
    else:
        wanted = spec.get("replicas", 1)
        updated = status.get("updatedReplicas", 0)
        ready = status.get("availableReplicas", status.get("readyReplicas", 0))
        total = status.get("replicas", 0)
    done = current and updated >= wanted and ready >= wanted and total <= wanted
    told = f"{ready} of {wanted} ready" if updated >= wanted else f"{updated} of {wanted} updated"
    return Progress(done=done, message=f"{told}{f': {troubles}' if troubles and not done else ''}")
