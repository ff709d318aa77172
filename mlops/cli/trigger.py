"""`mlops trigger`: ask by hand for a commit again."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops.adapters.leading import FileLeader
from mlops.cli import opening, options, render
from mlops.cli.wiring import Opened
from mlops.domain.source import Commit
from mlops.domain.watching import Tip
from mlops.engine.asking import Asked, Asking
from mlops.errors import MlopsError, RefusedError


def trigger(
    rev: Annotated[
        str, typer.Argument(metavar="[REV]", help="The branch or commit; default: HEAD's source.")
    ] = "HEAD",
    *,
    model: options.Model = "",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why: kept in the claim, and shown.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be queued; queue nothing.")
    ] = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Ask for a commit again: its next attempt is queued, and the watcher carries it out.

    What waits or is under way already answers for itself. Without a watcher: mlops watch --once.

    Examples:  mlops trigger main    mlops trigger 1a2b3c4 --model spam --reason "flaky sensor data"
    """
    opened = opening.open_project(repo)
    source, tip = _place(opened, rev)
    asking = Asking(opened.claims, opened.now, opened.actor)
    asked = [
        asking.ask(name, source, tip, reason, dry_run=dry_run)
        for name in opened.models_at(source, model)
    ]
    render.answer([_json(each) for each in asked], output, lambda: _print(asked, dry_run=dry_run))
    if not dry_run and any(each.fresh for each in asked) and not _watched(opened):
        render.note("nobody watches in this clone; where nobody does elsewhere: mlops watch --once")
    return 0


def _place(opened: Opened, rev: str) -> tuple[Commit, Tip]:
    """The source of a revision, and the ref that it counts for: the branch of that name, else the first that is
    tracked. Raises RefusedError where that branch of the remote has no such commit: no watcher would run it."""
    repository = opened.repository
    fetched = _fetched(opened, rev) if rev != "HEAD" else None
    branch = rev if fetched else repository.branch() or opened.branch
    branch = branch.removeprefix("refs/heads/")
    commit = fetched or repository.resolve(rev)
    shared = not opened.project.gitops.url
    source = repository.source_of(commit, opened.project.gitops.path if shared else "")
    remote = repository.remote_name()
    if remote and not fetched:
        there = _fetched(opened, branch)
        if there is None or not repository.is_ancestor(source, there):
            raise RefusedError(
                f"{source.short} is not on {branch} of {remote}",
                hint="Push it: git push; or name the branch that has it: mlops trigger BRANCH",
            )
    return source, Tip(f"refs/heads/{branch}", commit)


def _fetched(opened: Opened, branch: str) -> Commit | None:
    """Where a branch of the remote stands, freshly fetched; None where it has none of that name."""
    remote = opened.repository.remote_name()
    if not remote:
        return None
    there = opened.repository.remote(remote)
    try:
        tracking = there.tracking(branch)
    except MlopsError:
        return None  # `HEAD~1` is a revision, and no branch's name
    return opened.repository.resolve(tracking) if there.fetch_branch(branch) else None


def _watched(opened: Opened) -> bool:
    """Whether a watcher leads in this very clone."""
    leader = FileLeader(opened.state / "watch" / "lock", once=True)
    found = leader.other()
    leader.resign()
    return bool(found)


def _json(asked: Asked) -> dict[str, object]:
    return {
        "model": asked.model,
        "source": asked.source.sha,
        "run": asked.run,
        "state": asked.state,
        "fresh": asked.fresh,
    }


def _print(asked: list[Asked], *, dry_run: bool) -> None:
    for each in asked:
        if each.fresh:
            render.line(each.run)
            render.note(
                f"{each.model}: {each.source.short} {'would be' if dry_run else 'is'} queued"
            )
        else:
            render.note(f"{each.model}: {each.run} is {each.state} already")
