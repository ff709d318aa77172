"""Objects of an overlay on a cluster: applied server-side, listed in an inventory, pruned by it.

The inventory is a ConfigMap of the overlay's namespace that names each object which the last
deployment applied, as the tools for GitOps do it: what an overlay no longer has is found without
asking every kind that a cluster knows. It is written before anything is applied, so that a
deployment that is killed leaves nothing unknown, and always over the version that was read, so that
of two deployments at once one hears of the other.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlops.adapters.cluster import differing
from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import Kind
from mlops.adapters.cluster.workloads import Workloads
from mlops.domain.deployment import Deployed, Inventory, Object, Owner, Progress, Running
from mlops.errors import ClusterError, ConfigError, ForbiddenError, RefusedError

Json = Mapping[str, Any]
ENVIRONMENT = "dev.mlops/environment"
PROJECT = "dev.mlops/project"
_CONFIG_MAP = Kind("ConfigMap", "v1", "configmaps")
_NAMESPACE = Kind("Namespace", "v1", "namespaces", namespaced=False)
_OBJECTS = "objects"
# first what others need: namespaces, then what pods refer to
_FIRST = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ConfigMap",
    "Secret",
    "NetworkPolicy",
)


class Deployer:
    """Meets `ports.Deployer`. `warn` is called with what the API warns of."""

    def __init__(self, cluster: Cluster, warn: Callable[[str], None] = lambda _: None) -> None:
        self._cluster = cluster
        self._workloads = Workloads(cluster)
        self.server = cluster.server
        cluster.warn = warn

    def missing(self, wanted: Sequence[Json]) -> tuple[str, ...]:
        """The namespaces that documents are for and that the cluster lacks.

        Raises RefusedError where one is just being removed."""
        named = {self._namespace(each) for each in wanted if self._namespaced(each)}
        return tuple(name for name in sorted(named) if not self._there(name))

    def create_namespace(self, name: str) -> None:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self._cluster.create(document)

    def objects(self, wanted: Sequence[Json]) -> tuple[Object, ...]:
        """What documents are called on the cluster; those of kinds that it does not know left out."""
        found = []
        for each in wanted:
            with contextlib.suppress(ConfigError):  # of a definition that comes along
                found.append(self._object(each))
        return tuple(found)

    def apply(
        self, wanted: Sequence[Json], owner: Owner, *, dry_run: bool, force: bool
    ) -> Iterator[Deployed]:
        """Apply the documents of an environment, those first that others need.

        With `dry_run` the API says what would come of it, of what is for a namespace that is there.
        Raises ConfigError where it refuses one, RefusedError where somebody else owns a field or
        the object is another environment's, and not with `force`.
        """
        away = set(self.missing(wanted)) if dry_run else set[str]()
        for document in sorted(wanted, key=_rank):
            marked, which = _marked(document, owner), self._object(document)
            if which.namespace in away:
                yield Deployed(which, "created", differing.diff(None, marked))
                continue
            before = self._cluster.get(self._cluster.kind(marked), which.name, which.namespace)
            if before is not None and not force:
                _require_ours(before, owner, which)
            after = self._applied(marked, which, dry_run=dry_run, force=force)
            shown = marked if before is None else after  # without the API's defaults
            yield Deployed(which, differing.change(before, after), differing.diff(before, shown))

    def inventory(self, owner: Owner, namespace: str) -> Inventory:
        """What the last deployment of an environment applied; empty where there was none."""
        name = _inventory(owner)
        found = self._cluster.get(_CONFIG_MAP, name, namespace)
        if found is None:
            return Inventory()
        data = {str(key): str(value) for key, value in (found.get("data") or {}).items()}
        try:
            listed = tuple(Object(*map(str, each)) for each in json.loads(data[_OBJECTS]))
        except (KeyError, ValueError, TypeError) as exc:
            raise ClusterError(
                f"ConfigMap {namespace}/{name} is no inventory of mlops",
                hint="Remove it; objects that an overlay no longer has stay then",
            ) from exc
        commit, actor, time = (data.get(key, "") for key in ("commit", "actor", "time"))
        version = str(found["metadata"]["resourceVersion"])
        return Inventory(listed, commit, actor, time, version)

    def keep(self, found: Inventory, owner: Owner, namespace: str) -> Inventory | None:
        """Keep what is applied, where the inventory still has the version that `found` names; as it is
        kept, or None where another deployment wrote it meanwhile."""
        listed = [[each.version, each.kind, each.namespace, each.name] for each in found.objects]
        about = {"commit": found.commit, "actor": found.actor, "time": found.time}
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": _inventory(owner),
                "namespace": namespace or self._cluster.namespace,
                "labels": {**_labels(owner), "app.kubernetes.io/managed-by": "mlops"},
            },
            "data": {_OBJECTS: json.dumps(sorted(listed)), **about},
        }
        if found.version:
            document["metadata"]["resourceVersion"] = found.version  # type: ignore[index]
            kept = self._cluster.replace(document)
        else:
            kept = self._cluster.create(document)
        if kept is None:
            return None
        version = str(kept["metadata"]["resourceVersion"])
        return Inventory(found.objects, found.commit, found.actor, found.time, version)

    def remove(self, which: Object, owner: Owner, *, dry_run: bool) -> Deployed | None:
        """Remove an object that an overlay no longer has; None where it is gone, or no longer the
        environment's. A namespace stays, with all that others keep in it."""
        kind = self._cluster.kind({"apiVersion": which.version, "kind": which.kind})
        found = self._cluster.get(kind, which.name, which.namespace)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return None
        if which.kind == "Namespace":
            return Deployed(which, "kept")
        labels = found["metadata"].get("labels") or {}
        if any(labels.get(key) != value for key, value in _labels(owner).items()):
            return None
        if not dry_run:
            self._cluster.delete(kind, which.name, which.namespace)
        return Deployed(which, "removed", differing.diff(found, None))

    def progress(self, which: Object) -> Progress:
        """How far the rollout of a Deployment, StatefulSet or DaemonSet is; what has none is done."""
        return self._workloads.progress(which)

    def running(self, which: Object) -> tuple[Running, ...]:
        return self._workloads.running(which)

    def managers(self, which: Object) -> tuple[str, ...]:
        """Who wrote the fields of an object, besides us and the cluster itself."""
        return self._workloads.managers(which)

    def _object(self, document: Json) -> Object:
        kind = self._cluster.kind(document)
        namespace = self._namespace(document) if kind.namespaced else ""
        return Object(kind.version, kind.name, namespace, str(document["metadata"]["name"]))

    def _applied(self, marked: Json, which: Object, *, dry_run: bool, force: bool) -> Json:
        try:
            return self._cluster.apply(marked, dry_run=dry_run, force=force)
        except ForbiddenError as exc:
            if which.kind != "Namespace":
                raise
            raise ForbiddenError(
                exc.message,
                hint="Take it out of the overlay's resources, where others make namespaces for you",
            ) from exc

    def _there(self, namespace: str) -> bool:
        try:
            found = self._cluster.get(_NAMESPACE, namespace)
        except ForbiddenError:  # who may only write inside it learns there whether it is
            return True
        if found is not None and (found.get("status") or {}).get("phase") == "Terminating":
            raise RefusedError(
                f"the namespace {namespace} is being removed, with all that is in it",
                hint=f"Wait until it is gone: kubectl wait --for=delete namespace/{namespace}",
            )
        return found is not None

    def _namespaced(self, document: Json) -> bool:
        try:
            return self._cluster.kind(document).namespaced
        except ConfigError:  # perhaps of a definition that comes along; told when it is applied
            return bool(document["metadata"].get("namespace"))

    def _namespace(self, document: Json) -> str:
        return str(document["metadata"].get("namespace") or self._cluster.namespace)


