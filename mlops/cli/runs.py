"""`mlops runs`: what the executor carried out, and its logs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mlops.cli import opening, options, render, wiring
from mlops.domain.run import RunResult
from mlops.errors import UsageError

app = typer.Typer(help="Runs on the executor: list, show, logs.", invoke_without_command=True)


@app.callback(invoke_without_command=True)
def listing(
    context: typer.Context,
    *,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> None:
    """List the runs of this machine, newest first."""
    if context.invoked_subcommand is not None:
        return
    opened = opening.open_project(repo)
    found = sorted(
        opened.executor.list(),
        key=lambda r: (r.started is not None, r.started, r.name),
        reverse=True,
    )
    render.answer([_json(r) for r in found], output, lambda: _table(found))


def _json(run: RunResult) -> dict[str, Any]:
    return {
        "name": run.name,
        "attempt": int(run.labels.get("dev.mlops/attempt", "1")),
        "model": run.labels.get("dev.mlops/model", ""),
        "source": run.labels.get("dev.mlops/source", ""),
        "phase": str(run.phase),
        "reason": run.reason,
        "executor": "local",
        "started": render.stamp(run.started) if run.started else None,
        "finished": render.stamp(run.finished) if run.finished else None,
        "release": run.text("release") or None,
    }


def _table(found: list[RunResult]) -> None:
    rows = [
        (
            run.name,
            str(run.phase),
            render.age(run.started) if run.started else "",
            _short(run.text("release")) or run.message[:60],
        )
        for run in found
    ]
    render.table(("run", "phase", "started", "release"), rows)


def _short(release: str) -> str:
    return release[: release.find("sha256:") + len("sha256:") + 12] if release else ""


def _found(opened: wiring.Opened, name: str) -> RunResult:
    run = opened.executor.status(name)
    if run is None:
        raise UsageError(f"no run {name!r} on this machine", hint="List them: mlops runs")
    return run


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    *,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> None:
    """Show a run's tasks, their states and durations."""
    run = _found(opening.open_project(repo), name)
    value = {**_json(run), "tasks": [_task(task) for task in run.tasks]}
    render.answer([value], output, lambda: _print(run))


def _task(task: Any) -> dict[str, Any]:
    return {
        "name": task.name,
        "phase": str(task.phase),
        "reason": task.reason,
        "message": task.message,
        "runtime": task.runtime,
        "started": _instant(task.started),
        "finished": _instant(task.finished),
        "results": dict(task.results),
    }


def _instant(when: datetime | None) -> str | None:
    """RFC 3339 to the millisecond: durations of tasks are told from it."""
    if when is None:
        return None
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print(run: RunResult) -> None:
    render.line(f"{run.name}: {run.phase} {run.reason} {run.message}".rstrip())
    rows = []
    for task in run.tasks:
        took = ""
        if task.started and task.finished:
            took = f"{(task.finished - task.started).total_seconds():.1f} s"
        rows.append((task.name, str(task.phase), took, task.runtime, task.message or task.reason))
    render.table(("task", "phase", "took", "runtime", "message"), rows)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    *,
    task: Annotated[str, typer.Option(help="One task; default: all of them.")] = "",
    repo: options.Repo = options.HERE,
) -> None:
    """Print the logs of a run's steps."""
    opened = opening.open_project(repo)
    _found(opened, name)
    for line in opened.executor.logs(name, task):
        render.line(f"{line.task}/{line.step} | {render.safe(line.text)}")
