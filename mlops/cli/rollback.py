"""`mlops rollback`: at 3 a.m., back to the previous good release, and stay there."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any

import typer

from mlops.adapters.kustomize import Kustomize
from mlops.cli import completion, opening, options, pins, render, wiring, wiring_cluster
from mlops.domain.reference import parse_when
from mlops.engine.preflight import Preflight, failed
from mlops.engine.publishing import Settled
from mlops.engine.rollback import RollbackOrder, RolledBack, Roller
from mlops.policy.rollback import Rollback


def rollback(
    environment: pins.SeveralEnvironments,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Default: what the last commit that moved pins there moved.",
            autocompletion=completion.models,
        ),
    ] = None,
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="REF", help="A release that was there.", autocompletion=completion.releases
        ),
    ] = "",
    at: Annotated[
        str, typer.Option(metavar="WHEN", help="What was there then: 2019-07-16T12:00:00Z.")
    ] = "",
    steps: Annotated[int, typer.Option(metavar="N", help="How many good releases back.")] = 1,
    every: Annotated[bool, typer.Option("--all", help="Every model that is pinned there.")] = False,
    reason: options.Reason = "",
    incident: options.Incident = "",
    yes: options.Yes = False,
    no_hold: Annotated[
        bool, typer.Option("--no-hold", help="Let automation move it on at once.")
    ] = False,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Forbid what is rolled back from, everywhere.")
    ] = False,
    skip_preflight: Annotated[
        bool, typer.Option("--skip-preflight", help="Look at nothing first.")
    ] = False,
    tz: pins.Zone = "UTC",
    dry_run: options.DryRun = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Pin the previous good release and hold what was rolled back, in one commit.

    Examples:  mlops rollback prod --reason "predicts nonsense"    mlops rollback prod-eu,prod-us spam --steps 2
    """
    opened = opening.open_project(repo)
    zone = pins.zone(tz)
    order = RollbackOrder(
        environment=environment,
        models=tuple(models or ()),
        every=every,
        to=to,
        at=parse_when(at, zone) if at else None,
        steps=steps,
        reason=reason or render.ask_text(f"Why is {environment} rolled back?"),
        incident=incident,
        hold=not no_hold,
        quarantine=quarantine,
        preflight=not skip_preflight,
        zone=zone,
    )
    preflight = Preflight(opened.reader, Kustomize(), lambda: opened.data, own=_own(opened))
    roller = Roller(pins.publisher(opened), preflight, lambda found: _approve(found, yes=yes))
    settled = pins.brought(opened, roller.roll_back(order, dry_run=dry_run))
    if dry_run:
        _tell(settled.decision)
    pins.print_notes(settled.decision.notes)
    for refusal in settled.decision.left:
        render.warn(refusal.reason)
    render.answer(_json(settled, dry_run), output, lambda: _print(settled))
    if settled.commit is not None and not dry_run:
        wiring_cluster.nudge(opened, environment.split(","))


def _own(opened: wiring.Opened) -> str:
    """The embedded registry, where it lies in this clone; empty where others have it too."""
    layout = opened.project.layout
    parts = PurePosixPath(layout or "/").parts
    return layout if layout and not {"/", ".."} & set(parts) else ""


def _approve(found: RolledBack, *, yes: bool) -> bool:
    _tell(found)
    return not failed(found.verdicts) or render.ask("Roll back in spite of that?", yes=yes)


def _tell(found: RolledBack) -> None:
    against = failed(found.verdicts)
    for verdict in found.verdicts:
        tell = render.warn if verdict in against else render.note
        tell(f"preflight: {verdict}")


def _json(settled: Settled[RolledBack], dry_run: bool) -> list[dict[str, Any]]:
    found = settled.decision
    answers = []
    for move in found.moves:
        changed = settled.commit is not None and not move.unchanged
        answer = pins.move_json(
            move.environment, move.release, move.previous, settled.commit, changed=changed
        )
        verdicts = [
            {"check": v.check, "subject": v.subject, "verdict": str(v.mark), "detail": v.detail}
            for v in found.verdicts
        ]
        forbidden = any(
            (e.model, e.digest) == (move.release.model, move.previous) for e in found.quarantined
        )
        more = {"quarantined": forbidden, "notes": list(found.notes)}
        answers.append(answer | {"hold": pins.hold_json(move.hold), "preflight": verdicts} | more)
    return pins.with_outcome(answers, settled, dry_run=dry_run)


def _print(settled: Settled[RolledBack]) -> None:
    found = settled.decision
    pending = pins.pending(settled)
    for move in found.moves:
        if move.unchanged:
            render.line(f"{move.environment}: {_path(move)} was done before: nothing changed")
        elif settled.proposed:
            render.line(
                f"{move.environment}: {_path(move)}, once that is merged; until then nothing moves"
            )
        elif not pending:
            render.line(f"{move.environment}: {_path(move)}")
            _tell_hold(move.environment, move)
    for entry in found.quarantined:
        if not pending:
            render.line(f"quarantined: {entry.model}@sha256:{entry.digest.short}")


def _path(move: Rollback) -> str:
    return f"{move.release.model} {pins.short(move.previous)} → {pins.short(move.release.digest)}"


def _tell_hold(environment: str, move: Rollback) -> None:
    model = move.release.model
    if move.hold is None:
        render.warn(f"no hold: automation may move {model} in {environment} on at once")
        return
    render.line(
        f"held: no automation moves {model} in {environment} until: mlops resume {environment} {model}"
    )
