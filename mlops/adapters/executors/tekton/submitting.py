"""Putting a run and what it refers to on a cluster, each once.

A run's name is decided beforehand and an annotation holds the digest of what was asked for: where
an object of that name is there already, that tells whether it is this very run, created by a try
whose answer was lost, or another.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import Kind
from mlops.errors import ClusterError, RefusedError, UsageError

Json = Mapping[str, Any]
DIGEST = "dev.mlops/document-sha256"
MANAGED = "app.kubernetes.io/managed-by"
_OURS = "mlops"


def digest(document: Json) -> str:
    """The sha256 (hex) of a document as canonical JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def marked(document: Json, namespace: str) -> dict[str, Any]:
    """The document in a namespace, with its digest, and the label that says whose it is."""
    found = copy.deepcopy(dict(document))
    about = found.setdefault("metadata", {})
    about["namespace"] = about.get("namespace") or namespace
    about["labels"] = {MANAGED: _OURS, **(about.get("labels") or {})}
    about["annotations"] = {**(about.get("annotations") or {}), DIGEST: digest(document)}
    return found


def put(cluster: Cluster, document: Json, *, new: bool = False, dry_run: bool = False) -> Kind:
    """Create an object, or find this very one there. Raises UsageError with `new`, RefusedError else,
    where there is another one of its name."""
    kind = cluster.kind(document)
    mine = marked(document, cluster.namespace)
    name = str(mine["metadata"]["name"])
    if mine["metadata"]["namespace"] != cluster.namespace:
        raise UsageError(
            f"{kind.name} {name} is for the namespace {mine['metadata']['namespace']}, and the runs of"
            f" this command are in {cluster.namespace}",
            hint="Say --namespace, or leave the namespace out of the file",
        )
    if cluster.create(mine, dry_run=dry_run) is not None:
        return kind
    there = cluster.get(kind, name)
    if there is None:
        raise ClusterError(f"{kind.name} {name} was removed while it was created", retryable=True)
    if _digest_of(there) == _digest_of(mine) and not new:
        return kind
    told = f"there is a {kind.name} {name} in namespace {cluster.namespace} already"
    if new:
        hint = f"Look at it: mlops runs show {name}; or choose another name: --name"
        raise UsageError(told, hint=hint)
    raise RefusedError(
        f"{told}, and it is not what this says", hint="Choose another name, or remove it"
    )


def put_others(cluster: Cluster, documents: Sequence[Json], *, dry_run: bool = False) -> None:
    """Create what a run refers to; what is there already, as it stands here, stays."""
    for document in documents:
        put(cluster, document, dry_run=dry_run)


def _digest_of(found: Json) -> str:
    annotations = found["metadata"].get("annotations") or {}
    return str(annotations.get(DIGEST) or "")
