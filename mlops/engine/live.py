"""What really runs where, held against what is pinned: `mlops status --live`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlops.domain.deployment import Inventory, Object, Owner
from mlops.domain.digest import Digest, ReleaseId
from mlops.engine.deploy import home_of, rendered
from mlops.engine.state import Environments
from mlops.engine.status import StatusRow
from mlops.errors import ClusterError, ConfigError, OutsideError, RefusedError
from mlops.ports import Deployer, Renderer

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class Live:
    """What runs of one model in one environment.

    `running` are the digests of the images of its own containers, each once; `pods` how many of these there
    are, `ready` how many of them are; `differs` names pods that run something else than is pinned;
    `managers` who else wrote to the workload; `deployed` which deployment of ours was the last; `fault`
    says why nothing is known.
    """

    matches: bool = False
    running: tuple[Digest, ...] = ()
    pods: int = 0
    ready: int = 0
    progress: str = ""
    managers: tuple[str, ...] = ()
    fault: str = ""
    differs: tuple[str, ...] = ()
    deployed: Inventory | None = None

    @property
    def healthy(self) -> bool:
        """Whether what is pinned runs, all of it, and nothing else; none where none is wanted."""
        return self.matches and self.ready == self.pods and not self.progress


def live(
    environments: Environments,
    rows: Sequence[StatusRow],
    deployer: Deployer,
    renderer: Renderer,
) -> dict[tuple[str, str], Live]:
    """Environment and model → what runs; of what is pinned alone."""
    found: dict[tuple[str, str], Live] = {}
    away = (
        ""  # why the cluster cannot be asked: it is not waited for once more for each environment
    )
    for name in dict.fromkeys(row.environment for row in rows):
        mine = [row for row in rows if row.environment == name and row.release is not None]
        if not mine:
            continue
        if away:
            found |= {(name, row.model): Live(fault=away) for row in mine}
            continue
        try:
            documents = rendered(environments, name, renderer)
            owner = Owner(environments.project.name, name)
            deployed = deployer.inventory(owner, home_of(documents))
        except (ConfigError, OutsideError, RefusedError) as exc:
            found |= {(name, row.model): Live(fault=exc.message) for row in mine}
            away = exc.message if isinstance(exc, ClusterError) and exc.retryable else ""
            continue
        for row in mine:
            if row.release is not None:
                seen = _of(environments, row.release, documents, deployer)
                known = deployed if deployed.version else None
                found[name, row.model] = replace(seen, deployed=known)
    return found


def _of(
    environments: Environments,
    release: ReleaseId,
    documents: Sequence[Mapping[str, Any]],
    deployer: Deployer,
) -> Live:
    workloads = list(_workloads(documents, release))
    if not workloads:
        return Live(fault=f"the overlay has no workload with the image of {release.model}")
    accepted = {release.digest, *_manifests(environments, release)}
    seen: list[tuple[str, Digest | None, bool]] = []  # pod, image, ready
    progress, managers = [], set[str]()
    for which, containers in workloads:
        seen += [
            (each.pod, _digest(each.image), each.ready)
            for each in deployer.running(which)
            if each.container in containers
        ]
        state = deployer.progress(which)
        progress += [state.message] if not state.done and state.message else []
        managers |= set(deployer.managers(which))
    differs = {pod: image for pod, image, _ in seen if image is not None and image not in accepted}
    return Live(
        matches=not differs and (any(image for _, image, _ in seen) or not progress),
        running=tuple(dict.fromkeys(image for _, image, _ in seen if image is not None)),
        pods=len(seen),
        ready=sum(ready for _, _, ready in seen),
        progress="; ".join(progress),
        managers=tuple(sorted(managers)),
        differs=tuple(f"{pod} runs {image}" for pod, image in sorted(differs.items())),
    )


def _workloads(
    documents: Sequence[Mapping[str, Any]], release: ReleaseId
) -> Iterator[tuple[Object, frozenset[str]]]:
    """The workloads of an overlay that run a release, and the names of the containers that do: what others
    put beside them, such as a mesh, runs what it likes."""
    for each in documents:
        if each.get("kind") not in _WORKLOADS:
            continue
        pod = ((each.get("spec") or {}).get("template") or {}).get("spec") or {}
        names = frozenset(
            str(container.get("name"))
            for container in pod.get("containers") or ()
            if str(container.get("image")).endswith(f"@{release.digest}")
        )
        if names:
            about = each["metadata"]
            yield (
                Object(
                    str(each["apiVersion"]),
                    str(each["kind"]),
                    str(about.get("namespace") or ""),
                    str(about["name"]),
                ),
                names,
            )


def _manifests(environments: Environments, release: ReleaseId) -> Iterator[Digest]:
    """The manifests that a release's index leads to: nodes say which of them they run."""
    record = environments.sound(release)
    for platform in (record.document.get("platforms") or ()) if record else ():
        text = platform.get("manifest") if isinstance(platform, Mapping) else None
        if isinstance(text, str) and _DIGEST.match(text):
            yield Digest.parse(text)


def _digest(image: str) -> Digest | None:
    found = _DIGEST.search(image)
    return Digest.parse(f"sha256:{found[1]}") if found else None
