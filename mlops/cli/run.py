"""`mlops run`: plan, execute, release, pin into the first environment."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from mlops.adapters import process
from mlops.cli import opening, options, plan, render, wiring, wiring_cluster
from mlops.cli.livetree import LiveTree, live
from mlops.cli.progress import Progress
from mlops.cli.wiring_forge import Forges
from mlops.engine.outcome import Outcome, outcome_json
from mlops.engine.run import Order
from mlops.errors import MlopsError, OutsideError


def run(
    rev: Annotated[
        str, typer.Argument(metavar="[REV]", help="The commit; default: HEAD's source.")
    ] = "HEAD",
    *,
    model: options.Model = "",
    executor: Annotated[str, typer.Option(help="Where to carry it out: local, or tekton.")] = "",
    detach: Annotated[
        bool, typer.Option("--detach", help="Start it, and come back at once.")
    ] = False,
    no_pin: Annotated[
        bool, typer.Option("--no-pin", help="Record the release; pin nothing.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Make the next attempt at the same commit: build all of it anew, and train what its "
            "plan trains; to compare, or after a failure.",
        ),
    ] = False,
    patient: Annotated[
        bool,
        typer.Option(
            "--patient",
            help="As `mlops watch` runs it: after a failure of an outside system no sooner than the next "
            "attempt is due.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Leave the steps' own output to the logs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, as mlops plan does; run nothing.")
    ] = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Plan, execute, release and pin one commit; print the release and nothing else.

    Examples:  mlops run    mlops run v1.2 --model spam    mlops promote $(mlops run) --to staging
    """
    opened = opening.open_project(repo)
    wiring_cluster.require_executor(executor)
    opened = replace(opened, chosen=executor)
    source = opened.source(rev)
    _note_left_out(opened, source.short, rev)
    if dry_run:
        plan.tell(opened, source, output, model)
        render.note("nothing was run: --dry-run")
        return 0
    if detach:
        return _detach(opened)
    seen = LiveTree(logs=not quiet) if live() else Progress(logs=not quiet)
    runner = opened.runner(seen, source)
    outcomes, code = [], 0
    for name in opened.models_at(source, model):
        order = Order(
            name, source, again=again, pin=not no_pin, actor=opened.actor, patient=patient
        )
        try:
            with seen.shown(name):
                outcome = runner.carry_out(order)
        except MlopsError as exc:  # the other models' releases are told all the same
            code = max(code, exc.exit_code)
            outcome = Outcome(name, "", "", str(exc), failed=True)
        _tell(outcome)
        outcomes.append(outcome)
    if opened.project.gitops.mode == "pull-request" and any(
        o.release and o.fresh for o in outcomes
    ):
        for text in Forges().bring(opened):
            render.note(text)
    render.answer([outcome_json(o) for o in outcomes], output, lambda: _print(outcomes))
    outside = any(outcome.outside for outcome in outcomes)
    return (
        code or (OutsideError.exit_code if outside else 0) or int(any(o.failed for o in outcomes))
    )


def _note_left_out(opened: wiring.Opened, short: str, rev: str) -> None:
    count = opened.repository.uncommitted() if rev == "HEAD" else 0
    if count:
        files = "file" if count == 1 else "files"
        render.note(f"planned {short}; {count} uncommitted {files} left out")
    else:
        render.note(f"planned {short}")


def _tell(outcome: Outcome) -> None:
    if outcome.failed:
        next_command = f". The logs: mlops runs logs {outcome.run}" if outcome.run else ""
        if outcome.run and not outcome.fresh:
            next_command += "; another attempt: mlops run --again"
        render.fail(f"{outcome.model}: {outcome.note}{next_command}")
    elif outcome.note:
        render.note(outcome.note)


def _print(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.release:
            render.line(outcome.release)


def _detach(opened: wiring.Opened) -> int:
    """Start this very command again, without --detach, in a session of its own."""
    argv = [sys.executable, "-m", "mlops", *(a for a in sys.argv[1:] if a != "--detach")]
    log = opened.state / "detached.log"
    pid = process.start_detached(argv, log)
    render.note(f"process {pid} carries it out; follow it: mlops runs, or {log}")
    return 0
