"""Which cluster, where in it, and how the pods of a run are to be there."""

from __future__ import annotations

from dataclasses import dataclass

SIZE = "10Gi"  # of a run's workspace, where mlops.yaml says none
USER = 65532  # that pods run as: nobody in particular, and not root


@dataclass(frozen=True, slots=True)
class Access:
    """A context and namespace of a kubeconfig; empty texts stand for what kubectl would take."""

    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """What mlops.yaml says of the cluster that the executor `tekton` uses. `repository` is the project's
    URL as pods reach it, where that is not the remote's."""

    context: str = ""
    namespace: str = ""
    user: int = USER
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Pods:
    """How the pods of a run are to be, beside what its tasks say.

    `size` is a Kubernetes quantity; an empty `storage_class` is the cluster's default. All tasks share
    one claim, so all run on one node: `node_selector` and `tolerations` are those of the whole run.
    `user` 0 leaves the user to the cluster.
    """

    size: str = SIZE
    storage_class: str = ""
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[tuple[tuple[str, str], ...], ...] = ()
    user: int = USER
