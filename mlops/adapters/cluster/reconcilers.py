"""Argo CD and Flux, told that there is something new: they look at once instead of at their next round.

Argo CD: the annotation `argocd.argoproj.io/refresh` of an Application. Flux: `reconcile.fluxcd.io/requestedAt`
of a GitRepository and of the Kustomizations that it is the source of.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import Kind
from mlops.domain import giturl

Json = Mapping[str, Any]
APPLICATION = Kind("Application", "argoproj.io/v1alpha1", "applications")
KUSTOMIZATION = Kind("Kustomization", "kustomize.toolkit.fluxcd.io/v1", "kustomizations")
GIT_REPOSITORY = Kind("GitRepository", "source.toolkit.fluxcd.io/v1", "gitrepositories")
_REFRESH = "argocd.argoproj.io/refresh"
_REQUESTED = "reconcile.fluxcd.io/requestedAt"


def nudge(cluster: Cluster, url: str, paths: tuple[str, ...], now: datetime) -> tuple[str, ...]:
    """Tell whatever reconciles those directories of a repository to look now; what was told.

    Raises ClusterError where the cluster cannot be asked; neither being installed is none.
    """
    return (*_argo(cluster, url, paths), *_flux(cluster, url, paths, now))


def _argo(cluster: Cluster, url: str, paths: tuple[str, ...]) -> Iterator[str]:
    for each in cluster.everywhere(APPLICATION):
        spec = each.get("spec") or {}
        sources = [spec.get("source") or {}, *(spec.get("sources") or ())]
        if any(_of(source.get("repoURL"), source.get("path"), url, paths) for source in sources):
            yield _mark(cluster, APPLICATION, each, {_REFRESH: "normal"})


def _flux(cluster: Cluster, url: str, paths: tuple[str, ...], now: datetime) -> Iterator[str]:
    repositories = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each
        for each in cluster.everywhere(GIT_REPOSITORY)
        if giturl.same(str((each.get("spec") or {}).get("url") or ""), url)
    }
    if not repositories:
        return
    mark = {_REQUESTED: now.isoformat()}
    told = set()
    for each in cluster.everywhere(KUSTOMIZATION):
        spec, namespace = each.get("spec") or {}, each["metadata"]["namespace"]
        source = spec.get("sourceRef") or {}
        key = (source.get("namespace") or namespace, source.get("name"))
        if source.get("kind") != "GitRepository" or key not in repositories:
            continue
        if posixpath.normpath(str(spec.get("path") or ".")).lstrip("/") not in paths:
            continue
        if key not in told:  # the source first: what it is for follows it
            told.add(key)
            yield _mark(cluster, GIT_REPOSITORY, repositories[key], mark)
        yield _mark(cluster, KUSTOMIZATION, each, mark)


def _of(found: Any, path: Any, url: str, paths: tuple[str, ...]) -> bool:
    return giturl.same(str(found or ""), url) and posixpath.normpath(str(path or ".")) in paths


def _mark(cluster: Cluster, kind: Kind, found: Json, annotations: Mapping[str, str]) -> str:
    about = found["metadata"]
    patch = {"metadata": {"annotations": dict(annotations)}}
    cluster.merge(kind, about["name"], patch, about["namespace"])
    return f"{kind.name} {about['namespace']}/{about['name']}"
