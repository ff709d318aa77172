"""`mlops watch`: one decision for every observed tip of the tracked branches."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from mlops.cli import listening, opening, options, render, wiring_cluster
from mlops.cli.progress import Progress
from mlops.engine.outcome import Outcome, outcome_json
from mlops.engine.retrying import moment
from mlops.engine.watch import Watcher


def watch(
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once, decide, and end.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=1.0)] = 30.0,
    executor: Annotated[
        str, typer.Option(help="Where runs are carried out: local, or tekton.")
    ] = "",
    listen: listening.Listen = "",
    secret_file: listening.SecretFile = None,
    tls_cert: listening.TlsCert = None,
    tls_key: listening.TlsKey = None,
    proxy: listening.Proxy = None,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Decide every new tip of the tracked branches: at most one run for each model.

    Examples:  mlops watch --once    mlops watch --interval 10
    """
    wiring_cluster.require_executor(executor)
    _end_when_asked()
    while True:
        opened = replace(opening.open_project(repo), chosen=executor)
        watcher = Watcher(
            opened.repository,
            partial(opened.runner, Progress(logs=verbose)),
            "" if opened.project.gitops.url else opened.project.gitops.path,
            opened.actor,
        )
        outcomes = watcher.look(opened.tracked(), opened.models_at)
        for outcome in outcomes:
            said = render.fail if outcome.failed else render.note
            said(f"{outcome.model}: {outcome.note or outcome.release}{_next(outcome)}")
        if once:
            render.answer([outcome_json(o) for o in outcomes], output, partial(_print, outcomes))
            return 1 if any(o.failed and o.fresh for o in outcomes) else 0
        time.sleep(interval)


def _end_when_asked() -> None:
    """Let SIGTERM end the first process of a container as it ends any other: without this it would be killed
    half a minute later. A run on a cluster goes on."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))


def _next(outcome: Outcome) -> str:
    """When the next attempt is due, where this one failed just now."""
    if outcome.due is None or not outcome.fresh:
        return ""
    return f"; the next attempt is due {moment(outcome.due)}"


def _print(outcomes: tuple[Outcome, ...]) -> None:
    for outcome in outcomes:
        if outcome.fresh and outcome.release and not outcome.failed:
            render.line(outcome.release)
