"""`mlops guard`: a required check, or a pre-receive hook, for pins, holds, quarantine and records."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from mlops import __version__, resources
from mlops.adapters.git import Repository, discover
from mlops.adapters.git.command import INCOMING
from mlops.adapters.git.ranges import Ranges
from mlops.cli import options, render, wiring
from mlops.config.project import parse_project
from mlops.domain.project import GitOpsConfig
from mlops.domain.source import Commit
from mlops.engine.guard import Found, Guard
from mlops.errors import ConfigError, GitError, UsageError
from mlops.policy.guard import Rule, Violation

_ZERO = re.compile(r"0{40,64}")
_LINE = re.compile(r"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) (\S.*)", re.ASCII)


class Template(StrEnum):
    """What `--print` gives: a file to install."""

    PRE_RECEIVE = "pre-receive"
    GITHUB = "github"
    GITLAB = "gitlab"


@dataclass(frozen=True, slots=True)
class _Pushed:
    """Two ends of a push; None where the branch begins or goes."""

    base: Commit | None
    head: Commit | None


def guard(
    revisions: Annotated[
        str,
        typer.Argument(metavar="BASE..HEAD", help="The tip that was, and the tip that shall be."),
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
        content = resources.content(f"guard/{template.value}").decode()
        render.raw(content.replace("@VERSION@", __version__))
        return 0
    if pre_receive == bool(revisions):
        raise UsageError("no commits are named", hint="mlops guard BASE..HEAD, or --pre-receive")
    # inside a hook the pushed objects lie apart, and git says where in its environment
    with Repository(discover(repo, INCOMING if pre_receive else ())) as repository:
        pushed = (
            _incoming(repository, sys.stdin, branch)
            if pre_receive
            else [_range(repository, revisions)]
        )
        found = [each for push in pushed for each in _check(repository, push, path)]
    render.answer([_json(each) for each in found], output, lambda: _print(found))
    if not found:
        render.note("guard: nothing here breaks a hold, a quarantine or the record")
    return 1 if found else 0


def _check(repository: Repository, push: _Pushed, path: str) -> Iterable[Found]:
    if push.head is None:
        gone = push.base or Commit(repository.zero)
        reason = "this removes the GitOps branch, and with it every pin, hold and record"
        return (Found(gone, Violation(Rule.LINE, reason, "Push to another branch")),)
    where = path.strip("/") or _config(repository, push.head).path
    return Guard(repository, Ranges(repository), where, wiring.now).check(push.base, push.head)


def _range(repository: Repository, text: str) -> _Pushed:
    base, dots, head = text.partition("..")
    if not dots or not base or head.startswith(".") or ".." in head:
        raise UsageError(f"{text!a} is no range", hint="It looks like origin/main..HEAD")
    if _ZERO.fullmatch(base):  # what CI services say of a new branch
        return _Pushed(None, repository.resolve(head or "HEAD"))
    try:
        return _Pushed(repository.resolve(base), repository.resolve(head or "HEAD"))
    except GitError as exc:
        if repository.is_shallow():
            raise GitError(
                f"{exc.message}, and this clone is shallow",
                hint="Fetch it whole: git fetch --unshallow (in CI: fetch-depth: 0)",
            ) from exc
        raise


def _incoming(repository: Repository, lines: Iterable[str], branch: str) -> list[_Pushed]:
    """The updates of the GitOps branch among `old new ref` lines (githooks(5), pre-receive)."""
    found = []
    for line in lines:
        match = _LINE.fullmatch(line.rstrip("\n"))
        if match is None:
            raise UsageError(f"{line[:80]!a} is not what git tells a pre-receive hook")
        old, new, ref = match.groups()
        base, head = _commit(old), _commit(new)
        if ref == f"refs/heads/{branch or _branch(repository, head or base)}":
            found.append(_Pushed(base, head))
    return found


def _commit(sha: str) -> Commit | None:
    return None if _ZERO.fullmatch(sha) else Commit.parse(sha)


def _branch(repository: Repository, commit: Commit | None) -> str:
    """The GitOps branch as mlops.yaml names it, else the branch that the repository's HEAD names."""
    config = _config(repository, commit) if commit else GitOpsConfig()
    return config.branch or repository.branch() or "main"


def _config(repository: Repository, commit: Commit) -> GitOpsConfig:
    """Where mlops.yaml of a commit says that pins live; a repository of pins alone has none."""
    content = repository.read(commit, wiring.PROJECT_FILE)
    try:
        if content is not None:
            return parse_project(content, wiring.PROJECT_FILE).gitops
    except ConfigError as exc:
        render.warn(f"{exc.message.splitlines()[0]}; going by the defaults")
    return GitOpsConfig()


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
