"""`mlops gc`: remove what nothing needs any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from mlops.cli import opening, options, render, wiring_watch
from mlops.config.fields import seconds
from mlops.domain.watching import Tracked
from mlops.engine.collect import runs
from mlops.errors import UsageError


def gc(
    *,
    window: Annotated[
        str,
        typer.Option("--window", metavar="TIME", help="How old a decision and its commit must be."),
    ] = "180d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")
    ] = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> None:
    """Remove old claims of the remote: decisions about commits that have ended, and that no tracked ref leans on.

    Nothing that was decided is decided again.

    Examples:  mlops gc --dry-run    mlops gc --window 90d
    """
    try:
        age = timedelta(seconds=seconds(window))
    except ValueError as exc:
        raise UsageError(f"--window {window}: {exc}") from exc
    opened = opening.open_project(repo)
    tips, collector = wiring_watch.collecting(opened)
    sight = tips.look(Tracked(opened.project.branches, opened.project.tags))
    old = collector.old(sight, opened.now(), age)
    gone = old if dry_run else tuple(opened.claims.remove(old))
    names = runs(gone)
    rows = [{"run": name, "removed": not dry_run} for name in names]
    render.answer(rows, output, lambda: _print(names))
    many = "1 claim" if len(names) == 1 else f"{len(names)} claims"
    render.note(f"{many} older than {window} {'would be' if dry_run else 'were'} removed")


def _print(names: tuple[str, ...]) -> None:
    for name in names:
        render.line(name)
