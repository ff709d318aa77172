"""What the commands on pins share: arguments, the publisher, and the JSON of their answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import tzinfo
from typing import Annotated, Any, TypeVar

import typer

from mlops.cli import completion, render, wiring
from mlops.cli.wiring_forge import Forges
from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import Hold
from mlops.domain.reference import parse_zone
from mlops.domain.source import Commit
from mlops.engine.publishing import Publisher, Settled
from mlops.engine.state import Environments

T = TypeVar("T")
Environment = Annotated[
    str,
    typer.Argument(
        metavar="ENV", help="An environment of mlops.yaml.", autocompletion=completion.environments
    ),
]
SeveralEnvironments = Annotated[
    str,
    typer.Argument(
        metavar="ENV[,ENV…]",
        help="An environment of mlops.yaml, or several: they change in one commit.",
        autocompletion=completion.several_environments,
    ),
]
OneModel = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="One model.", autocompletion=completion.models),
]
Zone = Annotated[
    str,
    typer.Option(
        "--tz", metavar="ZONE", help="The zone of days and bare times: UTC, +02:00, Europe/Vienna."
    ),
]
NoFetch = Annotated[bool, typer.Option("--no-fetch", help="Answer from what was fetched last.")]


def publisher(opened: wiring.Opened) -> Publisher:
    """The GitOps branch of an opened project; its story goes to stderr."""
    return Publisher(
        gitops=opened.gitops,
        project=opened.project,
        actor=opened.actor,
        now=opened.now,
        note=render.warn,
        say=render.note,
    )


def environments(opened: wiring.Opened, *, no_fetch: bool = False) -> Environments:
    """The environments as they are now."""
    return publisher(opened).environments(fetch=not no_fetch)


def zone(text: str) -> tzinfo:
    return parse_zone(text)


def hold_json(hold: Hold | None) -> dict[str, Any] | None:
    """A hold, with every key."""
    if hold is None:
        return None
    return {
        "model": hold.model,
        "digest": _text(hold.digest),
        "since": render.stamp(hold.since),
        "until": render.stamp(hold.until) if hold.until else None,
        "actor": hold.actor,
        "reason": hold.reason,
        "incident": hold.incident,
        "avoid": [str(digest) for digest in hold.avoid],
    }


def move_json(
    environment: str,
    release: ReleaseId,
    previous: Digest | None,
    commit: Commit | None,
    *,
    changed: bool,
) -> dict[str, Any]:
    """A pin that moved, was found in place, or (without commit) would move."""
    return {
        "environment": environment,
        "model": release.model,
        "release": str(release),
        "previous": str(ReleaseId(release.model, previous)) if previous else None,
        "commit": commit.sha if commit else None,
        "changed": changed,
    }


def with_outcome(
    answers: list[dict[str, Any]], settled: Settled[Any], *, dry_run: bool
) -> list[dict[str, Any]]:
    """The answers say on which branch the change is only proposed; those of a dry run what it would
    have changed."""
    proposed = settled.proposed
    branch = proposed.branch if proposed else None
    pull = proposed.url if proposed and proposed.number else None
    more = {"proposed": branch, "pull_request": pull} | ({"diff": settled.diff} if dry_run else {})
    return [each | more for each in answers]


def brought(opened: wiring.Opened, settled: Settled[T]) -> Settled[T]:
    """The same with the pull request of what was proposed, where a forge opened one for us."""
    proposed = settled.proposed
    if proposed is None:
        return settled
    forges = Forges()
    said = forges.bring(opened)
    pull = forges.brought.pulls.get(proposed.branch)
    for text in said:
        if pull is None or not text.startswith(f"pull request #{pull.number} "):
            render.note(text)
    if pull is None:
        return settled
    return replace(settled, proposed=replace(proposed, url=pull.url, number=pull.number))


def pending(settled: Settled[Any]) -> bool:
    """Whether the change was only shown or proposed; for people, prints the diff or the branch.

    The note that nothing was written goes to stderr."""
    if settled.proposed:
        url, number = settled.proposed.url, settled.proposed.number
        where = f"open a pull request: {url}" if url else "open a pull request for it"
        where = f"pull request #{number}: {url}" if number else where
        render.line(f"proposed on branch {settled.proposed.branch}: {where}")
        return True
    if settled.diff:
        render.diff(settled.diff)
        render.note("nothing was written: --dry-run")
    return bool(settled.diff)


def print_notes(notes: Iterable[str]) -> None:
    for text in notes:
        render.warn(text)


def short(digest: Digest | None) -> str:
    return f"sha256:{digest.short}" if digest else "nothing"


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)
