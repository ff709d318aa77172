"""`mlops runs cancel|retry|start`: from any terminal, whoever carries the run out."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from mlops.cli import (
    options,
    render,
    runs_carry,
    runs_choice,
    runs_options,
    runs_place,
    wiring_cluster,
)
from mlops.cli.runs_choice import Choice
from mlops.cli.runs_json import run_json
from mlops.cli.runs_kept import Kept
from mlops.cli.runs_place import Place
from mlops.domain.run import Ending, RunResult

_PATIENCE = 30.0  # seconds until a run that was asked to end must have taken notice
_HEEDED = ("CancelledRunningFinally", "StoppedRunningFinally")


class Finally(StrEnum):
    """What becomes of `finally` where a run is cancelled."""

    RUN = "run"
    STOP = "stop"


_ENDINGS = {None: Ending.CANCELLED, Finally.RUN: Ending.RUN_FINALLY, Finally.STOP: Ending.STOPPED}


def cancel(
    name: runs_options.Name,
    *,
    finally_: Annotated[
        Finally | None,
        typer.Option(
            "--finally",
            help="run: end the tasks, then carry out finally; stop: let those that run end, start no "
            "others, then finally. Default: end everything at once.",
        ),
    ] = None,
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> int:
    """End a run, whichever process carries it out; one whose process is gone is marked as cancelled.

    Examples:  mlops runs cancel spam-1a2b3c4-1    mlops runs cancel spam --finally run
    """
    kept = runs_place.executor(runs_place.here(repo, executor, namespace))
    before = runs_place.find(kept, name)
    asked = kept.cancel(before.name, _ENDINGS[finally_])
    after = _heeded(kept, before) if asked else kept.status(before.name)
    run = after or before
    heeded = run.phase.done or run.reason in _HEEDED
    render.answer([run_json(run, kept.name)], output, lambda: _say(run, heeded=heeded))
    return 0 if heeded else 1


def _heeded(kept: Kept, run: RunResult) -> RunResult:
    """How the run stands once it took notice, or after a while."""
    found = run
    for found in kept.watch(run.name, _PATIENCE):
        if found.phase.done or found.reason in _HEEDED:
            break
    return found


def _say(run: RunResult, *, heeded: bool) -> None:
    if not heeded:
        render.fail(f"{run.name} was asked to end, and still says {run.phase}")
    else:
        render.line(f"{run.name}: {run.phase if run.phase.done else run.reason}")


def _again(place: Place, name: str, choice: Choice, jobs: int) -> tuple[RunResult, Kept]:
    """A run, and an executor that carries it out as it was begun, but for `choice`."""
    if place.cluster is not None:
        kept = runs_place.executor(place, choice=choice, jobs=jobs, patience=wiring_cluster.LASTING)
        return runs_place.find(kept, name), kept
    looking = runs_place.local(place)
    run = runs_place.find(looking, name)
    whole = choice.over(runs_choice.recall(looking.path(run.name)))
    return run, runs_place.executor(place, run=run, choice=whole, jobs=jobs)


def retry(
    name: runs_options.Name,
    *,
    logs: runs_options.Logs = False,
    jobs: runs_options.Jobs = 0,
    image: runs_options.Images = None,
    image_map: runs_options.ImageMapFile = None,
    runtime: runs_options.Runtime = "",
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> int:
    """Go on with a run that failed, was cancelled, or whose process was killed.

    Tasks that succeeded are not run again: their results and the workspaces stand. Finally runs again.
    """
    choice = runs_choice.chosen(image or (), image_map, runtime)
    run, kept = _again(runs_place.here(repo, executor, namespace), name, choice, jobs)
    found = runs_carry.carry_out(kept, run.name, partial(kept.retry, run.name), logs=logs)
    return runs_carry.answer(kept, [found], output)


def start(
    name: runs_options.Name,
    *,
    logs: runs_options.Logs = False,
    jobs: runs_options.Jobs = 0,
    image: runs_options.Images = None,
    image_map: runs_options.ImageMapFile = None,
    runtime: runs_options.Runtime = "",
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> int:
    """Carry out a run that is pending: one whose spec.status is PipelineRunPending."""
    choice = runs_choice.chosen(image or (), image_map, runtime)
    run, kept = _again(runs_place.here(repo, executor, namespace), name, choice, jobs)
    found = runs_carry.carry_out(kept, run.name, partial(kept.start, run.name), logs=logs)
    return runs_carry.answer(kept, [found], output)
