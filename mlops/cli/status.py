"""`mlops status`: environments × models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.cli import completion, opening, options, pins, render, wiring_cluster
from mlops.cli.wiring import Opened
from mlops.engine.state import Environments
from mlops.engine.status import StatusRow
from mlops.engine.status import status as read
from mlops.errors import ConfigError

if TYPE_CHECKING:
    from mlops.engine.live import Live


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
    live: Annotated[
        bool,
        typer.Option("--live", help="Compare with what the cluster runs; exit 1 on a difference."),
    ] = False,
    no_fetch: pins.NoFetch = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """What every environment pins: release, age, source, hold; with --live, what really runs.

    Examples:  mlops status    mlops status prod --model spam    mlops status dev --live
    """
    opened = opening.open_project(repo)
    found = pins.environments(opened, no_fetch=no_fetch)
    unread: list[ConfigError] = []
    rows = read(found, environment or (), model or (), unread.append)
    seen = _live(opened, found, rows) if live else {}
    told = [_json(row, seen.get((row.environment, row.model))) for row in rows]
    render.answer(told, output, lambda: _print(rows, found.now, seen if live else None))
    for fault in unread[1:]:
        render.fail(str(fault))
    if unread:  # the others were shown
        raise unread[0]
    return int(any(not each.healthy for each in seen.values()))


def _live(
    opened: Opened, found: Environments, rows: tuple[StatusRow, ...]
) -> dict[tuple[str, str], Live]:
    return wiring_cluster.live(opened.project, found, rows)


def _json(row: StatusRow, live: Live | None) -> dict[str, Any]:
    return {
        "environment": row.environment,
        "model": row.model,
        "release": str(row.release) if row.release else None,
        "since": render.stamp(row.since) if row.since else None,
        "source": row.source.sha if row.source else None,
        "hold": pins.hold_json(row.hold),
        "live": _live_json(live) if live is not None else None,
    }


def _live_json(live: Live) -> dict[str, Any]:
    return {
        "matches": live.matches,
        "running": [str(each) for each in live.running],
        "pods": live.pods,
        "ready": live.ready,
        "progress": live.progress or None,
        "managers": list(live.managers),
        "fault": live.fault or None,
        "differs": list(live.differs),
        "deployed": _deployed(live),
    }


def _deployed(live: Live) -> dict[str, str] | None:
    found = live.deployed
    if found is None:
        return None
    return {"commit": found.commit, "actor": found.actor, "time": found.time}


def _print(
    rows: tuple[StatusRow, ...], now: datetime, seen: dict[tuple[str, str], Live] | None
) -> None:
    headings = ("environment", "model", "release", "age", "source", "hold")
    if seen is None:
        render.table(headings, [_cells(row, now) for row in rows])
    else:
        lives = [seen.get((row.environment, row.model)) for row in rows]
        cells = [(*_cells(row, now), _said(each)) for row, each in zip(rows, lives, strict=True)]
        render.table((*headings, "live"), cells)
    for text in dict.fromkeys(_beside(seen or {}, now)):
        render.note(text)
    for row in rows:
        if row.quarantined and row.release:
            command = f"mlops rollback {row.environment} {row.model} --reason TEXT"
            render.warn(
                f"{row.environment} pins {row.release.short}, which is quarantined. Go back: {command}"
            )


def _beside(seen: dict[tuple[str, str], Live], now: datetime) -> Iterator[str]:
    """Who differs, who else writes there, and who deployed last."""
    for (environment, model), live in seen.items():
        if live.progress:
            yield f"{environment}, {model}: {live.progress}"
        for each in live.differs:
            yield f"{environment}: {each}, not what it pins of {model}"
        if live.managers:
            yield f"{environment}: {', '.join(live.managers)} wrote to the workload of {model} too"
        if live.deployed is not None:
            found = live.deployed
            with contextlib.suppress(ValueError):  # a time that somebody wrote by hand
                when = render.age(datetime.fromisoformat(found.time), now)
                yield f"{environment} was deployed at {found.commit[:12]} by {found.actor}, {when} ago"


def _said(live: Live | None) -> str:
    if live is None:
        return "-"
    if live.fault:
        return f"not known: {render.words(live.fault)}"
    if not live.pods and not live.healthy:
        return "nothing runs"
    ready = f"{live.ready} of {live.pods} ready"
    if live.differs:
        return f"runs {', '.join(pins.short(each) for each in live.running)}, {ready}"
    return f"{ready}, not done" if live.progress else ready


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
