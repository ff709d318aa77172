"""Builds what talks to a Kubernetes cluster; the library for it loads when a command first needs it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.cli import render, shellwords
from mlops.domain import giturl
from mlops.domain.cluster import Access
from mlops.domain.project import Project
from mlops.errors import ConfigError, MlopsError, UsageError
from mlops.manifests import install

if TYPE_CHECKING:
    from mlops.adapters.cluster.cluster import Cluster
    from mlops.adapters.cluster.deploying import Deployer
    from mlops.adapters.cluster.lease import LeaseLeader
    from mlops.adapters.executors.tekton import TektonExecutor
    from mlops.cli.wiring import Opened
    from mlops.engine.live import Live
    from mlops.engine.state import Environments
    from mlops.engine.status import StatusRow

# seconds that a cluster may be away
QUESTION = 15.0  # where somebody only asks
LASTING = 60.0  # where a run or a deployment is under way, or is about to be
_NUDGE = 3.0  # where something is told by the way


def executor(
    access: Access, installs: str = "", *, ours: bool = False, patience: float = LASTING
) -> TektonExecutor:
    """The executor of a namespace. Raises ConfigError where no kubeconfig says which cluster.

    `installs` is the namespace that the project's tekton/install is for; `ours`: runs are of mlops itself,
    which need what that makes. `patience` is how many seconds the cluster may be away."""
    from mlops.adapters.executors.tekton import TektonExecutor  # noqa: PLC0415 - a heavy library

    cluster = _connected(access, patience)
    usual = cluster.making
    cluster.making = lambda name: (
        install.remedy(name, installs) if ours or name == installs else usual(name)
    )
    return TektonExecutor(cluster)


def installs(root: Path) -> str:
    """The namespace that tekton/install of a project is for; empty where there is none."""
    try:
        return install.namespace((root / install.KUSTOMIZATION).read_bytes())
    except OSError:
        return ""


def deployer(access: Access, patience: float = LASTING) -> Deployer:
    """What brings overlays to the cluster, and looks at what runs there."""
    from mlops.adapters.cluster.deploying import Deployer  # noqa: PLC0415

    return Deployer(_connected(access, patience), render.warn)


def leader(project: Project, name: str, lasts: float) -> LeaseLeader:
    """What leads by the lease `name` of the project's namespace, which lasts so many seconds."""
    from mlops.adapters.cluster.lease import LeaseLeader  # noqa: PLC0415 - a heavy library

    return LeaseLeader(_connected(access(project), QUESTION), name, lasts, render.warn)


def _connected(access: Access, patience: float) -> Cluster:
    """The cluster, which says so on stderr when it is waited for: not to who is typing a command."""
    from mlops.adapters.cluster import connect  # noqa: PLC0415 - a heavy library

    cluster = connect(access, patience)
    if not shellwords.asked():
        cluster.absence.say = render.note
    return cluster


def live(
    project: Project, environments: Environments, rows: tuple[StatusRow, ...]
) -> dict[tuple[str, str], Live]:
    """What runs of what is pinned; the rest of `mlops status` starts without this."""
    from mlops.adapters.kustomize import Kustomize  # noqa: PLC0415
    from mlops.engine import live as looking  # noqa: PLC0415

    return looking.live(environments, rows, deployer(access(project), QUESTION), Kustomize())


def access(project: Project, namespace: str = "") -> Access:
    """Which cluster a project uses, and where in it."""
    return Access(project.cluster.context, namespace or project.cluster.namespace)


def address(project: Project, remote: str) -> str:
    """The project's repository as pods reach it; they have credentials of their own."""
    return giturl.without_login(project.cluster.repository or remote)


def require_executor(name: str) -> None:
    """Raises UsageError where there is no such executor; empty is the project's own."""
    if name not in ("", "local", "tekton"):
        raise UsageError(f"there is no executor {name!r}", hint="There is: local, tekton")


def require_reach(project: Project, remote: str) -> None:
    """Raises ConfigError where pods could reach neither repository nor registry."""
    if project.layout is not None:
        raise ConfigError(
            f"mlops.yaml: registry: pods cannot reach {project.registry}",
            hint="Name a registry that this machine and the cluster reach: HOST/PATH",
        )
    url = address(project, remote)
    if url.startswith(("/", "file:", ".")) or not url:
        told = f"pods cannot reach {url}" if url else "this repository has no remote"
        raise ConfigError(
            told,
            hint="Push it to a git server, or name its URL there in mlops.yaml: cluster.repository",
        )


def nudge(opened: Opened, environments: Iterable[str]) -> None:
    """Tell Argo CD or Flux of what was just pinned, where mlops.yaml names a cluster; says what was told,
    and keeps quiet where nothing reconciles here. Never fails: the pin is pushed already."""
    config, gitops = opened.project.cluster, opened.project.gitops
    own = () if gitops.url else (opened.repository.remote_url(), config.repository)
    urls = tuple(each for each in (gitops.url, *own) if each)
    if not urls or not (opened.on_cluster or config.context or config.namespace):
        return
    from mlops.adapters.cluster import connect, reconcilers  # noqa: PLC0415 - a heavy library

    paths = tuple(f"{gitops.path}/{name}" for name in environments)
    place = reconcilers.Place(urls, opened.branch, paths)
    try:
        cluster = connect(access(opened.project), patience=_NUDGE)
        found = reconcilers.nudge(cluster, place, opened.now())
    except MlopsError as exc:
        render.note(f"nobody was told to reconcile: {exc.message}")
        return
    for each in found.faults:
        render.note(f"not told to reconcile: {each}")
    for each in found.told:
        render.note(f"told {each} to reconcile")
