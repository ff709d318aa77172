"""`mlops runs`: what the executor carried out and carries out."""

from __future__ import annotations

import typer

from mlops.cli import (
    options,
    render,
    runs_control,
    runs_decisions,
    runs_logs,
    runs_options,
    runs_place,
    runs_remove,
    runs_show,
    runs_submit,
    runs_wait,
    runs_words,
)
from mlops.cli.runs_json import run_json
from mlops.domain.run import RunResult

app = typer.Typer(
    help="Runs on the executor: submit, list, show, logs, wait, cancel, retry, start, remove, decisions.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
_LONGEST_MESSAGE = 60


@app.callback(invoke_without_command=True)
def listing(
    context: typer.Context,
    *,
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> None:
    """List the runs that are kept here, newest first: of this project, or without one of this user."""
    if context.invoked_subcommand is None:
        _list(runs_place.here(repo, executor, namespace), output)


@app.command("list")
def list_runs(
    *,
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> None:
    """List the runs that are kept here, newest first; the same as `mlops runs`."""
    _list(runs_place.here(repo, executor, namespace), output)


def _list(place: runs_place.Place, output: options.Output) -> None:
    kept = runs_place.executor(place)
    found = list(kept.list())
    render.answer([run_json(run, kept.name) for run in found], output, lambda: _table(found))


def _table(found: list[RunResult]) -> None:
    rows = [
        (
            run.name,
            str(run.phase),
            render.age(run.started) if run.started else "",
            _short(run.text("release")) or _cut(render.words(runs_words.outcome(run))),
        )
        for run in found
    ]
    render.table(("run", "phase", "age", "outcome"), rows)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"


def _short(release: str) -> str:
    return release[: release.find("sha256:") + len("sha256:") + 12] if release else ""


app.command()(runs_submit.submit)
app.command()(runs_show.show)
app.command()(runs_logs.logs)
app.command()(runs_wait.wait)
app.command()(runs_control.cancel)
app.command()(runs_control.retry)
app.command()(runs_control.start)
app.command()(runs_remove.remove)
app.command()(runs_decisions.decisions)
