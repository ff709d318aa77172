"""`mlops runs logs`: what the steps of a run said, with times, and as they say it."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from mlops.cli import options, runs_options, runs_place, wiring_cluster
from mlops.cli.runs_json import instant
from mlops.cli.runs_kept import Kept
from mlops.cli.terminal import visible
from mlops.domain.run import LogLine, RunResult
from mlops.errors import UsageError

_TAB = "\t"


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
    task: Annotated[
        str,
        typer.Option(
            help="One task; default: all of them.", autocompletion=runs_place.offered_tasks
        ),
    ] = "",
    step: Annotated[
        str,
        typer.Option(
            help="One step or sidecar; default: all of them.",
            autocompletion=runs_place.offered_steps,
        ),
    ] = "",
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Begin each line with its time.")
    ] = False,
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: Annotated[
        Lines,
        typer.Option("--output", "-o", help="text for people; json: an object for each line."),
    ] = Lines.TEXT,
) -> None:
    """Print what the steps of a run wrote, as `TASK/STEP | LINE`; with both named, the lines alone.

    One step after the other, as they began; with -f what comes, as it comes.

    Of a very long log the beginning and the end are kept, and a line says how much is missing.
    Examples:  mlops runs logs spam -f    mlops runs logs spam --task train --step main
    """
    patience = wiring_cluster.LASTING if follow else wiring_cluster.QUESTION
    kept = runs_place.executor(runs_place.here(repo, executor, namespace), patience=patience)
    run = runs_place.find(kept, name)
    if task and not any(task in (each.name, each.of) for each in run.tasks):
        there = ", ".join(dict.fromkeys(each.of for each in run.tasks))
        raise UsageError(f"run {run.name} has no task {task!r}", hint=f"There is: {there}")
    if step and run.phase.done:
        _known(step, run, kept)
    lines = (kept.follow if follow else kept.logs)(run.name, task, step)
    form = partial(_text, bare=bool(task and step), timestamps=timestamps)
    for line in lines:
        sys.stdout.write(_json(line) if output is Lines.JSON else form(line))
        if follow:
            sys.stdout.flush()


def _known(step: str, run: RunResult, kept: Kept) -> None:
    """Raises UsageError where no task had such a step or sidecar."""
    there = kept.steps(run.name)
    if step not in there:
        raise UsageError(
            f"run {run.name} has no step {step!r}", hint=f"There is: {', '.join(there)}"
        )


def _json(line: LogLine) -> str:
    value = {
        "time": instant(line.time),
        "task": line.task,
        "step": line.step,
        "line": line.text,
        "partial": line.partial,
    }
    return json.dumps(value) + "\n"


def _text(line: LogLine, *, bare: bool, timestamps: bool) -> str:
    """A line for people; `bare` into a file or pipe is what the step wrote, a long line whole."""
    from mlops.adapters.executors.local.record.logs import plain  # noqa: PLC0415 - loaded anyhow by now

    time = f"{instant(line.time) or '-':<24} " if timestamps else ""
    where = "" if bare else f"{line.task}/{line.step} | "
    if bare and not sys.stdout.isatty():
        return f"{time}{line.text}" + ("" if line.partial else "\n")
    return f"{time}{where}{visible(plain(line.text), _TAB)}{'…' if line.partial else ''}\n"
