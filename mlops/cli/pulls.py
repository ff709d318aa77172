"""Pull requests: what they would do, told here."""

from __future__ import annotations

from dataclasses import replace

from mlops.adapters.git.pulls import PullRefs
from mlops.cli import options, plans, render, wiring
from mlops.cli.wiring_forge import Forges
from mlops.config.project import parse_project
from mlops.domain.source import Commit
from mlops.engine.commenting import Commenter
from mlops.engine.pullrequests import Change, Reviewer
from mlops.errors import UsageError
from mlops.manifests.pullcomment import marker


def tell(
    opened: wiring.Opened,
    number: int,
    since: str,
    model: str,
    output: options.Output,
    *,
    markdown: bool,
    comment: bool,
) -> int:
    """Print the plan of a pull request, read from git alone; 1 where a model of it cannot be planned."""
    if output is options.Output.YAML:
        raise UsageError(
            "a pull request has no document to run: it is planned, not run",
            hint="Take --output text or json",
        )
    found = change(opened, number, since)
    render.note(f"pull request {number} at {found.head.short}, against {found.base.short}")
    opened = by(opened, found.base)
    opened.gitops.refresh()
    review = reviewer(opened)
    told = review.told(found, model)
    body = review.text(found, told)
    if markdown:
        render.raw(body)
    if comment:
        _put(review, opened, number, body)
    if markdown:
        return 0
    for each in told:
        if each.fault:
            render.fail(f"{each.model}: {each.fault}")
        elif each.released is not None:
            render.note(f"{each.model} is released already: {each.released.release}")
    plans.answer([each.plan for each in told if each.plan is not None], output)
    return int(any(each.fault for each in told))


def _put(review: Reviewer, opened: wiring.Opened, number: int, body: str) -> None:
    """Let the comment on a pull request say this. Raises UsageError where no forge can be spoken to."""
    talk = Forges().talk(opened)
    if talk is None:
        raise UsageError(
            f"the comment on pull request {number} cannot be written: no forge to speak to",
            hint="Say which it is, and give a token: docs/how-to/forges.md",
        )
    written = Commenter(talk, marker(review.project)).put(number, body)
    render.note(
        f"the comment on pull request {number} {'is written' if written else 'says so already'}"
    )


def change(opened: wiring.Opened, number: int, since: str = "") -> Change:
    """A pull request, fetched, and where it left its target: `since`, or the project's main branch."""
    refs = PullRefs(opened.repository)
    head = refs.fetch(number)
    tip = opened.repository.resolve(since) if since else refs.target(opened.main)
    return Change(head, refs.merge_base(tip, head))


def by(opened: wiring.Opened, base: Commit) -> wiring.Opened:
    """The project as a commit has it: no pull request, which may be checked out, says where we look."""
    content = opened.repository.read(base, wiring.PROJECT_FILE)
    if content is None:
        return opened
    return replace(opened, project=parse_project(content, wiring.PROJECT_FILE))


def reviewer(opened: wiring.Opened) -> Reviewer:
    """What plans pull requests of a project."""
    planner = replace(opened.planner, data=opened.strangers_data)
    gitops = opened.gitops
    transparent = "" if opened.project.gitops.url else opened.project.gitops.path
    return Reviewer(opened.repository, planner, gitops, transparent, opened.project.name)
