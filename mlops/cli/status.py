"""`mlops status`: environments × models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from mlops.cli import completion, opening, options, pins, render
from mlops.engine.status import StatusRow
from mlops.engine.status import status as read


def status(
    environment: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENV]...",
            help="These environments; default: all.",
            autocompletion=completion.environments,
        ),
    ] = None,
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="This model; may be given several times.",
            autocompletion=completion.models,
        ),
    ] = None,
    no_fetch: pins.NoFetch = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """What every environment pins: release, age, source, hold.

    Examples:  mlops status    mlops status prod --model spam    mlops status --output json
    """
    opened = opening.open_project(repo)
    found = pins.environments(opened, no_fetch=no_fetch)
    rows = read(found, environment or (), model or ())
    render.answer([_json(row) for row in rows], output, lambda: _print(rows, found.now))


def _json(row: StatusRow) -> dict[str, Any]:
    return {
        "environment": row.environment,
        "model": row.model,
        "release": str(row.release) if row.release else None,
        "since": render.stamp(row.since) if row.since else None,
        "source": row.source.sha if row.source else None,
        "hold": pins.hold_json(row.hold),
        "live": None,
    }


def _print(rows: tuple[StatusRow, ...], now: datetime) -> None:
    headings = ("environment", "model", "release", "age", "source", "hold")
    render.table(headings, [_cells(row, now) for row in rows])
    for row in rows:
        if row.quarantined and row.release:
            command = f"mlops rollback {row.environment} {row.model} --reason TEXT"
            render.warn(
                f"{row.environment} pins {row.release.short}, which is quarantined. Go back: {command}"
            )


def _cells(row: StatusRow, now: datetime) -> tuple[str, ...]:
    if row.release is None:
        return (row.environment, row.model, "-", "-", "-", _hold(row))
    age = render.age(row.since, now) if row.since else "?"
    source = row.source.short if row.source else "no record"
    return (row.environment, row.model, pins.short(row.release.digest), age, source, _hold(row))


def _hold(row: StatusRow) -> str:
    if row.hold is None:
        return "-"
    until = f" until {render.stamp(row.hold.until)}" if row.hold.until else ""
    incident = f" ({row.hold.incident})" if row.hold.incident else ""
    return f"held by {row.hold.actor}{until}: {row.hold.reason}{incident}"
