"""`mlops config`: check what people wrote, and print the schema for editors."""

from __future__ import annotations

import json

import typer

from mlops.cli import options, render, wiring

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
    faults, files = wiring.check_configuration(repo)
    value = [{"files": list(files), "faults": list(faults)}]
    render.answer(value, output, lambda: _print(faults, files))
    return 2 if faults else 0


def _print(faults: tuple[str, ...], files: tuple[str, ...]) -> None:
    for fault in faults:
        render.line(fault)
    if not faults:
        render.line(f"{len(files)} files are in order: {', '.join(files)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of mlops.yaml, for editors."""
    render.raw(json.dumps(wiring.project_schema(), indent=2, sort_keys=True) + "\n")
