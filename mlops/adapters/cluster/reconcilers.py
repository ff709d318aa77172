"""Argo CD and Flux, told that there is something new: they look at once instead of at their next round.

Argo CD: the annotation `argocd.argoproj.io/refresh` of an Application. Flux: `reconcile.fluxcd.io/requestedAt`
of a GitRepository and of the Kustomizations that it is the source of.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import Kind
from mlops.domain import giturl
from mlops.errors import ForbiddenError

Json = Mapping[str, Any]
APPLICATION = Kind("Application", "argoproj.io/v1alpha1", "applications")
KUSTOMIZATION = Kind("Kustomization", "kustomize.toolkit.fluxcd.io/v1", "kustomizations")
GIT_REPOSITORY = Kind("GitRepository", "source.toolkit.fluxcd.io/v1", "gitrepositories")
# where each is installed by default, for those who may not list all namespaces
_USUAL = {APPLICATION: "argocd", KUSTOMIZATION: "flux-system", GIT_REPOSITORY: "flux-system"}
_REFRESH = "argocd.argoproj.io/refresh"
_REQUESTED = "reconcile.fluxcd.io/requestedAt"


@dataclass(frozen=True, slots=True)
class Place:
    """What was pushed: the URLs that the repository has, the branch, and the directories of overlays."""

    urls: tuple[str, ...]
    branch: str
    paths: tuple[str, ...]

    def repository(self, url: Any) -> bool:
        return any(giturl.same(str(url or ""), each) for each in self.urls)

    def directory(self, path: Any) -> bool:
        return posixpath.normpath(str(path or ".")).lstrip("/") in self.paths

    def revision(self, name: Any) -> bool:
        """Whether who follows this revision sees the push; HEAD and none are the repository's own branch."""
        return str(name or "HEAD").removeprefix("refs/heads/") in ("HEAD", self.branch)


@dataclass(frozen=True, slots=True)
class Told:
    """Which objects were told, and what was forbidden."""

    told: tuple[str, ...]
    faults: tuple[str, ...]


def nudge(cluster: Cluster, place: Place, now: datetime) -> Told:
    """Tell whatever reconciles those directories of a repository to look now.

    Raises ClusterError where the cluster cannot be asked; that one is not installed, or may not be
    asked, does not keep the other from being told.
    """
    told: list[str] = []
    faults: list[str] = []
    for part in (_argo(cluster, place), _flux(cluster, place, now)):
        try:
            told.extend(part)
        except ForbiddenError as exc:
            faults.append(exc.message)
    return Told(tuple(told), tuple(faults))


def _argo(cluster: Cluster, place: Place) -> Iterator[str]:
    for each in _all(cluster, APPLICATION):
        if any(_follows(source, place) for source in _sources(each.get("spec") or {})):
            yield _mark(cluster, APPLICATION, each, {_REFRESH: "normal"})


def _sources(spec: Json) -> Iterator[Json]:
    """The sources of an Application: one, several, or one that is rendered into another branch."""
    yield spec.get("source") or {}
    yield from spec.get("sources") or ()
    yield (spec.get("sourceHydrator") or {}).get("drySource") or {}


def _follows(source: Json, place: Place) -> bool:
    return (
        place.repository(source.get("repoURL"))
        and place.directory(source.get("path"))
        and place.revision(source.get("targetRevision"))
    )


def _flux(cluster: Cluster, place: Place, now: datetime) -> Iterator[str]:
    repositories = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each
        for each in _all(cluster, GIT_REPOSITORY)
        if _source_of(each.get("spec") or {}, place)
    }
    if not repositories:
        return
    mark = {_REQUESTED: now.isoformat()}
    told = set()
    for each in _all(cluster, KUSTOMIZATION):
        spec, namespace = each.get("spec") or {}, each["metadata"]["namespace"]
        source = spec.get("sourceRef") or {}
        key = (source.get("namespace") or namespace, source.get("name"))
        if source.get("kind") != "GitRepository" or key not in repositories:
            continue
        if spec.get("suspend") or not place.directory(spec.get("path")):
            continue
        if key not in told:  # the source first: what it is for follows it
            told.add(key)
            yield _mark(cluster, GIT_REPOSITORY, repositories[key], mark)
        yield _mark(cluster, KUSTOMIZATION, each, mark)


def _source_of(spec: Json, place: Place) -> bool:
    """Whether a GitRepository brings what was pushed: it follows that branch, not a tag or a commit."""
    ref = spec.get("ref") or {}
    fixed = any(ref.get(key) for key in ("tag", "semver", "commit"))
    # source-controller takes master where nothing is said
    name = ref.get("name") or ref.get("branch") or "master"
    return (
        place.repository(spec.get("url"))
        and not spec.get("suspend")
        and not fixed
        and place.revision(name)
    )


def _all(cluster: Cluster, kind: Kind) -> Sequence[Json]:
    """The objects of a kind that one may see: of all namespaces, else of the usual ones."""
    try:
        return cluster.everywhere(kind)
    except ForbiddenError as exc:
        if not cluster.knows(kind):  # what is not there is forbidden too
            return ()
        found: list[Json] = []
        forbidden = 0
        places = dict.fromkeys((_USUAL[kind], cluster.namespace))
        for namespace in places:
            try:
                found += cluster.list(kind, (), namespace)[0]
            except ForbiddenError:
                forbidden += 1
        if forbidden == len(places):
            raise ForbiddenError(exc.message, hint=exc.hint) from exc
        return found


def _mark(cluster: Cluster, kind: Kind, found: Json, annotations: Mapping[str, str]) -> str:
    about = found["metadata"]
    patch = {"metadata": {"annotations": dict(annotations)}}
    cluster.merge(kind, about["name"], patch, about["namespace"])
    return f"{kind.name} {about['namespace']}/{about['name']}"
