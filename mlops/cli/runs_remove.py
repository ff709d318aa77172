"""`mlops runs remove`: make room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from mlops.cli import options, render, runs_options, runs_place
from mlops.cli.runs_json import run_json
from mlops.cli.runs_kept import Kept
from mlops.config.fields import seconds
from mlops.domain.run import Phase, RunResult
from mlops.errors import UsageError


def remove(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs, or how their names begin.",
            autocompletion=runs_place.offered,
            show_default=False,
        ),
    ] = None,
    *,
    older: Annotated[
        str,
        typer.Option("--older", metavar="TIME", help="All that ended so long ago: 7d, 12h, 0s."),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")
    ] = False,
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> None:
    """Remove runs that are over, with their logs and workspaces.

    Examples:  mlops runs remove hello-x7k2p    mlops runs remove --older 7d
    """
    if not names and not older:
        raise UsageError("nothing is named to be removed", hint="Name runs, or give --older 7d")
    kept = runs_place.executor(runs_place.here(repo, executor, namespace))
    found = {run.name: run for run in (runs_place.find(kept, name) for name in names or ())}
    if older:
        found |= {run.name: run for run in _ended_before(kept, older)}
    for name in found if not dry_run else ():
        kept.remove(name)
    rows = list(found.values())
    render.answer(
        [run_json(run, kept.name) for run in rows], output, lambda: _print(rows, dry_run=dry_run)
    )


def _ended_before(kept: Kept, older: str) -> list[RunResult]:
    """The runs that are over for so long; one that was killed, since it began."""
    try:
        limit = datetime.now(UTC) - timedelta(seconds=seconds(older))
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"--older {older!r}: {exc}") from exc
    return [
        run
        for run in kept.list()
        if run.phase not in (Phase.RUNNING, Phase.PENDING)
        and (run.finished or run.started or limit) <= limit
    ]


def _print(found: list[RunResult], *, dry_run: bool) -> None:
    for run in found:
        render.line(f"{'would remove' if dry_run else 'removed'} {run.name}: {run.phase}")
