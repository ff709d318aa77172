"""Environments × models: what stands where, since when, from which source, under which hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
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


def status(
    environments: Environments, names: Collection[str] = (), models: Collection[str] = ()
) -> tuple[StatusRow, ...]:
    """One row for each environment and model of mlops.yaml, and for each other model pinned.

    `names` and `models` choose environments and models, all where none are named; no more is read than
    they need. Raises UsageError where there is no such environment or model.
    """
    asked = {environments.environment(name) for name in names}
    wanted = frozenset(environments.model(model) for model in models)
    chosen = tuple(name for name in environments.names if not asked or name in asked)
    with closing(environments.read_together(chosen)):
        return tuple(row for name in chosen for row in _rows(environments, name, wanted))


def _rows(environments: Environments, name: str, wanted: Collection[str]) -> Iterator[StatusRow]:
    state = environments.state(name)
    listed = sorted(wanted or {*environments.project.names, *state.pins})
    pins = {model: state.pins[model] for model in listed if model in state.pins}
    standing = environments.history(name).standing(pins)
    for model in listed:
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
