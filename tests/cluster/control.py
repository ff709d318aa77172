"""Parts of the cluster, stopped and started by tests."""

from __future__ import annotations

from tests.cluster import building, kubernetes, processes, tekton


def restart(name: str) -> None:
    """Kill a part of the cluster, and start it again."""
    processes.stop(name, at_once=True)
    if name == kubernetes.API_SERVER:
        kubernetes.api_server(building.binaries())
    else:
        tekton.start_one(name, building.binaries())