def _inventory(owner: Owner) -> str:
    return f"mlops-deployed-{owner.project}-{owner.environment}"


def _labels(owner: Owner) -> dict[str, str]:
    return {PROJECT: owner.project, ENVIRONMENT: owner.environment}


def _rank(document: Json) -> tuple[int, str, str]:
    kind = str(document.get("kind"))
    first = _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
    return (first, kind, str(document["metadata"].get("name")))


def _marked(document: Json, owner: Owner) -> dict[str, Any]:
    """A document with whose it is; a namespace may be several's."""
    found = copy.deepcopy(dict(document))
    if found.get("kind") == "Namespace":
        return found
    labels = found["metadata"].setdefault("labels", {})
    if not isinstance(labels, dict):
        raise ConfigError(f"{found.get('kind')} {found['metadata'].get('name')}: labels is no map")
    labels |= _labels(owner)
    return found


def _require_ours(found: Json, owner: Owner, which: Object) -> None:
    labels = found["metadata"].get("labels") or {}
    theirs = Owner(str(labels.get(PROJECT)), str(labels.get(ENVIRONMENT)))
    if PROJECT in labels and ENVIRONMENT in labels and theirs != owner:
        raise RefusedError(
            f"{which} belongs to {theirs.environment} of {theirs.project}",
            hint="Give each environment a namespace of its own, or take the object over: --force",
        )
