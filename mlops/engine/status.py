"""Environments × models: what stands where, since when, from which source, under which hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mlops.domain.digest import ReleaseId
from mlops.domain.environment import Hold
from mlops.domain.source import Commit
from mlops.engine.state import Environments
from mlops.policy.quarantine import quarantined


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One model in one environment; `release` is None where nothing is pinned.

    `since` is None where the history does not reach back that far, `source` where there is no record.
    """

    environment: str
    model: str
    release: ReleaseId | None
    since: datetime | None
    source: Commit | None
    hold: Hold | None
    quarantined: bool


def status(environments: Environments) -> tuple[StatusRow, ...]:
    """One row for each environment and model of mlops.yaml, and for each other model pinned."""
    environments.read_together()
    return tuple(row for name in environments.names for row in _rows(environments, name))


def _rows(environments: Environments, name: str) -> Iterator[StatusRow]:
    state = environments.state(name)
    standing = environments.history(name).standing(state.pins)
    for model in sorted({*environments.project.names, *state.pins}):
        digest = state.pins.get(model)
        release = ReleaseId(model, digest) if digest else None
        record = environments.sound(release) if release else None
        row = standing.get(model)
        artifact = record.artifact if record else None
        forbidden = digest and quarantined(digest, artifact, environments.quarantine)
        yield StatusRow(
            environment=name,
            model=model,
            release=release,
            since=row.since if row and not row.cut else None,
            source=record.source if record else None,
            hold=state.hold(model, environments.now),
            quarantined=bool(forbidden),
        )
