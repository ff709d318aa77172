"""`mlops hold` and `mlops resume`: stop and restart automation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from mlops.cli import opening, options, pins, render
from mlops.domain.environment import Hold
from mlops.domain.project import Project
from mlops.domain.reference import parse_until
from mlops.engine.hold import EVERY, Held, HoldOrder, Resumed
from mlops.engine.hold import hold as hold_it
from mlops.engine.hold import resume as resume_it
from mlops.engine.publishing import Settled
from mlops.engine.state import known


def hold(
    environment: pins.SeveralEnvironments,
    model: pins.OneModel = "",
    *,
    reason: options.Reason = "",
    until: Annotated[
        str, typer.Option(metavar="TIME", help="When it ends: 2019-07-16T12:00:00Z, 4h, 2d.")
    ] = "",
    tz: pins.Zone = "UTC",
    dry_run: options.DryRun = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Stop automation in an environment, or for one model in it.

    Examples:  mlops hold prod --reason "freeze" --until 2d    mlops hold prod spam --reason "bad data"
    """
    opened = opening.open_project(repo)
    order = HoldOrder(
        environment=environment,
        model=model or EVERY,
        reason=reason or render.ask_text(f"Why is {environment} held?"),
        until=parse_until(until, opened.now(), pins.zone(tz)) if until else None,
    )
    publisher = pins.publisher(opened)
    done = {
        name: pins.brought(
            opened, hold_it(publisher, replace(order, environment=name), dry_run=dry_run)
        )
        for name in _each(publisher.project, environment)
    }
    answers = [
        answer
        for name, settled in done.items()
        for answer in pins.with_outcome([_held_json(name, settled)], settled, dry_run=dry_run)
    ]
    render.answer(answers, output, partial(_print_holds, done))


def _each(project: Project, environments: str) -> tuple[str, ...]:
    """The environments, each once; all are known before the first is changed."""
    names = tuple(dict.fromkeys(environments.split(",")))
    return tuple(known(name, project.environments, "environment") for name in names)


def _held_json(environment: str, settled: Settled[Held]) -> dict[str, Any]:
    return {
        "environment": environment,
        **(pins.hold_json(settled.decision.hold) or {}),
        "replaces": pins.hold_json(settled.decision.replaced),
        "commit": settled.commit.sha if settled.commit else None,
        "changed": settled.commit is not None,
    }


def resume(
    environment: pins.SeveralEnvironments,
    model: pins.OneModel = "",
    *,
    dry_run: options.DryRun = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Lift the hold of one model, or every hold of an environment.

    Examples:  mlops resume prod spam    mlops resume prod-eu,prod-us
    """
    opened = opening.open_project(repo)
    publisher = pins.publisher(opened)
    done = {
        name: pins.brought(opened, resume_it(publisher, name, model or EVERY, dry_run=dry_run))
        for name in _each(publisher.project, environment)
    }
    answers = [
        answer
        for name, settled in done.items()
        for answer in pins.with_outcome(_resumed_json(name, settled), settled, dry_run=dry_run)
    ]
    render.answer(answers, output, partial(_print_all_resumed, done, model))


def _resumed_json(environment: str, settled: Settled[Resumed]) -> list[dict[str, Any]]:
    commit = settled.commit.sha if settled.commit else None
    return [
        {
            "environment": environment,
            **(pins.hold_json(hold) or {}),
            "commit": commit,
            "changed": commit is not None,
        }
        for hold in settled.decision.lifted
    ]


def _print_holds(done: Mapping[str, Settled[Held]]) -> None:
    for environment, settled in done.items():
        _print_hold(environment, settled)


def _print_all_resumed(done: Mapping[str, Settled[Resumed]], model: str) -> None:
    for environment, settled in done.items():
        _print_resumed(environment, model, settled)


def _print_hold(environment: str, settled: Settled[Held]) -> None:
    if pins.pending(settled):
        return
    hold, replaced = settled.decision.hold, settled.decision.replaced
    state = "is held" if settled.commit else "is held already, in these words"
    render.line(f"{_what(environment, hold.model)} {state}{_until(hold)}: {hold.reason}")
    if replaced:
        end = f"until {render.stamp(replaced.until)}" if replaced.until else "until resumed"
        render.line(f"replaces: {replaced.reason}, {end}")
    render.line(f"lift it: {_command(environment, hold.model)}")


def _print_resumed(environment: str, model: str, settled: Settled[Resumed]) -> None:
    pending = pins.pending(settled)
    found = settled.decision
    if not found.lifted:
        render.line(f"{_what(environment, model or EVERY)} is not held: nothing changed")
    for hold in found.lifted if not pending else ():
        render.line(f"{_what(environment, hold.model)} is no longer held: {hold.reason}")
        for digest in hold.avoid:
            command = f"mlops quarantine {hold.model}@sha256:{digest.short} --reason TEXT"
            render.note(f"automation may bring back sha256:{digest.short}; to forbid it: {command}")
    for hold in found.left:
        said = f"{_what(environment, hold.model)} is still held: {hold.reason}"
        render.warn(f"{said}. Lift it: {_command(environment, hold.model)}")


def _what(environment: str, model: str) -> str:
    return environment if model == EVERY else f"{model} in {environment}"


def _until(hold: Hold) -> str:
    return f" until {render.stamp(hold.until)}" if hold.until else ""


def _command(environment: str, model: str) -> str:
    return f"mlops resume {environment}" + ("" if model == EVERY else f" {model}")
