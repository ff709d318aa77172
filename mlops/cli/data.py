"""`mlops data`: DVC, with the checks that a release needs."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops.cli import opening, options, render
from mlops.errors import RefusedError

app = typer.Typer(no_args_is_help=True, help="Data through DVC: add, status, push, pull.")


@app.command()
def add(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Files or directories to version.")
    ],
    *,
    repo: options.Repo = options.HERE,
    verbose: options.Verbose = False,
) -> None:
    """Version data with DVC: git keeps the hash, DVC the bytes.

    Example:  mlops data add data/train.csv
    """
    opened = opening.open_project(repo)
    opened.data.add(opened.inside(paths))


@app.command()
def status(
    *,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Say what HEAD refers to that is not on the remote, and what differs here; exit 1 if anything."""
    opened = opening.open_project(repo)
    head = opened.repository.resolve("HEAD")
    missing = list(opened.data.missing(head)) if opened.data.has_remote(head) else []
    changed = [text for text in opened.data.status() if text.partition(":")[0].endswith(".dvc")]
    value = {"missing": missing, "changed": changed, "remote": opened.data.has_remote(head)}
    render.answer([value], output, lambda: _print(missing, changed, remote=bool(value["remote"])))
    return 1 if missing or changed or not value["remote"] else 0


def _print(missing: list[str], changed: list[str], *, remote: bool) -> None:
    if not remote:
        render.line("no DVC remote is configured: add one with dvc remote add -d NAME URL")
    for text in missing:
        render.line(f"not on the remote: {text}")
    for text in changed:
        render.line(f"changed here: {text}")
    if remote and not missing and not changed:
        render.line("all data of HEAD is on the remote, and unchanged here")


@app.command()
def push(*, repo: options.Repo = options.HERE, verbose: options.Verbose = False) -> None:
    """Send to the remote what this work tree's DVC files refer to; check that it arrived."""
    opened = opening.open_project(repo)
    opened.data.push()
    head = opened.repository.resolve("HEAD")
    missing = opened.data.missing(head)
    if missing:
        raise RefusedError(
            "HEAD refers to data that is still not on the remote:\n  " + "\n  ".join(missing),
            hint="Check it out and add it again: mlops data add PATH",
        )
    render.note("all data of HEAD is on the remote")


@app.command()
def pull(
    ref: Annotated[
        str, typer.Argument(metavar="[REF|REV]", help="A release or a commit; default: HEAD.")
    ] = "",
    *,
    repo: options.Repo = options.HERE,
    verbose: options.Verbose = False,
) -> None:
    """Bring data here: that of the work tree, or of a release or commit.

    Examples:  mlops data pull    mlops data pull spam@prod
    """
    opened = opening.open_project(repo)
    opened.data.pull(opened.revision(ref) if ref else None)
