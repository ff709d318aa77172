"""Builds what looks at a project's remote: the watcher, and what `mlops gc` chooses by.

As in `wiring`, heavy libraries load inside the factories.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mlops.adapters import holder
from mlops.adapters.git.sight import RemoteTips
from mlops.adapters.git.steps import FirstParents
from mlops.cli.wiring import Opened

if TYPE_CHECKING:
    from mlops.engine.collect import Collector
    from mlops.engine.watch import Watcher


def watcher(opened: Opened) -> Watcher:
    """What looks at the project's remote; to be kept from look to look."""
    from mlops.domain.watching import Tracked  # noqa: PLC0415
    from mlops.engine.claiming import Holder  # noqa: PLC0415
    from mlops.engine.judging import Judge  # noqa: PLC0415
    from mlops.engine.planning import project_at  # noqa: PLC0415
    from mlops.engine.watch import Watcher  # noqa: PLC0415

    repository, project = opened.repository, opened.project
    return Watcher(
        tips=_tips(opened),
        claims=opened.claims,
        reader=repository,
        judge=Judge(
            repository,
            FirstParents(repository),
            partial(project_at, repository),
            project.watch,
            _transparent(opened),
        ),
        tracked=Tracked(project.branches, project.tags),
        holder=Holder(holder.me, holder.dead),
        now=opened.now,
        actor=opened.actor,
    )


def collecting(opened: Opened) -> tuple[RemoteTips, Collector]:
    """What `mlops gc` looks at, and by what it chooses."""
    from mlops.engine.collect import Collector  # noqa: PLC0415

    repository = opened.repository
    return _tips(opened), Collector(repository, FirstParents(repository), _transparent(opened))


def _tips(opened: Opened) -> RemoteTips:
    return RemoteTips(opened.repository, opened.repository.remote_name(), opened.claims)


def _transparent(opened: Opened) -> str:
    """The directory whose changes are no source; empty where it is in another repository."""
    return "" if opened.project.gitops.url else opened.project.gitops.path
