"""`mlops gc`: remove what nothing needs any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated

import typer

from mlops.adapters.git.pulls import PullRefs
from mlops.cli import opening, options, render, wiring_triggers, wiring_watch
from mlops.cli.wiring import Opened
from mlops.config.fields import seconds
from mlops.domain.watching import Tracked
from mlops.engine import marking
from mlops.engine.collect import runs
from mlops.engine.triggers import marked
from mlops.errors import MlopsError, UsageError
from mlops.ports import Claim


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

    With them go marks of triggers that no model has any more, and what was run of pull requests that are gone.
    Nothing that was decided is decided again.

    Examples:  mlops gc --dry-run    mlops gc --window 90d
    """
    try:
        age = timedelta(seconds=seconds(window))
    except ValueError as exc:
        raise UsageError(f"--window {window}: {exc}") from exc
    opened = opening.open_project(repo)
    if not dry_run:
        opened.claims.settle()
    tips, collector = wiring_watch.collecting(opened)
    refs, now = PullRefs(opened.repository), opened.now()
    made, proposed = refs.approved(), refs.proposed()
    sight = tips.look(Tracked(opened.project.branches, opened.project.tags))
    old = collector.old(sight, now, age, proposed) + _marks(opened, sight.claims, now, age)
    gone = old if dry_run else tuple(opened.claims.remove(old))
    left = [claim for claim in sight.claims if claim not in gone]
    dropped = tuple(collector.approved(made, left, proposed, now, age).items())
    heads = tuple(head for head, _ in dropped) if dry_run else refs.drop(dict(dropped))
    names = runs(gone)
    rows = [{"run": name, "removed": not dry_run} for name in names]
    render.answer(rows, output, lambda: _print(names))
    many = "1 claim" if len(names) == 1 else f"{len(names)} claims"
    pulls = f", and the commits that were run of {len(heads)} pull requests," if heads else ""
    render.note(f"{many}{pulls} older than {window} {'would be' if dry_run else 'were'} removed")


def _marks(
    opened: Opened, claims: Iterable[Claim], now: datetime, age: timedelta
) -> tuple[Claim, ...]:
    """The marks that no trigger has any more; none where the branch that triggers are of cannot be read."""
    try:
        found = wiring_triggers.trunk(opened, opened.project.branches, fetch=True)
    except MlopsError as exc:
        render.warn(f"marks of triggers stay: {exc}")
        return ()
    if found is None:
        return ()
    return marking.old(claims, marked(found[0]) | marked(opened.project), now, age)


def _print(names: tuple[str, ...]) -> None:
    for name in names:
        render.line(name)
