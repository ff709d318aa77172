"""A Kubernetes cluster, asked through its API with what the user's kubeconfig or pod gives."""

from mlops.adapters.cluster.access import connect
from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import Kind

__all__ = ["Cluster", "Kind", "connect"]
