"""Which cluster, and where in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """A context and namespace of a kubeconfig; empty texts stand for what kubectl would take."""

    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """What mlops.yaml says of the cluster that the executor `tekton` uses."""

    context: str = ""
    namespace: str = ""
