"""Where the test cluster keeps what it has, and which addresses it uses.

Everything lives in a network namespace of its own, without a way out: a bridge for node and pods, and
one cable to this machine, over which tests reach the API and the registry, and pods the servers of tests.
"""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-cluster"
RUN = CACHE / "run"  # of the one cluster that there is
LOGS = RUN / "logs"
KUBECONFIG = RUN / "admin.kubeconfig"

NAMESPACE = "mlops-cluster"  # of the network
BRIDGE = "mlops0"
CABLE = ("mlops-out", "mlops-in")  # this machine's end, the cluster's end
HOST = "10.244.90.1"  # this machine, as pods reach it
CABLE_IN = "10.244.90.2"
CABLE_NET = "10.244.90.0/30"
NODE = "10.244.91.1"  # the node, for everybody
PODS = "10.244.91.0/24"
SERVICES = "10.96.91.0/24"
API_SERVICE = "10.96.91.1"

API = f"https://{NODE}:6443"
REGISTRY = f"{NODE}:5000"
ETCD = "http://127.0.0.1:2379"
NODE_NAME = "mlops"


class MissingError(Exception):
    """Something that the cluster needs is not on this machine; the text says what, and how to get it."""
