"""`mlops runs show`: one run, as a tree, a picture, or a document."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from mlops.cli import options, render, runs_options, runs_place, runs_words, terminal, tree
from mlops.cli.drawing.nodes import lasting
from mlops.cli.runs_json import whole_json
from mlops.domain.run import Phase, RunResult, Value
from mlops.tekton import continuing

_PIPED = 400  # columns where nobody looks: nothing is cut


class Shown(StrEnum):
    """How a run is shown."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    TEKTON = "tekton"
    DOT = "dot"
    SVG = "svg"


def show(
    name: runs_options.Name,
    *,
    with_taskruns: Annotated[
        bool,
        typer.Option("--with-taskruns", help="With -o tekton: a List of the run and its TaskRuns."),
    ] = False,
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: Annotated[
        Shown,
        typer.Option(
            "--output",
            "-o",
            help="text for people, json or yaml for programs; tekton: the PipelineRun with its "
            "status, as JSON; dot, svg: the graph.",
        ),
    ] = Shown.TEXT,
) -> None:
    """Show a run: its tasks and steps, how they stand, how long they took, why they were skipped.

    Examples:  mlops runs show spam-1a2b3c4-1    mlops runs show spam -o svg > run.svg
    """
    kept = runs_place.executor(runs_place.here(repo, executor, namespace))
    run = runs_place.find(kept, name)
    if output is Shown.DOT:
        from mlops.cli.drawing.dot import dot  # noqa: PLC0415 - only this form of answer draws

        render.raw(dot(run))
    elif output is Shown.SVG:
        from mlops.cli.drawing.svg import svg  # noqa: PLC0415

        render.raw(svg(run))
    elif output is Shown.TEKTON:
        document = kept.objects([run], with_taskruns=with_taskruns)
        render.answer(document, options.Output.JSON, lambda: None)
    else:
        render.answer([whole_json(run, kept.name)], options.Output(output), lambda: text(run))


def text(run: RunResult) -> None:
    """The run for people, on stdout."""
    room = terminal.columns() if sys.stdout.isatty() else _PIPED
    render.line(tree.head(run))
    if run.message:
        render.line(run.message)
    now = datetime.now(UTC)
    for final in (False, True):
        tasks = [task for task in run.tasks if task.final is final]
        if tasks and final:
            render.line("finally")
        culprits = runs_words.failed(run.tasks)
        rows = list(tree.rows(tasks, now, steps=True, culprits=culprits))
        for line in tree.lines(rows, room, paint=terminal.colours(sys.stdout)):
            sys.stdout.write(line + "\n")
    for line in _about(run, now):
        render.line(line)


def summary(run: RunResult) -> None:
    """How a run ended and its results, on stdout."""
    render.line(tree.head(run))
    for name, value in run.results.items():
        if _says(run, value):
            render.line(f"{name}: {_value(value)}")


def _says(run: RunResult, value: Value) -> bool:
    """Whether a result is worth a line: one of ours that is empty says nothing, such as that of a note."""
    return bool(value) or "dev.mlops/model" not in run.labels


def _about(run: RunResult, now: datetime) -> Iterator[str]:
    if run.started is not None:
        yield f"started {render.stamp(run.started)}{_lasted(run, now)}"
    for name, value in run.results.items():
        if _says(run, value):
            yield f"result {name}: {_value(value)}"
    if run.labels.get(continuing.OF):
        yield f"goes on with {run.labels[continuing.OF]}"
    for note in run.notes:
        yield f"note: {note}"


def _lasted(run: RunResult, now: datetime) -> str:
    if run.started is None or (run.finished is None and run.phase is not Phase.RUNNING):
        return ""
    verb = "took" if run.finished else "has been running for"
    return f", {verb} {lasting((run.finished or now) - run.started)}"


def _value(value: Value) -> str:
    import json  # noqa: PLC0415 - only where there are such results

    if isinstance(value, str):
        return render.safe(value.rstrip("\n"))
    return json.dumps(value if isinstance(value, tuple) else dict(value), ensure_ascii=False)
