"""The only place that builds adapters and hands them to use cases.

Heavy libraries load here, inside the factories, when a command first needs them: this keeps
`mlops --help`, `status` and `history` fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.domain.project import Project
from mlops.errors import UsageError

if TYPE_CHECKING:
    from mlops.adapters.dvc import DvcStore
    from mlops.adapters.executors.local import LocalExecutor
    from mlops.adapters.git import GitOpsBranch, Repository, RunClaims
    from mlops.adapters.layout import OciLayout

PROJECT_FILE = "mlops.yaml"


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass
class Opened:
    """A project, opened: what use cases are handed. Adapters are built when first asked for."""

    root: Path
    repository: Repository
    project: Project
    now: Callable[[], datetime] = field(default=now)

    @cached_property
    def gitops(self) -> GitOpsBranch:
        raise NotImplementedError

    @cached_property
    def claims(self) -> RunClaims:
        raise NotImplementedError

    @cached_property
    def data(self) -> DvcStore:
        raise NotImplementedError

    @cached_property
    def images(self) -> OciLayout:
        raise NotImplementedError

    @cached_property
    def executor(self) -> LocalExecutor:
        raise NotImplementedError

    @cached_property
    def actor(self) -> str:
        """Who acts: MLOPS_ACTOR, else git's user, else the login name."""
        return os.environ.get("MLOPS_ACTOR") or self.repository.identity() or os.environ.get("USER", "unknown")


def open_project(start: Path) -> Opened:
    """Find and read the project at `start` or above. Raises UsageError where there is none."""
    raise UsageError("no mlops.yaml here or above: run mlops init")
