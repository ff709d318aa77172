"""`mlops diff`: what changed between two releases or environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mlops.cli import completion, opening, options, pins, render
from mlops.domain.digest import ReleaseId
from mlops.engine import references
from mlops.engine.diff import Difference, ReleaseDiff
from mlops.engine.diff import diff as compare
from mlops.ports import CommitInfo

_SHOWN = 20  # commits listed for people; JSON has all

Side = Annotated[
    str,
    typer.Argument(
        help="A release (spam@prod~1) or an environment (staging).",
        autocompletion=completion.references,
    ),
]


def diff(
    a: Side,
    b: Side,
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Of two environments, this model alone; may be given several times.",
            autocompletion=completion.models,
        ),
    ] = None,
    tz: pins.Zone = "UTC",
    no_fetch: pins.NoFetch = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Commits, data, parameters, dependencies, base and metrics, from A to B.

    Examples:  mlops diff prod staging --model spam    mlops diff spam@prod~1 spam@prod
    """
    opened = opening.open_project(repo)
    found = pins.environments(opened, no_fetch=no_fetch)
    zone = pins.zone(tz)
    old, new = (references.release_or_environment(found, text, zone) for text in (a, b))
    answers = compare(found, opened.repository, old, new, model or ())
    render.answer([_json(each) for each in answers], output, lambda: _print(answers))
    if not answers:
        render.note(f"{a} and {b} pin the same")


def _json(found: ReleaseDiff) -> dict[str, Any]:
    return {
        "model": found.model,
        "from": str(found.old) if found.old else None,
        "to": str(found.new) if found.new else None,
        "backwards": found.backwards,
        "commits": [
            {"commit": c.commit.sha, "author": c.author, "subject": c.subject}
            for c in found.commits
        ],
        "data": _changes(found.data, "path"),
        "params": _changes(found.params, "name"),
        "dependencies": _changes(found.dependencies, "name"),
        "base": {"from": found.base.old, "to": found.base.new} if found.base else None,
        "metrics": _changes(found.metrics, "name"),
        "unknown": list(found.unknown),
    }


def _changes(found: Sequence[Difference], key: str) -> list[dict[str, Any]]:
    return [{key: each.name, "from": each.old, "to": each.new} for each in found]


def _print(answers: Sequence[ReleaseDiff]) -> None:
    for found in answers:
        render.line(f"{found.model}: {_name(found.old)} → {_name(found.new)}")
        _print_commits(found)
        for title in ("data", "params", "dependencies", "metrics"):
            _print_section(title, getattr(found, title))
        _print_section("base", (found.base,) if found.base else ())
        for text in found.unknown:
            render.warn(text)


def _name(release: ReleaseId | None) -> str:
    return pins.short(release.digest) if release else "not pinned"


def _print_commits(found: ReleaseDiff) -> None:
    if not found.commits:
        return
    count = f"{len(found.commits)} commit{'s' * (len(found.commits) != 1)}"
    render.line(f"  {count} back" if found.backwards else f"  {count}")
    for each in found.commits[:_SHOWN]:
        render.line(f"    {_told(each)}")
    if len(found.commits) > _SHOWN:
        render.line(f"    and {len(found.commits) - _SHOWN} more")


def _told(info: CommitInfo) -> str:
    return f"{info.commit.short} {render.safe(info.subject)} ({render.safe(info.author)})"


def _print_section(title: str, found: Sequence[Difference]) -> None:
    if found:
        render.line(f"  {title}")
    for each in found:
        told = f"{each.name}: {each.old or '-'} → {each.new or '-'}"
        render.line(f"    {render.safe(told)}")
