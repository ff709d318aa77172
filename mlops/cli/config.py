"""`mlops config`: check what people wrote, and print the schema for editors."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mlops.adapters.git import discover
from mlops.cli import answers, options, render, wiring
from mlops.config.project import schema as project_schema
from mlops.config.watchlist import schema as watchlist_schema
from mlops.engine.check import check as checked
from mlops.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Check the configuration; print its JSON schema.")


@app.command()
def check(
    *,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Read mlops.yaml, mlops.lock and every environment's files of the work tree.

    Exits 2 where something is wrong, each fault with file, line and key.
    """
    faults, files = check_files(repo)
    value = [{"files": list(files), "faults": list(faults)}]
    render.answer(value, output, lambda: _print(faults, files))
    return 2 if faults else 0


def check_files(start: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Faults, and the files that were read, of the work tree at `start` or above."""
    root = discover(start).directory
    if wiring.read_file(root, wiring.PROJECT_FILE) is None:
        raise UsageError("no mlops.yaml here or above: run mlops init")
    return checked(partial(wiring.read_file, root))


def _print(faults: tuple[str, ...], files: tuple[str, ...]) -> None:
    for fault in faults:
        render.line(fault)
    if not faults:
        render.line(f"{len(files)} files are in order: {', '.join(files)}")


@app.command()
def schema(
    *,
    watcher: Annotated[
        bool, typer.Option("--watcher", help="Of watcher.yaml, the file of `mlops watch --config`.")
    ] = False,
    answer: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="Of the answer of a command instead: history, status, rollback, 'config check'.",
            autocompletion=answers.offered,
        ),
    ] = "",
) -> None:
    """Print the JSON schema of mlops.yaml or watcher.yaml, for editors; or of what a command answers, for programs.

    Examples:  mlops config schema    mlops config schema --answer history
    """
    if answer and watcher:
        raise UsageError("--watcher and --answer name two schemas", hint="Give one of them")
    found = answers.schema(answer) if answer else project_schema()
    found = watchlist_schema() if watcher else found
    render.raw(json.dumps(found, indent=2, sort_keys=True) + "\n")
