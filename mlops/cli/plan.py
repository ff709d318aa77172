"""`mlops plan`: what a change means, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops.cli import opening, options, plans, pulls, render, wiring
from mlops.domain.source import Commit
from mlops.engine import baseline, claiming
from mlops.errors import UsageError
from mlops.manifests.pipelinerun import generate, to_yaml


def plan(
    rev: Annotated[
        str, typer.Argument(metavar="[REV]", help="The commit; default: HEAD's source.")
    ] = "HEAD",
    *,
    since: Annotated[
        str, typer.Option(metavar="REV", help="Take the impact against this commit.")
    ] = "",
    model: options.Model = "",
    pull_request: Annotated[
        int,
        typer.Option(
            "--pull-request",
            metavar="N",
            min=0,
            help="Plan the pull request (merge request) of this number against where it branched off.",
            show_default=False,
        ),
    ] = 0,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the comment for the pull request.")
    ] = False,
    comment: Annotated[
        bool, typer.Option("--comment", help="Write it as the comment on the pull request, too.")
    ] = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Say what a run of this commit would do, each step with its reason; change nothing.

    Examples:  mlops plan    mlops plan HEAD~3 --model spam    mlops plan --pull-request 12
    """
    opened = opening.open_project(repo)
    if pull_request:
        return pulls.tell(
            opened, pull_request, since, model, output, markdown=markdown, comment=comment
        )
    if markdown or comment:
        raise UsageError("--markdown and --comment are for a pull request: add --pull-request N")
    source = opened.source(rev)
    tell(opened, source, output, model, opened.source(since) if since else None)
    return 0


def tell(
    opened: wiring.Opened,
    source: Commit,
    output: options.Output,
    model: str = "",
    against: Commit | None = None,
) -> None:
    """Print the plans of the models at a source, `against` another than the last release."""
    tip = opened.gitops.refresh()
    made, documents = [], []
    for name in opened.models_at(source, model):
        known = baseline.records(opened.gitops, tip, name)
        released = baseline.of_source(known, source)
        if released is not None:
            render.note(
                f"{source.short} ran already: {released.release}; this is what a run of it was for"
            )
        planned = opened.planner.plan(name, source, known, against)
        made.append(planned.plan)
        if output is options.Output.YAML and not planned.plan.nothing:
            run = claiming.run_name(name, source, 1)
            documents.append(to_yaml(generate(opened.planner.spec(planned, run, 1))))
    if output is options.Output.YAML:
        render.raw("---\n".join(documents))
    else:
        plans.answer(made, output)
