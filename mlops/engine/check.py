"""`mlops config check`: all files that people write, read as the commands would read them."""

from __future__ import annotations

from collections.abc import Callable

from mlops.config.environment import parse_environment, parse_holds, parse_quarantine
from mlops.config.lockfile import parse_lock
from mlops.config.project import parse_project
from mlops.domain.project import Project
from mlops.errors import MlopsError
from mlops.manifests.kustomization import pins

Read = Callable[[str], bytes | None]
Check = Callable[[bytes], object]


def check(read: Read) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Faults (one line each, with file and line) and the files that were read.

    `read` gives a file's bytes by its path from the root, None where it is absent.
    """
    faults: list[str] = []
    files: list[str] = []

    def look(path: str, parse: Check, *, needed: str = "") -> object | None:
        content = read(path)
        if content is None:
            if needed:
                faults.append(f"{path}: not there. {needed}")
            return None
        files.append(path)
        try:
            return parse(content)
        except MlopsError as exc:
            faults.extend(exc.message.splitlines())
            return None

    project = look(
        "mlops.yaml", lambda text: parse_project(text, "mlops.yaml"), needed="Run mlops init"
    )
    look("mlops.lock", lambda text: parse_lock(text, "mlops.lock"), needed="Run mlops lock")
    if isinstance(project, Project):
        _environments(project, look)
    return tuple(faults), tuple(files)


def _environments(project: Project, look: Callable[..., object | None]) -> None:
    top = project.gitops.path
    if project.gitops.url:
        return  # they stand in another repository
    quarantine = f"{top}/quarantine.yaml"
    look(quarantine, lambda text: parse_quarantine(text, quarantine))
    for name in project.environments:
        kustomization, policy, holds = (
            f"{top}/{name}/{file}"
            for file in ("kustomization.yaml", "environment.yaml", "holds.yaml")
        )
        look(kustomization, lambda text, at=kustomization: pins(text, at), needed="Run mlops init")
        look(
            policy,
            lambda text, at=policy, name=name: parse_environment(
                text, name, at, project.environments
            ),
        )
        look(holds, lambda text, at=holds: parse_holds(text, at))
