"""`mlops deploy`: what an environment's overlay says at the GitOps tip → the cluster.

For those without Argo CD or Flux. The overlay is rendered as kustomize renders it, applied
server-side, what it no longer has is removed, and its rollouts are awaited.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlops import documents
from mlops.domain.deployment import Deployed, Inventory, Object, Owner
from mlops.domain.digest import ReleaseId
from mlops.domain.source import Commit
from mlops.engine.preflight import overlay_files
from mlops.engine.state import Environments
from mlops.errors import ConfigError, RefusedError
from mlops.ports import Deployer, Renderer

Json = Mapping[str, Any]
_RENDERING = 30.0  # seconds
_EVERY = 0.5  # seconds between two looks at a rollout
_STUCK = 15.0  # seconds that what waiting will not mend is given all the same
_TRIES = 5  # where others deploy at the same time
_APART = 2.0  # seconds at most between these


@dataclass(frozen=True, slots=True)
class DeployOrder:
    """What was asked for. `timeout` in seconds for all rollouts together, 0: they are not awaited."""

    environment: str
    actor: str
    timeout: float = 300.0
    force: bool = False
    create_namespaces: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it; `late` names rollouts that did not end well, with what they said last."""

    environment: str
    commit: Commit
    releases: tuple[ReleaseId, ...]
    objects: tuple[Deployed, ...]
    late: tuple[str, ...] = ()


def rendered(
    environments: Environments, environment: str, renderer: Renderer
) -> tuple[dict[str, Any], ...]:
    """The documents of an overlay at the tip. Raises OutsideError where it does not render, RefusedError
    where one of its images is not to be had from a registry."""
    environments.state(environment)
    overlay = f"{environments.gitops.path}/{environment}"
    text = renderer.render(overlay_files(environments), overlay, _RENDERING)
    found = tuple(
        dict(each.value)
        for each in documents.load_all(text, f"{overlay} as rendered", limit=16 << 20)
        if isinstance(each.value, Mapping)
    )
    for each in found:
        _require_name(each, overlay)
    if not found:
        raise ConfigError(f"{overlay} renders to nothing", hint="List resources in it")
    for image in _images(found):
        if image.partition("@")[0] in environments.models:  # no registry before it
            told = "is of an image layout" if "@" in image else "is not pinned"
            raise RefusedError(
                f"{environment}: the image {image} {told}: no cluster can pull it",
                hint="Release into a registry (mlops.yaml: registry), and pin it: mlops run, mlops promote",
            )
    return found


def _require_name(document: Json, overlay: str) -> None:
    about = document.get("metadata")
    name = about.get("name") if isinstance(about, Mapping) else None
    if not all(isinstance(each, str) and each for each in (name, document.get("apiVersion"))):
        raise ConfigError(
            f"{overlay} as rendered: a {document.get('kind') or 'document'} without a name or apiVersion"
        )


def _images(found: Any) -> Iterable[str]:
    if isinstance(found, Mapping):
        image = found.get("image")
        if isinstance(image, str):
            yield image
        for each in found.values():
            yield from _images(each)
    elif isinstance(found, (list, tuple)):
        for each in found:
            yield from _images(each)


