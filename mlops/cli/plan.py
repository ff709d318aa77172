"""`mlops plan`: what a change means, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlops.cli import opening, options, render, wiring
from mlops.domain.plan import Plan
from mlops.domain.source import Commit
from mlops.engine import baseline, claiming
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
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Say what a run of this commit would do, each step with its reason; change nothing.

    Examples:  mlops plan    mlops plan HEAD~3 --model spam    mlops plan --output yaml
    """
    opened = opening.open_project(repo)
    source = opened.source(rev)
    tell(opened, source, output, model, opened.source(since) if since else None)


def tell(
    opened: wiring.Opened,
    source: Commit,
    output: options.Output,
    model: str = "",
    against: Commit | None = None,
) -> None:
    """Print the plans of the models at a source, `against` another than the last release."""
    tip = opened.gitops.refresh()
    plans, documents = [], []
    for name in opened.models_at(source, model):
        known = baseline.records(opened.gitops, tip, name)
        released = baseline.of_source(known, source)
        if released is not None:
            render.note(
                f"{source.short} ran already: {released.release}; this is what a run of it was for"
            )
        planned = opened.planner.plan(name, source, known, against)
        plans.append(planned.plan)
        if output is options.Output.YAML and not planned.plan.nothing:
            run = claiming.run_name(name, source, 1)
            documents.append(to_yaml(generate(opened.planner.spec(planned, run, 1))))
    if output is options.Output.YAML:
        render.raw("---\n".join(documents))
    else:
        render.answer([_json(p) for p in plans], output, lambda: _print(plans))


def _json(plan: Plan) -> dict[str, Any]:
    return {
        "model": plan.model,
        "source": plan.source.sha,
        "since": plan.since.sha if plan.since else None,
        "impact": [
            {"kind": str(c.kind), "path": c.path, "from": c.old, "to": c.new}
            for c in plan.impact.changes
        ],
        "steps": [{"name": step.name, "reason": step.reason} for step in plan.steps],
    }


def _print(plans: list[Plan]) -> None:
    for plan in plans:
        since = f", since {plan.since.short}" if plan.since else ""
        render.line(f"{plan.model} at {plan.source.short}{since}: {_summary(plan)}")
        for step in plan.steps:
            render.line(f"  {step.name.ljust(9)} {step.reason}")


def _summary(plan: Plan) -> str:
    if plan.nothing:
        return plan.summary
    count = len(plan.impact.changes)
    return f"{count} change{'' if count == 1 else 's'}"
