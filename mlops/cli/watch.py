"""`mlops watch`: one decision for every observed tip of the tracked branches."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from mlops.cli import listening, opening, options, render, wiring_cluster
from mlops.cli.progress import Progress
from mlops.cli.wiring import Opened
from mlops.domain.watching import Seen, Waiting
from mlops.engine import claiming
from mlops.engine.outcome import Outcome, outcome_json
from mlops.engine.retrying import moment
from mlops.engine.run import Order
from mlops.engine.watch import Watcher
from mlops.errors import MlopsError, RefusedError


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

    Examples:  mlops watch --once    mlops watch --interval 10    mlops watch --listen 127.0.0.1:8080
    """
    wiring_cluster.require_executor(executor)
    asked = listening.Options(listen, secret_file, tls_cert, tls_key, tuple(proxy or ()))
    asked.check(once=once)
    _end_when_asked()
    opened = replace(opening.open_project(repo), chosen=executor)
    watcher = opened.watcher()
    with listening.listening(opened.state, asked) as heard:
        while True:
            pending = heard.deliveries.pending() if heard else ()
            outcomes = tuple(_look(opened, watcher, Progress(logs=verbose)))
            if once:
                render.answer(
                    [outcome_json(o) for o in outcomes], output, partial(_print, outcomes)
                )
                return 1 if any(o.failed and o.fresh for o in outcomes) else 0
            if heard is None:
                time.sleep(interval)
                continue
            heard.deliveries.done([each.number for each in pending], "looked")
            heard.deliveries.wait(interval)


def _look(opened: Opened, watcher: Watcher, progress: Progress) -> Iterator[Outcome]:
    """Decide what is new, tell of it, and carry out what waits, one after the other."""
    seen = watcher.look()
    waiting = watcher.waiting()
    left = {each.run for each in waiting}
    for outcome in _standing(seen, left):
        _tell(outcome)
        yield outcome
    for each in waiting:
        outcome = _carry_out(opened, each, progress)
        _tell(outcome)
        yield outcome


def _standing(seen: Sequence[Seen], left: Collection[str]) -> Iterator[Outcome]:
    """What was decided before, of every tip, and what cannot be decided."""
    for each in seen:
        if each.trouble:
            yield Outcome("", "", "", each.trouble, failed=True)
        for choice in each.choices:
            if choice.run not in left:
                failed = choice.state in (claiming.FAILED, claiming.GIVEN_UP)
                note = f"{choice.source.short} {choice.state}: {choice.why}"
                yield Outcome(choice.model, choice.run, choice.release, note, failed, fresh=False)


def _carry_out(opened: Opened, waiting: Waiting, progress: Progress) -> Outcome:
    """A refusal of one (data missing, somebody else is at it) does not keep the others waiting."""
    model, source = waiting.model, waiting.source
    order = Order(model, source, actor=opened.actor, patient=True)
    try:
        return opened.runner(progress, source).carry_out(order)
    except RefusedError as exc:
        return Outcome(model, "", "", str(exc), failed=True)
    except MlopsError as exc:
        return Outcome(model, "", "", f"{source.short} is not decided: {exc}", failed=True)


def _tell(outcome: Outcome) -> None:
    said = render.fail if outcome.failed else render.note
    before = f"{outcome.model}: " if outcome.model else ""
    said(f"{before}{outcome.note or outcome.release}{_next(outcome)}")


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
