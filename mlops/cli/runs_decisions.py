"""`mlops runs decisions`: what was decided about commits, as the claims of the remote say it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from mlops.cli import opening, options, render
from mlops.cli.runs_json import instant
from mlops.engine import claiming
from mlops.engine.claiming import Decision
from mlops.engine.retrying import moment


def decisions(
    *,
    model: options.Model = "",
    waiting: Annotated[
        bool, typer.Option("--open", help="Only those whose run is still to be made or to end.")
    ] = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> None:
    """List the decisions about commits, newest first: for which ref, in which state, and why.

    Examples:  mlops runs decisions    mlops runs decisions --open --output json
    """
    opened = opening.open_project(repo)
    found = [
        each
        for each in claiming.decisions(opened.claims.list()).values()
        if (not model or each.claim.document.get("model") == model) and (each.open or not waiting)
    ]
    found.sort(key=lambda each: (str(each.since or ""), each.run), reverse=True)
    render.answer([_json(each) for each in found], output, lambda: _table(found))


def _json(each: Decision) -> dict[str, Any]:
    tip = each.tip
    return {
        "run": each.run,
        "model": str(each.claim.document.get("model") or "") or None,
        "source": each.source.sha if each.source else None,
        "ref": tip.ref if tip else None,
        "tip": tip.commit.sha if tip else None,
        "state": each.state or "unknown",
        "outcome": each.outcome if each.outcome in claiming.OUTCOMES else None,
        "why": each.why or None,
        "reason": each.reason or None,
        "release": each.release or None,
        "since": instant(each.since),
        "due": instant(_due(each)),
        "actor": str(each.claim.document.get("actor") or "") or None,
    }


def _table(found: list[Decision]) -> None:
    rows = [
        (
            render.age(each.since) if each.since else "",
            each.run,
            each.tip.name if each.tip else "",
            each.stands,
            render.words(_said(each)),
        )
        for each in found
    ]
    render.table(("age", "run", "ref", "state", "why"), rows)


def _due(each: Decision) -> datetime | None:
    """When the next attempt is due; None where there is none, or nothing keeps it back."""
    return each.after if each.queued or each.outcome == claiming.INTERRUPTED else None


def _said(each: Decision) -> str:
    due = _due(each)
    next_one = f"; tried again at {moment(due)}" if due is not None else ""
    return f"{each.reason or each.why}{next_one}"
