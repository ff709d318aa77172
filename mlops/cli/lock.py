"""`mlops lock`: every tag and version resolved once, into files that are reviewed like code."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops.cli import opening, options, render, tags, wiring
from mlops.engine.lock import ALL, Locked
from mlops.errors import UsageError


def lock(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…", help="With --upgrade: packages, bases, or base for all bases."
        ),
    ] = None,
    *,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Resolve anew: NAME, or everything.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 where a lock is stale; write nothing.")
    ] = False,
    overlays: Annotated[
        bool,
        typer.Option("--overlays", help="Move the tags in overlays to digests, and nothing else."),
    ] = False,
    dry_run: options.DryRun = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Lock base images, tools and Python packages: mlops.lock and requirements.lock.

    What is locked stays, unless its inputs changed. Builds read locks only. Commit what it writes.

    With --overlays, each newTag gives way to the digest that it names now. Exit 3 where a registry
    cannot be asked: what could be moved is.

    Examples:  mlops lock    mlops lock --upgrade scikit-learn    mlops lock --overlays --dry-run
    """
    opened = opening.open_work_tree(repo)
    if overlays:
        if names or upgrade:
            raise UsageError(
                "--overlays takes no NAME and no --upgrade", hint="Run them one by one"
            )
        return tags.settle(opened, output, check=check, dry_run=dry_run)
    locker = wiring.locker(opened)
    if check:
        stale = locker.stale()
        render.answer([{"stale": list(stale)}], output, lambda: _print_stale(stale))
        return 1 if stale else 0
    render.note("locking: base images, the tool image, Python packages")
    wanted = tuple(names or ()) or (ALL,) if upgrade else ()
    locked = locker.lock(wanted)
    if not dry_run:
        for path, content in locked.files.items():
            opened.write(path, content)
    value = {"files": sorted(locked.files), "changes": list(locked.changes)}
    render.answer([value], output, lambda: _print(locked))
    tags.remind(opened)
    return 0


def _print_stale(stale: tuple[str, ...]) -> None:
    for text in stale:
        render.line(text)
    render.line("stale: run mlops lock" if stale else "the locks are fresh")


def _print(locked: Locked) -> None:
    for text in locked.changes:
        render.line(text)
    if not locked.files:
        render.line("the locks stand as they are")
    else:
        render.line(f"commit them: git add {' '.join(sorted(locked.files))}")
