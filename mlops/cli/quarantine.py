"""`mlops quarantine`: forbid a release everywhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlops.cli import completion, opening, options, pins, render
from mlops.domain.digest import ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.engine.publishing import Settled
from mlops.engine.quarantine import NotIn, Quarantined, lift
from mlops.engine.quarantine import quarantine as put_in
from mlops.errors import UsageError


def quarantine(
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="The release to forbid.", autocompletion=completion.releases
        ),
    ] = "",
    *,
    reason: options.Reason = "",
    digest_only: Annotated[
        bool,
        typer.Option("--digest-only", help="Not other releases with the same model artifact."),
    ] = False,
    lifted: Annotated[
        str,
        typer.Option(
            "--lift",
            metavar="REF",
            help="Allow it again.",
            autocompletion=completion.releases,
        ),
    ] = "",
    dry_run: options.DryRun = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Forbid a release in every environment, and any other with the same model artifact.

    Examples:  mlops quarantine spam@prod --reason "leaked labels"    mlops quarantine --lift spam@sha256:9f2c41
    """
    if bool(ref) == bool(lifted):
        raise UsageError("name one release", hint="mlops quarantine REF, or --lift REF")
    opened = opening.open_project(repo)
    publisher = pins.publisher(opened)
    settled: Settled[Quarantined] | Settled[Quarantined | NotIn]
    if lifted:
        settled = pins.brought(opened, lift(publisher, lifted, dry_run=dry_run))
    else:
        text = reason or render.ask_text(f"Why is {ref} quarantined?")
        settled = put_in(publisher, ref, text, digest_only=digest_only, dry_run=dry_run)
        settled = pins.brought(opened, settled)
    answers = pins.with_outcome(_json(settled), settled, dry_run=dry_run)
    render.answer(answers, output, lambda: _print(settled, bool(lifted), lifted or ref))


def _json(settled: Settled[Any]) -> list[dict[str, Any]]:
    found: Quarantined | NotIn = settled.decision
    if isinstance(found, NotIn):
        return []
    entry = found.entry
    return [
        {
            "model": entry.model,
            "release": f"{entry.model}@{entry.digest}",
            "artifact": entry.artifact,
            "source": entry.source,
            "since": render.stamp(entry.since),
            "actor": entry.actor,
            "reason": entry.reason,
            "pinned": list(found.pinned),
            "alike": [{"environment": name, "release": str(each)} for name, each in found.alike],
            "note": found.note or None,
            "commit": settled.commit.sha if settled.commit else None,
            "changed": settled.commit is not None,
        }
    ]


def _print(settled: Settled[Any], lifting: bool, ref: str) -> None:
    if pins.pending(settled):
        return
    found: Quarantined | NotIn = settled.decision
    if isinstance(found, NotIn):
        render.line(f"{ref} is not in quarantine: nothing changed")
        _still(found.release, found.by)
        return
    release = ReleaseId(found.entry.model, found.entry.digest)
    if lifting:
        render.line(f"{release.short} is out of quarantine")
        _still(release, found.left)
        return
    already = "" if settled.commit else " already"
    wide = ", and whatever has the same model artifact" if found.entry.artifact else ""
    render.line(f"{release.short} is quarantined{already}{wide}: {found.entry.reason}")
    if found.note:
        render.warn(found.note)
    for name in found.pinned:
        command = f"mlops rollback {name} {found.entry.model} --reason TEXT"
        render.warn(f"{name} still pins it. Go back: {command}")
    for name, other in found.alike:
        command = f"mlops rollback {name} {other.model} --reason TEXT"
        render.warn(f"{name} pins {other.short}, which is forbidden too. Go back: {command}")


def _still(release: ReleaseId, entry: QuarantineEntry | None) -> None:
    """Say what forbids a release that has no entry of its own, or none any more."""
    if entry is not None:
        other = ReleaseId(entry.model, entry.digest)
        shared = "digest" if entry.digest == release.digest else "model artifact"
        render.warn(
            f"{release.short} stays forbidden: {other.short}, with the same {shared}, is in quarantine. "
            f"Lift that: mlops quarantine --lift {other.short}"
        )
