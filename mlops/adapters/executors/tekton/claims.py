"""Claims that one run had made and another goes on with: they live as long as either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import CLAIM


def share(cluster: Cluster, document: Mapping[str, Any]) -> None:
    """Let the run that `document` created own the claims that it mounts, beside those who do."""
    kind = cluster.kind(document)
    run = cluster.get(kind, document["metadata"]["name"])
    if run is None:
        return
    owner = {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "name": run["metadata"]["name"],
        "uid": run["metadata"]["uid"],
    }
    for workspace in document["spec"].get("workspaces") or ():
        name = str((workspace.get("persistentVolumeClaim") or {}).get("claimName") or "")
        claim = cluster.get(CLAIM, name) if name else None
        owners = (claim or {}).get("metadata", {}).get("ownerReferences") or []
        if owners:  # none: somebody else's, who keeps it himself
            plain = [{k: v for k, v in each.items() if k != "controller"} for each in owners]
            cluster.merge(CLAIM, name, {"metadata": {"ownerReferences": [*plain, owner]}})
