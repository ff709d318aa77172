"""Builds what `mlops doctor` asks of a cluster, and of what the pods of runs ask there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mlops.adapters.cluster import connect
from mlops.adapters.cluster.examining import examine
from mlops.adapters.registry import settings
from mlops.cli import wiring_cluster
from mlops.cli.wiring import Opened
from mlops.domain import giturl
from mlops.domain.hosts import hostname, loopback
from mlops.engine import clusterdoctor, doctor
from mlops.engine.clusterlogins import OWN, Logins, Place, Setting
from mlops.engine.doctor import Finding
from mlops.errors import MlopsError
from mlops.manifests.pods import ACCOUNTS

_PATIENCE = 3.0  # seconds that the cluster may be away
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")


def examined(opened: Opened, tool: str) -> Iterator[Finding]:
    """What `mlops doctor` finds of the cluster that a project uses. Never fails: what cannot be asked is
    a finding too."""
    project = opened.project
    try:
        if opened.on_cluster:
            wiring_cluster.require_reach(project, opened.repository.remote_url() or "")
        wanted = clusterdoctor.Wanted(
            opened.on_cluster,
            tuple(sorted(set(ACCOUNTS.values()))),
            tuple(model.workspace.storage_class for model in project.models),
            tool,
            wiring_cluster.installs(opened.root),
            _logins(opened) if opened.on_cluster else Logins(),
        )
        cluster = connect(wiring_cluster.access(project), patience=_PATIENCE)
        yield from clusterdoctor.findings(examine(cluster, clusterdoctor.questions(wanted)), wanted)
    except MlopsError as exc:
        remedy = exc.hint or "kubectl cluster-info"
        yield doctor.Finding("cluster", False, opened.on_cluster, exc.message, remedy)


def _logins(opened: Opened) -> Logins:
    """What tasks ask, and whether it asks who they are: all is asked at once, since some may be silent."""
    from mlops.adapters import logins  # noqa: PLC0415 - a heavy library

    project = opened.project
    own = wiring_cluster.address(project, opened.repository.remote_url() or "")
    gitops = giturl.without_login(project.gitops.url)
    urls = {own: OWN} | ({gitops: "gitops.url"} if gitops else {})
    pushed = gitops or own
    with ThreadPoolExecutor() as pool:
        read = {url: pool.submit(partial(_git, url, logins.READ)) for url in urls}
        push = pool.submit(partial(_git, pushed, logins.PUSH))
        images = pool.submit(partial(logins.of_registry, project.registry))
        return Logins(
            tuple(Place(url, found.result(), urls[url]) for url, found in read.items()),
            (Place(pushed, push.result(), urls[pushed]),),
            Place(project.registry, images.result(), unheard=_unheard(project.registry)),
            tuple(_settings(project.registry)),
        )


def _git(url: str, service: str) -> bool | None:
    from mlops.adapters import logins  # noqa: PLC0415 - a heavy library

    return True if giturl.by_ssh(url) else logins.of_git(url, service)


def _unheard(registry: str) -> str:
    """What to do where a registry gives no answer to TLS; empty where it is not asked by it."""
    host = registry.partition("/")[0]
    with contextlib.suppress(MlopsError):
        if not settings.find(host).tls:
            return ""
    return settings.plain_advice(host)


def _settings(registry: str) -> Iterator[Setting]:
    """What this shell has, and pods lack."""
    host = registry.partition("/")[0]
    with contextlib.suppress(
        MlopsError
    ):  # certificates that cannot be read, which is told elsewhere
        if not loopback(hostname(host)) and not settings.find(host).tls:
            why = f"the registry {host} speaks plain HTTP"
            yield Setting(settings.PLAIN, host, why, needed=True)
    for name in _INDEXES:
        if os.environ.get(name):
            why = f"{name} here names an index of packages"
            yield Setting(name, "", why, needed=False)
