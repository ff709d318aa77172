"""`mlops deploy`: what an environment's overlay says at the GitOps tip → the cluster.

For those without Argo CD or Flux. The overlay is rendered as kustomize renders it, applied
server-side, what it no longer has is removed, and its rollouts are awaited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops import documents
from mlops.domain.deployment import Deployed, Object
from mlops.domain.digest import ReleaseId
from mlops.domain.source import Commit
from mlops.engine.preflight import overlay_files
from mlops.engine.state import Environments
from mlops.errors import ConfigError, RefusedError
from mlops.ports import Deployer, Renderer

Json = Mapping[str, Any]
_RENDERING = 30.0  # seconds
_EVERY = 0.5  # seconds between two looks at a rollout


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
    """The use case, with the ports it needs."""

    deployer: Deployer
    renderer: Renderer
    now: Callable[[], datetime]
    say: Callable[[str], None]

    def deploy(self, environments: Environments, order: DeployOrder) -> Answer:
        """Bring an environment to the cluster, and wait until it runs.

        Raises RefusedError where its namespace is not there, ConfigError where the cluster refuses a
        document, ClusterError where the cluster is away.
        """
        name = order.environment
        wanted = rendered(environments, name, self.renderer)
        home = _home(wanted)
        self._namespaces(wanted, order)
        before = self.deployer.inventory(name, home)
        done = list(self.deployer.apply(wanted, name, dry_run=order.dry_run, force=order.force))
        there = tuple(each.object for each in done)
        gone = [each for each in before if each not in set(there)]
        if not order.dry_run:  # what is to be removed is known until it is
            self._keep(environments, order, home, (*there, *gone))
        done += [
            Deployed(each, "removed")
            for each in gone
            if self.deployer.remove(each, name, dry_run=order.dry_run)
        ]
        if not order.dry_run and gone:
            self._keep(environments, order, home, there)
        late = () if order.dry_run or not order.timeout else self._await(there, order.timeout)
        pins = environments.state(name).pins
        releases = tuple(ReleaseId(model, digest) for model, digest in sorted(pins.items()))
        return Answer(name, environments.tip, releases, tuple(done), late)

    def _namespaces(self, wanted: Sequence[Json], order: DeployOrder) -> None:
        for namespace in self.deployer.namespaces(wanted):
            if not order.create_namespaces:
                raise RefusedError(
                    f"the cluster at {self.deployer.server} has no namespace {namespace}",
                    hint=f"Make it: kubectl create namespace {namespace}; or say --create-namespace",
                )
            if not order.dry_run:
                self.deployer.create_namespace(namespace)

    def _keep(
        self, environments: Environments, order: DeployOrder, home: str, found: Sequence[Object]
    ) -> None:
        about = {
            "commit": environments.tip.sha,
            "actor": order.actor,
            "time": self.now().isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        self.deployer.write_inventory(order.environment, home, found, about)

    def _await(self, there: Sequence[Object], seconds: float) -> tuple[str, ...]:
        """Wait for all rollouts; what does not end well, with what it said last."""
        until = time.monotonic() + seconds
        left = dict.fromkeys(there, "")
        late = []
        while left:
            for each in tuple(left):
                progress = self.deployer.progress(each)
                if progress.done:
                    del left[each]
                elif progress.failed:
                    del left[each]
                    late.append(f"{each}: {progress.message}")
                elif progress.message != left[each]:
                    left[each] = progress.message
                    self.say(f"{each}: {progress.message}")
            if not left:
                break
            if time.monotonic() > until:
                late += [
                    f"{each}: not done in {seconds:.0f} s: {said}" for each, said in left.items()
                ]
                break
            time.sleep(_EVERY)
        return tuple(late)


def _home(wanted: Sequence[Json]) -> str:
    """The namespace of the inventory: that of the overlay, where its documents agree; else the first."""
    found = [str(each["metadata"].get("namespace") or "") for each in wanted]
    return max(sorted(set(found)), key=found.count)
