"""From kubeconfig, context or pod to a client.

Credentials, exec plugins and certificates are the business of the `kubernetes` library; nothing of
them is ever put into a message.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kubernetes import config as settings
from kubernetes.client import ApiClient, Configuration
from kubernetes.config.config_exception import ConfigException

from mlops.adapters import pods
from mlops.adapters.cluster.cluster import Cluster
from mlops.domain.cluster import Access
from mlops.errors import ClusterError, ConfigError

_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def connect(access: Access, patience: float = 60.0) -> Cluster:
    """A client for the cluster: of the kubeconfig (`KUBECONFIG`, `~/.kube/config`), or of the pod that
    this runs in; patient for so many seconds where the API is away.

    Asks nothing yet. Raises ConfigError where neither is there or it is wrong."""
    configuration = Configuration()
    configuration.retries = False  # ours: capped, and told
    if _in_pod(access):
        settings.load_incluster_config(client_configuration=configuration)
        usual = _pod_namespace()
    else:
        usual = _load(access, configuration)
    namespace = access.namespace or usual or "default"
    return Cluster(ApiClient(configuration), namespace, patience)


def _in_pod(access: Access) -> bool:
    """A context is one of a kubeconfig's: where there is none, the pod's own account is all there is, and
    mlops.yaml may name the context that people use outside."""
    if access.kubeconfig or os.environ.get("KUBECONFIG"):
        return False
    inside = pods.inside() and (_POD / "token").is_file()
    return inside and not (Path.home() / ".kube" / "config").is_file()


def _pod_namespace() -> str:
    try:
        return (_POD / "namespace").read_text().strip()
    except OSError:
        return ""


def _load(access: Access, configuration: Configuration) -> str:
    """Read the kubeconfig into `configuration`; the namespace of its context."""
    where = access.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        contexts, current = settings.list_kube_config_contexts(access.kubeconfig or None)
        chosen = _context(contexts, current, access.context, where)
        settings.load_kube_config(
            config_file=access.kubeconfig or None,
            context=str(chosen["name"]),
            client_configuration=configuration,
        )
    except ConfigException as exc:
        raise ConfigError(
            f"{where}: {_first_line(exc)}",
            hint="Name another file in KUBECONFIG, or another context: kubectl config get-contexts",
        ) from exc
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ConfigError(f"{where} cannot be read as a kubeconfig: {_first_line(exc)}") from exc
    if not configuration.host:
        raise ClusterError(f"{where} names no server")
    return str((chosen.get("context") or {}).get("namespace") or "")


def _context(contexts: Any, current: Any, wanted: str, where: str) -> dict[str, Any]:
    if not wanted:
        return dict(current)
    for each in contexts:
        if each.get("name") == wanted:
            return dict(each)
    names = ", ".join(str(each.get("name")) for each in contexts)
    raise ConfigError(f"{where} has no context {wanted!r}", hint=f"It has: {names}")


def _first_line(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0].rstrip(".")
