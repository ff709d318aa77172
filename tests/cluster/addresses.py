"""The addresses of a node. They exist in its own network namespace only, so every cluster has the same."""

import os

BRIDGE = "cni0"
# the node itself: API server, kubelet and registry, as pods see them; with kind this machine, where the registry is
HOST = os.environ.get("MLOPS_TEST_HOST", "10.244.0.1")
PODS = "10.244.0.0/16"
SERVICES = "10.245.0.0/16"
API_SERVICE = "10.245.0.1"  # the first of SERVICES is always the API server's

API = f"https://{HOST}:6443"
REGISTRY = f"{HOST}:5000"
ETCD = "http://127.0.0.1:2379"
NODE = "node"
