"""`mlops runs logs`: what the steps of a run said, with times, and as they say it."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer

from mlops.cli import options, render, runs_options, runs_place
from mlops.cli.runs_json import instant
from mlops.domain.run import LogLine
from mlops.errors import UsageError


class Lines(StrEnum):
    """How lines are printed."""

    TEXT = "text"
    JSON = "json"


def logs(
    name: runs_options.Name,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run is over.")
    ] = False,
    task: Annotated[str, typer.Option(help="One task; default: all of them.")] = "",
    step: Annotated[str, typer.Option(help="One step or sidecar; default: all of them.")] = "",
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Begin each line with its time.")
    ] = False,
    repo: options.Repo = options.HERE,
    output: Annotated[
        Lines,
        typer.Option("--output", "-o", help="text for people; json: an object for each line."),
    ] = Lines.TEXT,
) -> None:
    """Print what the steps of a run wrote, as `TASK/STEP | LINE`; with both named, the lines alone.

    Of a very long log the beginning and the end are kept, and a line says how much is missing.
    Examples:  mlops runs logs spam -f    mlops runs logs spam --task train --step main
    """
    kept = runs_place.executor(runs_place.here(repo))
    run = runs_place.find(kept, name)
    if task and not any(task in (each.name, each.of) for each in run.tasks):
        there = ", ".join(dict.fromkeys(each.of for each in run.tasks))
        raise UsageError(f"run {run.name} has no task {task!r}", hint=f"There is: {there}")
    lines = (kept.follow if follow else kept.logs)(run.name, task, step)
    bare = bool(task and step)
    for line in lines:
        if output is Lines.JSON:
            sys.stdout.write(_json(line) + "\n")
        else:
            sys.stdout.write(_text(line, bare=bare, timestamps=timestamps) + "\n")
        if follow:
            sys.stdout.flush()


def _json(line: LogLine) -> str:
    value = {
        "time": instant(line.time),
        "task": line.task,
        "step": line.step,
        "line": line.text,
        "partial": line.partial,
    }
    return json.dumps(value)


def _text(line: LogLine, *, bare: bool, timestamps: bool) -> str:
    from mlops.adapters.executors.local.logs import plain  # noqa: PLC0415 - loaded anyhow by now

    time = f"{instant(line.time) or '-':<24} " if timestamps else ""
    where = "" if bare else f"{line.task}/{line.step} | "
    return f"{time}{where}{render.safe(plain(line.text))}{'…' if line.partial else ''}"