@dataclass(frozen=True, slots=True)
class Deploying:
    """The use case, with the ports it needs. `read` gives the environments as they are now."""

    read: Callable[[], Environments]
    deployer: Deployer
    renderer: Renderer
    now: Callable[[], datetime]
    say: Callable[[str], None]

    def deploy(self, order: DeployOrder) -> Answer:
        """Bring an environment to the cluster, and wait until it runs.

        Where somebody else deploys it at the same time, once more, from the tip as it is then. Raises
        RefusedError where its namespace is not there, ConfigError where the cluster refuses a
        document, ClusterError where the cluster is away.
        """
        made: set[Object] = set()  # by tries that were overtaken: perhaps nobody else knows of it
        for _ in range(_TRIES):
            environments = self.read()
            done = self._brought(environments, order, made)
            if done is not None:
                break
            self.say(f"{order.environment} is deployed by somebody else too: once more")
            time.sleep(random.uniform(0, _APART))  # noqa: S311  no secret
        else:
            raise RefusedError(
                f"{order.environment} is deployed again and again by others",
                hint="Let one deploy it at a time",
            )
        there = tuple(each.object for each in done if each.change not in ("removed", "kept"))
        late = () if order.dry_run or not order.timeout else self._await(there, order.timeout)
        pins = environments.state(order.environment).pins
        releases = tuple(ReleaseId(model, digest) for model, digest in sorted(pins.items()))
        return Answer(order.environment, environments.tip, releases, done, late)

    def _brought(
        self, environments: Environments, order: DeployOrder, made: set[Object]
    ) -> tuple[Deployed, ...] | None:
        """Apply and prune, once; None where another deployment came between. `made` is what earlier tries
        may have made, and gets what this one may."""
        owner = Owner(environments.project.name, order.environment)
        wanted = rendered(environments, order.environment, self.renderer)
        home = home_of(wanted)
        done = self._namespaces(wanted, owner, order)
        before = self.deployer.inventory(owner, home)
        before = replace(before, objects=tuple({*before.objects, *made}))
        if order.dry_run:
            done += self.deployer.apply(wanted, owner, dry_run=True, force=order.force)
            return (*done, *self._pruned(before, done, owner, order))
        noted = self._noted(environments, order)
        known = tuple({*before.objects, *self.deployer.objects(wanted)})
        kept = self.deployer.keep(
            replace(noted, objects=known, version=before.version), owner, home
        )
        if kept is None:
            return None
        made |= set(known)
        others = [each for each in wanted if each["kind"] != "Namespace"]
        done += self.deployer.apply(others, owner, dry_run=False, force=order.force)
        done += self._pruned(before, done, owner, order)
        there = tuple(each.object for each in done if each.change not in ("removed", "kept"))
        kept = self.deployer.keep(replace(noted, objects=there, version=kept.version), owner, home)
        return tuple(done) if kept is not None else None

    def _namespaces(
        self, wanted: Sequence[Json], owner: Owner, order: DeployOrder
    ) -> list[Deployed]:
        """See to the namespaces that documents are for: the overlay's own are applied before all else."""
        own = [each for each in wanted if each["kind"] == "Namespace"]
        names = {str(each["metadata"]["name"]) for each in own}
        for namespace in self.deployer.missing(wanted):
            if namespace in names:
                continue
            if not order.create_namespaces:
                raise RefusedError(
                    f"the cluster at {self.deployer.server} has no namespace {namespace}",
                    hint=f"Make it: kubectl create namespace {namespace}; or say --create-namespace",
                )
            if not order.dry_run:
                self.deployer.create_namespace(namespace)
        if order.dry_run:
            return []
        return list(self.deployer.apply(own, owner, dry_run=False, force=order.force))

    def _pruned(
        self, before: Inventory, done: Sequence[Deployed], owner: Owner, order: DeployOrder
    ) -> list[Deployed]:
        there = {_identity(each.object) for each in done}
        gone = [each for each in before.objects if _identity(each) not in there]
        removed = (self.deployer.remove(each, owner, dry_run=order.dry_run) for each in gone)
        return [each for each in removed if each is not None]

    def _noted(self, environments: Environments, order: DeployOrder) -> Inventory:
        time = self.now().isoformat(timespec="seconds").replace("+00:00", "Z")
        return Inventory((), environments.tip.sha, order.actor, time)

    def _await(self, there: Sequence[Object], seconds: float) -> tuple[str, ...]:
        """Wait for all rollouts; what does not end well, with what it said last."""
        until = time.monotonic() + seconds
        left = dict.fromkeys(there, "")
        said: dict[Object, set[str]] = {each: set() for each in there}
        stuck: dict[Object, float] = {}
        late = []
        while left:
            for each in tuple(left):
                progress = self.deployer.progress(each)
                new = progress.message not in said[each]
                if new and not progress.failed and not progress.done:
                    self.say(f"{each}: {progress.message}")
                    said[each].add(progress.message)
                left[each] = progress.whole
                since = stuck.setdefault(each, time.monotonic())
                if not progress.stuck:
                    del stuck[each]
                hopeless = progress.stuck and time.monotonic() - since > _STUCK
                if progress.failed or hopeless:
                    late.append(f"{each}: {progress.whole}")
                if progress.failed or hopeless or progress.done:
                    del left[each]
            if time.monotonic() > until:
                late += [
                    f"{each}: not done in {seconds:.0f} s: {told}" for each, told in left.items()
                ]
                break
            if left:
                time.sleep(_EVERY)
        return tuple(late)


def home_of(wanted: Sequence[Json]) -> str:
    """The namespace of the inventory: that of the overlay, where its documents agree; else that of most."""
    found = [str(each["metadata"].get("namespace") or "") for each in wanted]
    found = [each for each in found if each] or [""]
    return max(sorted(set(found)), key=found.count)


def _identity(each: Object) -> tuple[str, str, str, str]:
    """Which object, whatever version of its API it was written in."""
    return (each.version.rpartition("/")[0], each.kind, each.namespace, each.name)
