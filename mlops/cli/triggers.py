"""`mlops triggers`: what asks for runs without a push, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from mlops.cli import opening, options, render, wiring_triggers
from mlops.cli.wiring import Opened
from mlops.cli.wiring_forge import Forges
from mlops.engine.outcome import Outcome
from mlops.engine.retrying import moment
from mlops.engine.triggers import Asked, Standing
from mlops.errors import MlopsError


def triggers(
    *,
    asked: Annotated[
        bool,
        typer.Option("--ask", help="Ask them first: look at sources, and bring in what is new."),
    ] = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """List the triggers of mlops.yaml: what they ask for, what they did last, and what comes next.

    They are those of the first tracked branch, as last fetched. `mlops watch` asks them by itself.

    Examples:  mlops triggers    mlops triggers --output json    mlops triggers --ask
    """
    opened = opening.open_project(repo)
    branches = opened.project.branches
    failed = asked and _asked(opened, branches)
    found = wiring_triggers.trunk(opened, branches)
    standing = wiring_triggers.triggers(opened).standing(found[0]) if found is not None else ()
    render.answer([_json(each) for each in standing], output, lambda: _print(standing))
    return int(failed)


def _asked(opened: Opened, branches: Sequence[str]) -> bool:
    """Ask them all, and tell; whether one could not be looked at."""
    found = (*keep(opened, branches), *ask(opened, branches))
    for each in found:
        said = render.fail if each.failed else render.note
        said(f"{each.model}: {each.note}".removeprefix(": "))
    for text in Forges().bring_upkeep(opened, branches):
        render.note(text)
    return any(each.failed for each in found)


def keep(opened: Opened, branches: Sequence[str]) -> tuple[Asked, ...]:
    """Look at sources and locks; what cannot be looked at holds nothing else."""
    try:
        return wiring_triggers.upkeep(opened, branches)
    except MlopsError as exc:
        return (Asked("", "", f"no source is looked at: {exc}", failed=True),)


def ask(opened: Opened, branches: Sequence[str]) -> tuple[Asked, ...]:
    """Ask the triggers; one that cannot be looked at holds nothing else."""
    try:
        return wiring_triggers.look(opened, branches)
    except MlopsError as exc:
        return (Asked("", "", f"no trigger is looked at: {exc}", failed=True),)


def has_any(opened: Opened, branches: Sequence[str]) -> bool:
    """Whether there is anything to ask; so where that cannot be told."""
    try:
        found = wiring_triggers.trunk(opened, branches)
    except MlopsError:
        return True
    if found is None:
        return False
    project = found[0]
    return project.updates is not None or any(model.triggers for model in project.models)


def troubles(asked: Sequence[Asked]) -> Iterator[Outcome]:
    """Those that could not be looked at."""
    for each in asked:
        if each.failed:
            yield Outcome(each.model, each.run, "", each.note, failed=True)


def _json(standing: Standing) -> Mapping[str, Any]:
    return {
        "model": standing.model or None,
        "trigger": standing.trigger,
        "last": _time(standing.last),
        "next": _time(standing.next),
        "run": standing.run or None,
        "state": standing.state,
    }


def _time(when: datetime | None) -> str | None:
    return when.isoformat(timespec="seconds") if when is not None else None


def _print(standing: tuple[Standing, ...]) -> None:
    if not standing:
        render.note("mlops.yaml has no triggers")
        return
    rows = [
        (each.model or "-", each.trigger, _shown(each.last), _shown(each.next), each.state)
        for each in standing
    ]
    render.table(("model", "trigger", "last", "next", "state"), rows)


def _shown(when: datetime | None) -> str:
    return moment(when) if when is not None else "-"
