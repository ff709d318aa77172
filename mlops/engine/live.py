"""What really runs where, held against what is pinned: `mlops status --live`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops.domain.deployment import Object
from mlops.domain.digest import Digest, ReleaseId
from mlops.engine.deploy import rendered
from mlops.engine.state import Environments
from mlops.engine.status import StatusRow
from mlops.errors import ConfigError, OutsideError, RefusedError
from mlops.ports import Deployer, Renderer

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class Live:
    """What runs of one model in one environment.

    `running` are the digests of its containers' images, each once; `pods` how many containers there are,
    `ready` how many of them are; `managers` who else wrote to the workload; `fault` says why nothing is
    known.
    """

    matches: bool = False
    running: tuple[Digest, ...] = ()
    pods: int = 0
    ready: int = 0
    progress: str = ""
    managers: tuple[str, ...] = ()
    fault: str = ""

    @property
    def healthy(self) -> bool:
        """Whether what is pinned runs, all of it, and nothing else."""
        return self.matches and self.pods > 0 and self.ready == self.pods


def live(
    environments: Environments,
    rows: Sequence[StatusRow],
    deployer: Deployer,
    renderer: Renderer,
) -> dict[tuple[str, str], Live]:
    """Environment and model → what runs; of what is pinned alone."""
    found: dict[tuple[str, str], Live] = {}
    for name in dict.fromkeys(row.environment for row in rows):
        mine = [row for row in rows if row.environment == name and row.release is not None]
        if not mine:
            continue
        try:
            documents = rendered(environments, name, renderer)
        except (ConfigError, OutsideError, RefusedError) as exc:
            found |= {(name, row.model): Live(fault=exc.message) for row in mine}
            continue
        for row in mine:
            if row.release is not None:
                found[name, row.model] = _of(environments, row.release, documents, deployer)
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
    images: list[tuple[Digest, bool]] = []
    progress, managers = [], set[str]()
    for which in workloads:
        images += [
            (digest, ready)
            for image, ready in deployer.running(which)
            if (digest := _digest(image)) is not None
        ]
        state = deployer.progress(which)
        progress += [state.message] if not state.done and state.message else []
        managers |= set(deployer.managers(which))
    digests = tuple(dict.fromkeys(digest for digest, _ in images))
    return Live(
        matches=bool(digests) and set(digests) <= accepted,
        running=digests,
        pods=len(images),
        ready=sum(ready for _, ready in images),
        progress="; ".join(progress),
        managers=tuple(sorted(managers)),
    )


def _workloads(documents: Sequence[Mapping[str, Any]], release: ReleaseId) -> Iterator[Object]:
    """The workloads of an overlay that run a release."""
    for each in documents:
        if each.get("kind") not in _WORKLOADS:
            continue
        pod = ((each.get("spec") or {}).get("template") or {}).get("spec") or {}
        images = [str(container.get("image")) for container in pod.get("containers") or ()]
        if any(image.endswith(f"@{release.digest}") for image in images):
            about = each["metadata"]
            yield Object(
                str(each["apiVersion"]),
                str(each["kind"]),
                str(about.get("namespace") or ""),
                str(about["name"]),
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
