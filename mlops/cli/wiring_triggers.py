"""What looks at a project's triggers, on the branch that they are of.

As in `wiring`, heavy libraries load inside the factories.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops.cli.wiring import Opened
from mlops.config.project import parse_project
from mlops.domain.project import Project
from mlops.domain.watching import Tip

if TYPE_CHECKING:
    from mlops.engine.triggers import Asked, Triggers, Trunk

PROJECT_FILE = "mlops.yaml"


def triggers(opened: Opened) -> Triggers:
    """With the project's claims and clock."""
    from mlops.engine.triggers import Triggers  # noqa: PLC0415

    return Triggers(opened.claims, opened.now, opened.actor)


def look(opened: Opened, branches: Sequence[str]) -> tuple[Asked, ...]:
    """Ask the triggers of the first tracked branch, as its tip here says them."""
    found = trunk(opened, branches)
    if found is None:
        return ()
    project, branch = found
    return triggers(opened).look(project, branch)


def trunk(opened: Opened, branches: Sequence[str]) -> tuple[Project, Trunk] | None:
    """The first of the tracked `branches` that is no pattern, as last fetched, and mlops.yaml there; None where there
    is none. Raises ConfigError where mlops.yaml cannot be read."""
    from mlops.engine.triggers import Trunk  # noqa: PLC0415

    repository = opened.repository
    plain = [name for name in branches if not set(name) & set("*?[")]
    branch = plain[0] if plain else (repository.default_branch() or "main")
    ref, remote = f"refs/heads/{branch}", repository.remote_name()
    tip = repository.ref(ref if remote is None else repository.remote(remote).tracking(branch))
    content = repository.read(tip, PROJECT_FILE) if tip is not None else None
    if tip is None or content is None:
        return None
    transparent = "" if opened.project.gitops.url else opened.project.gitops.path
    source = repository.source_of(tip, transparent)
    return parse_project(content, PROJECT_FILE), Trunk(Tip(ref, tip), source)
