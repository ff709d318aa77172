"""Looks at what a cluster has of what runs need. Reads alone, and of Secrets no value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from mlops.adapters.cluster.cluster import Cluster, Json
from mlops.adapters.cluster.kinds import Kind
from mlops.adapters.cluster.workloads import Workloads
from mlops.domain.clusterstate import ClusterState, Kept, Questions, Right, Watching
from mlops.domain.deployment import Object
from mlops.errors import ForbiddenError

TEKTON = "tekton-pipelines"  # the namespace that it has of itself
WATCHER = "mlops-watch"
_NAMESPACE = Kind("Namespace", "v1", "namespaces", namespaced=False)
_CONFIG_MAP = Kind("ConfigMap", "v1", "configmaps")
_ACCOUNT = Kind("ServiceAccount", "v1", "serviceaccounts")
_SECRET = Kind("Secret", "v1", "secrets")
_DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments")
_CLASS = Kind("StorageClass", "storage.k8s.io/v1", "storageclasses", namespaced=False)
_SERVERS = "tekton.dev/git-"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_REVIEWS = "authorization.k8s.io/v1"

_Seen = TypeVar("_Seen")


def examine(cluster: Cluster, questions: Questions) -> ClusterState:
    """Ask for everything, one thing after the other. Raises ClusterError where the API does not answer."""
    version = str((cluster.read("/version", "ask for its version") or {}).get("gitVersion") or "")
    served = cluster.read("/apis/tekton.dev/v1", "ask for Tekton's API") is not None
    labels = _seen(lambda: _labels(cluster))
    return ClusterState(
        server=cluster.server,
        version=version,
        namespace=cluster.namespace,
        labels=labels,
        tekton=_tekton(cluster) if served else "",
        flags=_seen(lambda: _data(cluster, "feature-flags")) if served else None,
        own=frozenset(each for each in questions.own if _allowed(cluster, each)),
        accounts=_seen(lambda: _accounts(cluster, tuple(questions.accounts))),
        rights={
            account: _seen(partial(_rights, cluster, account, rights))
            for account, rights in questions.accounts.items()
        },
        secrets=_seen(lambda: _secrets(cluster, questions.secrets)),
        settings=_seen(lambda: _data(cluster, questions.settings, cluster.namespace)),
        classes=_seen(lambda: _classes(cluster)),
        watcher=_seen(lambda: _watcher(cluster)),
    )


def _seen(ask: Callable[[], _Seen]) -> _Seen | None:
    """The answer; None where it is forbidden to ask."""
    try:
        return ask()
    except ForbiddenError:
        return None


def _labels(cluster: Cluster) -> dict[str, str]:
    """Of the namespace; it has one with its own name, so that none are those of no namespace."""
    found = cluster.get(_NAMESPACE, cluster.namespace) or {}
    return dict((found.get("metadata") or {}).get("labels") or {})


def _tekton(cluster: Cluster) -> str | None:
    return _seen(lambda: _data(cluster, "pipelines-info").get("version")) or None


def _data(cluster: Cluster, name: str, namespace: str = TEKTON) -> dict[str, str]:
    found = cluster.get(_CONFIG_MAP, name, namespace) or {}
    return {str(key): str(value) for key, value in (found.get("data") or {}).items()}


def _accounts(cluster: Cluster, wanted: tuple[str, ...]) -> dict[str, frozenset[str]]:
    """The service accounts that are there, with the Secrets that they list."""
    found = {name: cluster.get(_ACCOUNT, name) for name in wanted}
    return {
        name: frozenset(str(each.get("name")) for each in account.get("secrets") or ())
        for name, account in found.items()
        if account is not None
    }


def _secrets(cluster: Cluster, wanted: tuple[str, ...]) -> dict[str, Kept]:
    found = {name: cluster.outline(_SECRET, name) for name in wanted}
    return {name: _kept(*each) for name, each in found.items() if each is not None}


def _kept(about: Json, shown: Mapping[str, Any]) -> Kept:
    """Of the annotations those alone that are meant: kubectl apply keeps a copy of the values in another."""
    annotations = about.get("annotations") or {}
    servers = [str(annotations[key]) for key in sorted(annotations) if key.startswith(_SERVERS)]
    return Kept(str(shown.get("Type") or ""), tuple(servers))


def _allowed(cluster: Cluster, right: Right) -> bool:
    return _review(cluster, "SelfSubjectAccessReview", right, {})


def _rights(cluster: Cluster, account: str, rights: tuple[Right, ...]) -> frozenset[Right]:
    space = cluster.namespace
    who: Json = {
        "user": f"system:serviceaccount:{space}:{account}",
        "groups": [
            *("system:serviceaccounts", f"system:serviceaccounts:{space}", "system:authenticated")
        ],
    }
    kind = "LocalSubjectAccessReview"
    return frozenset(each for each in rights if _review(cluster, kind, each, who))


def _review(cluster: Cluster, kind: str, right: Right, who: Json) -> bool:
    group, resource, sub = right.resource
    asked = {"namespace": cluster.namespace, "verb": right.verb, "group": group}
    asked |= {"resource": resource} | ({"subresource": sub} if sub else {})
    document = {
        "apiVersion": _REVIEWS,
        "kind": kind,
        "metadata": {"namespace": cluster.namespace} if who else {},
        "spec": {"resourceAttributes": asked, **who},
    }
    answer = cluster.create(document) or {}
    return bool((answer.get("status") or {}).get("allowed"))


def _classes(cluster: Cluster) -> dict[str, bool]:
    found, _ = cluster.list(_CLASS)
    about = [each["metadata"] for each in found]
    return {
        str(each["name"]): (each.get("annotations") or {}).get(_DEFAULT) == "true" for each in about
    }


def _watcher(cluster: Cluster) -> Watching | None:
    found = cluster.get(_DEPLOYMENT, WATCHER)
    if found is None:
        return None
    spec, status = found["spec"], found.get("status") or {}
    asked, available = int(spec.get("replicas", 1)), int(status.get("availableReplicas") or 0)
    trouble = ""
    if available < asked:
        which = Object(_DEPLOYMENT.version, _DEPLOYMENT.name, cluster.namespace, WATCHER)
        progress = _seen(lambda: Workloads(cluster).progress(which))
        trouble = progress.whole if progress is not None else "you may not see its pods"
    image = str(spec["template"]["spec"]["containers"][0]["image"])
    return Watching(image, asked, available, trouble)
