"""`mlops watch`: one decision for every observed tip of the tracked branches."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mlops.cli import options, render, wiring
from mlops.cli.progress import Progress
from mlops.engine.run import outcome_json
from mlops.engine.watch import Watcher


def watch(
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once, decide, and end.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=1.0)] = 30.0,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Decide every new tip of the tracked branches: at most one run for each model.

    Examples:  mlops watch --once    mlops watch --interval 10
    """
    while True:
        opened = wiring.open_project(repo)
        watcher = Watcher(opened.repository, opened.runner(Progress(logs=verbose)), opened.actor)
        outcomes = watcher.look(opened.tracked(), opened.models_at)
        for outcome in outcomes:
            said = render.fail if outcome.failed else render.note
            said(f"{outcome.model}: {outcome.note or outcome.release}")
        if once:
            answers = [o for o in outcomes if o.fresh and o.release and not o.failed]
            render.answer(
                [outcome_json(o) for o in outcomes],
                output,
                lambda: [render.line(o.release) for o in answers] and None,
            )
            return 1 if any(o.failed and o.fresh for o in outcomes) else 0
        time.sleep(interval)
