"""`mlops guard`: a required check, or a pre-receive hook, for pins, holds, quarantine and records."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer

from mlops import __version__, resources
from mlops.adapters.git import Repository, discover
from mlops.adapters.git.command import INCOMING
from mlops.adapters.git.ranges import Ranges
from mlops.cli import guarded, options, render, wiring
from mlops.cli.guarded import Pushed
from mlops.domain.source import Commit
from mlops.engine.guard import Found, Guard
from mlops.errors import UsageError
from mlops.policy.guard import Rule, Violation


class Template(StrEnum):
    """What `--print` gives: a file to install."""

    PRE_RECEIVE = "pre-receive"
    GITHUB = "github"
    GITLAB = "gitlab"


_FILES = {
    Template.PRE_RECEIVE: "guard/pre-receive",
    Template.GITHUB: "guard/github.yml",
    Template.GITLAB: "guard/gitlab.yml",
}


def guard(
    revisions: Annotated[
        str,
        typer.Argument(metavar="BASE..HEAD", help="The tip that was, and the tip that shall be."),
    ] = "",
    head: Annotated[
        str, typer.Argument(metavar="HEAD", help="The tip that shall be, where BASE stands alone.")
    ] = "",
    *,
    pre_receive: Annotated[
        bool,
        typer.Option("--pre-receive", help="Read what git tells a pre-receive hook on stdin."),
    ] = False,
    branch: Annotated[
        str,
        typer.Option(metavar="BRANCH", help="With --pre-receive: the GitOps branch."),
    ] = "",
    path: Annotated[
        str,
        typer.Option(
            metavar="DIR", help="The directory of the environments; default: gitops.path."
        ),
    ] = "",
    template: Annotated[
        Template | None,
        typer.Option("--print", help="Print a hook or a CI job to install, and end."),
    ] = None,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Refuse commits that would break a hold, a quarantine or the record; exit 1 where one would.

    Examples:  mlops guard origin/main..HEAD    mlops guard --print pre-receive > hooks/pre-receive
    """
    if template is not None:
        content = resources.content(_FILES[template]).decode()
        render.raw(content.replace("@VERSION@", __version__))
        return 0
    if pre_receive == bool(revisions):
        raise UsageError("no commits are named", hint="mlops guard BASE..HEAD, or --pre-receive")
    # inside a hook the pushed objects lie apart, and git says where in its environment
    with Repository(discover(repo, INCOMING if pre_receive else ())) as repository:
        pushes = (
            guarded.received(repository, map(os.fsdecode, sys.stdin.buffer), branch)
            if pre_receive
            else [guarded.named(repository, revisions, head)]
        )
        found = [each for push in pushes for each in _check(repository, push, path)]
    render.answer([_json(each) for each in found], output, lambda: _print(found))
    if not found:
        render.note("guard: nothing here breaks a hold, a quarantine or the record")
    return 1 if found else 0


def _check(repository: Repository, push: Pushed, path: str) -> Iterable[Found]:
    if push.head is None:
        gone = push.base or Commit(repository.zero)
        reason = "this removes the GitOps branch, and with it every pin, hold and record"
        return (Found(gone, Violation(Rule.LINE, reason, "Push to another branch")),)
    given = path.strip("/")
    places = (given,) if given else guarded.paths(repository, push)
    ranges = Ranges(repository)
    models = guarded.models(repository)
    found: list[Found] = []
    for place in places:
        judge = Guard(repository, ranges, place, wiring.now, models)
        found += judge.check(push.base, push.head)
    return dict.fromkeys(found)


def _json(found: Found) -> dict[str, Any]:
    violation = found.violation
    return {
        "commit": found.commit.sha,
        "environment": violation.environment or None,
        "model": violation.model or None,
        "rule": violation.rule.value,
        "reason": violation.reason,
        "hint": violation.hint or None,
    }


def _print(found: list[Found]) -> None:
    for each in found:
        violation = each.violation
        said = f"{each.commit.short}: {violation.rule.value}: {violation.reason}"
        render.line(render.safe(f"{said}. {violation.hint}" if violation.hint else said))
