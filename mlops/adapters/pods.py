"""Whether this runs in a pod of a cluster, where advice for a person's own machine would mislead."""

from __future__ import annotations

import os

GUIDE = "docs/how-to/use-a-cluster.md"


def inside() -> bool:
    """Whether it does: the kubelet gives this variable to every container."""
    return "KUBERNETES_SERVICE_HOST" in os.environ
