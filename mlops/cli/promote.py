"""`mlops promote`: move the very same digest on to the next environment."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlops.cli import completion, opening, options, pins, render, wiring_cluster
from mlops.engine.promote import Left, PromoteOrder, Promoter
from mlops.engine.publishing import Settled
from mlops.errors import MlopsError, UsageError
from mlops.policy.promotion import Promotion

Answer = Settled[tuple[Promotion, ...]]


def promote(
    refs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REF",
            help="Releases: spam@sha256:9f2c41, spam@dev.",
            autocompletion=completion.releases,
        ),
    ] = None,
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="ENV",
            help="Where to, or several with commas; default: what follows the furthest that pins it.",
            autocompletion=completion.several_environments,
        ),
    ] = "",
    auto: Annotated[
        bool, typer.Option("--auto", help="Move all that policy lets automation move.")
    ] = False,
    despite_hold: Annotated[
        bool, typer.Option("--despite-hold", help="Move a held pin; the hold stays.")
    ] = False,
    reason: options.Reason = "",
    tz: pins.Zone = "UTC",
    dry_run: options.DryRun = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Move releases on, all in one commit, where policy allows; nothing is rebuilt.

    Examples:  mlops promote spam@dev    mlops promote spam@sha256:9f2c41 --to prod    mlops promote --auto
    """
    if auto and (refs or to or despite_hold):
        raise UsageError("--auto decides by itself", hint="Leave out REF, --to and --despite-hold")
    if not auto and not refs:
        raise UsageError(
            "no release is named", hint="Name one: mlops promote spam@dev; or use --auto"
        )
    opened = opening.open_project(repo)
    promoter = Promoter(pins.publisher(opened), opened.repository, opened.copies())
    left: tuple[Left, ...] = ()
    unread: list[MlopsError] = []
    if auto:
        settled, left = promoter.automatic(dry_run=dry_run, unread=unread.append)
    else:
        order = PromoteOrder(
            tuple(refs or ()), to, despite_hold=despite_hold, reason=reason, zone=pins.zone(tz)
        )
        settled = (promoter.promote(order, dry_run=dry_run),)
    settled = tuple(pins.brought(opened, each) for each in settled)
    render.answer(
        [*_moved(settled, dry_run), *(_left(each) for each in left)],
        output,
        lambda: _print(settled, left, auto),
    )
    if not dry_run:
        moved = {move.environment for each in settled if each.commit for move in each.decision}
        if moved:
            wiring_cluster.nudge(opened, sorted(moved))
    if unread:  # one file may stand in the way of several environments
        raise unread[0]


def _moved(settled: tuple[Answer, ...], dry_run: bool) -> list[dict[str, Any]]:
    found = []
    for each in settled:
        answers = [
            pins.move_json(
                move.environment,
                move.release,
                move.previous,
                each.commit,
                changed=each.commit is not None and not move.unchanged,
            )
            | {"reason": None, "notes": list(move.notes), "gates": _gates(move)}
            for move in each.decision
        ]
        found += pins.with_outcome(answers, each, dry_run=dry_run)
    return found


def _left(left: Left) -> dict[str, Any]:
    answer = pins.move_json(left.environment, left.release, None, None, changed=False)
    return answer | {"reason": left.refusal.reason, "notes": [], "gates": [], "proposed": None}


def _gates(move: Promotion) -> list[dict[str, Any]]:
    return [{"rule": v.rule, "value": v.value, "verdict": v.verdict} for v in move.verdicts]


def _print(settled: tuple[Answer, ...], left: tuple[Left, ...], auto: bool) -> None:
    for each in settled:
        pending = pins.pending(each)
        for move in each.decision:
            pins.print_notes(move.notes)
            if not pending:
                render.line(_told(move))
    for stayed in left:
        render.note(f"{stayed.environment} stays: {stayed.refusal.reason}")
    if auto and not settled and not left:
        render.note("nothing to move")


def _told(move: Promotion) -> str:
    if move.unchanged:
        return f"{move.release.short} → {move.environment} (it is there already)"
    return f"{move.release.short} → {move.environment} (was {pins.short(move.previous)})"
