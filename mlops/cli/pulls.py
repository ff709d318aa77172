"""Pull requests: what they would do, told here."""

from __future__ import annotations

from dataclasses import replace

from mlops.adapters.git.pulls import fetch_pull, fetch_target, merge_base
from mlops.cli import options, plans, render, wiring
from mlops.config.project import parse_project
from mlops.domain.source import Commit
from mlops.engine.pullrequests import Change, Reviewer
from mlops.errors import UsageError


def tell(
    opened: wiring.Opened,
    number: int,
    since: str,
    model: str,
    output: options.Output,
    *,
    markdown: bool,
) -> int:
    """Print the plan of a pull request, read from git alone; 1 where a model of it cannot be planned."""
    if output is options.Output.YAML:
        raise UsageError(
            "a pull request has no document to run: it is planned, not run",
            hint="Take --output text or json",
        )
    found = change(opened, number, since)
    render.note(f"pull request {number} at {found.head.short}, against {found.base.short}")
    opened.gitops.refresh()
    review = reviewer(opened, found.base)
    if markdown:
        render.raw(review.text(found, model))
        return 0
    told = review.told(found, model)
    for each in told:
        if each.fault:
            render.fail(f"{each.model}: {each.fault}")
        elif each.released is not None:
            render.note(f"{each.model} is released already: {each.released.release}")
    plans.answer([each.plan for each in told if each.plan is not None], output)
    return int(any(each.fault for each in told))


def change(opened: wiring.Opened, number: int, since: str = "") -> Change:
    """A pull request, fetched, and where it left its target: `since`, or the project's main branch."""
    repository = opened.repository
    head = fetch_pull(repository, number)
    tip = repository.resolve(since) if since else fetch_target(repository, opened.main)
    return Change(head, merge_base(repository, tip, head))


def reviewer(opened: wiring.Opened, base: Commit) -> Reviewer:
    """What plans pull requests. The project is as `base` has it: no pull request says where we look."""
    content = opened.repository.read(base, wiring.PROJECT_FILE)
    if content is not None:
        opened = replace(opened, project=parse_project(content, wiring.PROJECT_FILE))
    planner = replace(opened.planner, data=opened.strangers_data)
    gitops = opened.gitops
    transparent = "" if opened.project.gitops.url else opened.project.gitops.path
    return Reviewer(opened.repository, planner, gitops, transparent, opened.project.name)
