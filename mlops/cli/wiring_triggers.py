"""What looks at a project's triggers, on the branch that they are of.

As in `wiring`, heavy libraries load inside the factories.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.cli import wiring_lock
from mlops.cli.wiring import Opened
from mlops.config.project import parse_project
from mlops.domain.project import Project
from mlops.domain.source import Commit
from mlops.domain.trigger import Data, Updates
from mlops.domain.watching import Tip

if TYPE_CHECKING:
    from mlops.adapters.git import GitOpsBranch
    from mlops.engine.lock import Locker
    from mlops.engine.triggers import Asked, Triggers, Trunk
    from mlops.engine.upkeep import Upkeep

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


def upkeep(opened: Opened, branches: Sequence[str]) -> tuple[Asked, ...]:
    """Look at sources of data and at the locks of that branch, and bring in what is new: this takes its time."""
    found = trunk(opened, branches, fetch=True)
    if found is None or not wants_upkeep(found[0]):
        return ()
    project, branch = found
    return _upkeep(opened, branch).look(project, branch)


def wants_upkeep(project: Project) -> bool:
    """Whether there is anything for `upkeep` to look at."""
    data = (isinstance(each, Data) for model in project.models for each in model.triggers)
    return project.updates is not None or any(data)


def proposed(opened: Opened, branches: Sequence[str]) -> GitOpsBranch | None:
    """The branch that upkeep's commits are proposed for; None where there is nothing for it to look at."""
    found = trunk(opened, branches)
    if found is None or not wants_upkeep(found[0]):
        return None
    return _home(opened, found[1])


def _home(opened: Opened, branch: Trunk) -> GitOpsBranch:
    from mlops.adapters.git import GitOpsBranch  # noqa: PLC0415

    repository, project = opened.repository, opened.project
    remote = repository.remote_name()
    return GitOpsBranch(repository, branch.tip.name, project.gitops.path, remote, project.forge)


def _upkeep(opened: Opened, branch: Trunk) -> Upkeep:
    from mlops.adapters import holder  # noqa: PLC0415
    from mlops.adapters.dvc.upstream import DvcUpstream  # noqa: PLC0415
    from mlops.engine.claiming import Holder  # noqa: PLC0415
    from mlops.engine.marking import Marks  # noqa: PLC0415
    from mlops.engine.upkeep import Upkeep  # noqa: PLC0415
    from mlops.steps.credentials import settings  # noqa: PLC0415

    repository, scratch = opened.repository, opened.state / "upkeep"
    found = settings(repository.read(branch.tip.commit, ".dvc/config"), opened.root)
    return Upkeep(
        Marks(opened.claims, opened.now),
        DvcUpstream(repository, opened.root, scratch, found.config, found.remotes),
        ExportedLocks(opened, scratch),
        _home(opened, branch),
        Holder(holder.me, holder.dead),
        opened.actor,
    )


@dataclass(frozen=True, slots=True)
class ExportedLocks:
    """Meets `ports.NewLocks`: `mlops lock --upgrade` on the files of a commit, in a directory that is thrown
    away."""

    opened: Opened
    scratch: Path

    def resolve(
        self, commit: Commit, wanted: Updates
    ) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
        content = self.opened.repository.read(commit, PROJECT_FILE) or b""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="lock-", dir=self.scratch) as directory:
            tree = Path(directory)
            self.opened.repository.export(commit, tree)
            project = parse_project(content, PROJECT_FILE)
            locker = wiring_lock.locker(replace(self.opened, project=project), tree)
            locked = locker.lock(_upgraded(locker, wanted))
            locker.keep(locked)
        return locked.files, tuple(str(change) for change in locked.changes)


def _upgraded(locker: Locker, wanted: Updates) -> tuple[str, ...]:
    """As `mlops lock --upgrade` takes it."""
    from mlops.engine.lock import ALL, BASE  # noqa: PLC0415
    from mlops.policy.sides import packages  # noqa: PLC0415

    if wanted.base and wanted.packages:
        return (ALL,)
    if wanted.base:
        return (BASE,)
    entries = locker.current.requirements if wanted.packages and locker.current is not None else ()
    found = {name for entry in entries for name in packages(locker.read(entry.path) or b"")}
    return tuple(sorted(found))


def trunk(
    opened: Opened, branches: Sequence[str], *, fetch: bool = False
) -> tuple[Project, Trunk] | None:
    """The first of the tracked `branches` that is no pattern, as last fetched or freshly, and mlops.yaml there;
    None where there is none. Raises ConfigError where mlops.yaml cannot be read."""
    from mlops.engine.triggers import Trunk  # noqa: PLC0415

    repository = opened.repository
    plain = [name for name in branches if not set(name) & set("*?[")]
    branch = plain[0] if plain else (repository.default_branch() or "main")
    ref, remote = f"refs/heads/{branch}", repository.remote_name()
    if fetch and remote is not None:
        repository.remote(remote).fetch_branch(branch)
    tip = repository.ref(ref if remote is None else repository.remote(remote).tracking(branch))
    content = repository.read(tip, PROJECT_FILE) if tip is not None else None
    if tip is None or content is None:
        return None
    transparent = "" if opened.project.gitops.url else opened.project.gitops.path
    source = repository.source_of(tip, transparent)
    return parse_project(content, PROJECT_FILE), Trunk(Tip(ref, tip), source)
