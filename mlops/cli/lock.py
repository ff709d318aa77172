"""`mlops lock`: every tag and version resolved once, into files that are reviewed like code."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlops.cli import opening, options, render, tags, wiring, wiring_lock
from mlops.engine import lockdiff
from mlops.engine.lock import ALL, Locked
from mlops.engine.lockdiff import Change
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
    Packages come from requirements.txt, pyproject.toml, uv.lock, pylock.toml or Pipfile.lock.

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
    _check_options(names or [], upgrade=upgrade, check=check)
    locker = wiring_lock.locker(opened)
    if check:
        stale = locker.stale()
        render.answer([_json(stale=stale)], output, lambda: _print_stale(stale))
        return 1 if stale else 0
    render.note("locking: base images, the tool image, Python packages")
    locked = locker.lock(tuple(names or ()) or (ALL,) if upgrade else ())
    diff = _diff(opened, locked) if dry_run else None
    if not dry_run:
        for path, content in locked.files.items():
            opened.write(path, content)
    for text in locked.withdrawn:
        render.warn(text)
    render.answer([_json(locked, diff=diff)], output, lambda: _print(locked, diff))
    tags.remind(opened)
    return 0


def _check_options(names: list[str], *, upgrade: bool, check: bool) -> None:
    if names and not upgrade:
        raise UsageError(
            f"{names[0]} is named, and nothing is to be upgraded",
            hint=f"mlops lock --upgrade {' '.join(names)}",
        )
    if check and upgrade:
        raise UsageError(
            "--check writes nothing, and --upgrade resolves anew",
            hint="To see what an upgrade would change: mlops lock --upgrade --dry-run",
        )


def _diff(opened: wiring.Opened, locked: Locked) -> str:
    return "".join(
        lockdiff.unified(path, wiring.read_file(opened.root, path), content)
        for path, content in locked.files.items()
    )


def _json(
    locked: Locked | None = None, *, stale: tuple[str, ...] = (), diff: str | None = None
) -> dict[str, Any]:
    found = {
        "stale": list(stale),
        "files": sorted(locked.files) if locked else [],
        "changes": [_change(each) for each in locked.changes] if locked else [],
        "withdrawn": list(locked.withdrawn) if locked else [],
    }
    return found if diff is None else found | {"diff": diff}


def _change(change: Change) -> dict[str, str | None]:
    return {
        "file": change.file,
        "kind": change.kind,
        "name": change.name or None,
        "from": change.before or None,
        "to": change.after or None,
        "note": change.note or None,
    }


def _print_stale(stale: tuple[str, ...]) -> None:
    for text in stale:
        render.line(text)
    render.line("stale: run mlops lock" if stale else "the locks are fresh")


def _print(locked: Locked, diff: str | None) -> None:
    """The changes, one a line; of a dry run on stderr, and the diff in their place."""
    say = render.line if diff is None else render.note
    for change in locked.changes:
        say(str(change))
    if not locked.files:
        render.line("the locks stand as they are")
    elif diff is None:
        render.line(f"commit them: git add {' '.join(sorted(locked.files))}")
    else:
        render.diff(diff)
        render.note("nothing was written: --dry-run")
