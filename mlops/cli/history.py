"""`mlops history`: every pin that ever was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from mlops.cli import opening, options, pins, render
from mlops.domain.digest import ReleaseId
from mlops.domain.history import PinRow
from mlops.domain.reference import Day, When, parse_when
from mlops.engine.history import UNSHALLOW, History
from mlops.engine.state import Environments
from mlops.errors import RefusedError


def history(
    environment: pins.Environment,
    model: pins.OneModel = "",
    *,
    at: Annotated[
        str,
        typer.Option(
            metavar="WHEN", help="What was in force then: 2019-07-16T12:00:00Z, 2019-07-16."
        ),
    ] = "",
    tz: pins.Zone = "UTC",
    no_fetch: pins.NoFetch = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Every pin of an environment, newest first: when, who, why, which run.

    Examples:  mlops history prod    mlops history prod spam --at 2019-07-16T12:00:00Z
    """
    when = parse_when(at, pins.zone(tz)) if at else None
    opened = opening.open_project(repo)
    found = pins.environments(opened, no_fetch=no_fetch)
    past = found.history(environment)
    if model:
        found.model(model)
    rows = _at(found, past, when, model) if when else tuple(past.rows(model or None))
    render.answer([_json(row) for row in rows], output, lambda: _print(rows, found.now))
    if not rows:
        render.note(f"{environment} has never pinned {model or 'anything'}")
    elif past.cut_off and when is None:
        render.warn(f"{past.cut_off}. {UNSHALLOW}")
    _warn_of_force_push(found)


def _warn_of_force_push(found: Environments) -> None:
    """Say that pins may be missing here, which somebody has seen before."""
    lost = found.gitops.overwritten(found.tip)
    if lost is not None:
        look = f"git log {found.tip.short}..{lost.commit.short} -- {found.gitops.path}"
        render.warn(
            f"the GitOps branch was force-pushed: {lost.commit.short} of {render.stamp(lost.committed)} "
            f"was its tip, and is no longer in its history. What is missing here: {look}"
        )


def _at(found: Environments, past: History, when: When, model: str) -> Sequence[PinRow]:
    start = when.start if isinstance(when, Day) else when.at
    if start > found.now:
        render.warn(f"{when} is still to come: this is what stands now")
    rows = past.at(when, model or None)
    if rows:
        return rows
    first = None
    for first in past.rows(model or None):  # noqa: B007 - the last is the oldest
        pass
    if first is None:
        raise RefusedError(f"{past.environment} has never pinned {model or 'anything'}")
    raise RefusedError(
        f"{past.environment} pinned {f'no {model}' if model else 'nothing'} "
        f"{'on' if isinstance(when, Day) else 'at'} {when}; its first pin is of {render.stamp(first.since)}"
    )


def _json(row: PinRow) -> dict[str, Any]:
    previous = str(ReleaseId(row.model, row.previous)) if row.previous else None
    return {
        "environment": row.environment,
        "model": row.model,
        "release": str(row.release),
        "previous": previous,
        "since": None if row.cut else render.stamp(row.since),
        "until": render.stamp(row.until) if row.until else None,
        "commit": row.commit.sha,
        "author": row.author,
        "actor": row.actor or row.author,
        "action": None if row.cut else row.action,
        "reason": row.reason or None,
        "incident": row.incident or None,
        "run": row.run or None,
    }


def _print(rows: Sequence[PinRow], now: datetime) -> None:
    if not rows:
        return
    headings = ("since", "for", "model", "release", "action", "by", "reason", "run")
    render.table(headings, [_cells(row, now) for row in rows])


def _cells(row: PinRow, now: datetime) -> tuple[str, ...]:
    since = f"before {render.stamp(row.since)}" if row.cut else render.stamp(row.since)
    why = " ".join(
        part for part in (row.reason, f"({row.incident})" if row.incident else "") if part
    )
    return (
        since,
        render.age(row.since, row.until or now) + ("" if row.until else ", now"),
        row.model,
        pins.short(row.digest),
        "?" if row.cut else row.action,
        row.actor or row.author,
        why or "-",
        row.run or "-",
    )
