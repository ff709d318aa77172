"""How plans are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlops.cli import options, render
from mlops.domain.plan import Plan


def answer(plans: Sequence[Plan], output: options.Output) -> None:
    """Print plans as the answer."""
    render.answer([plan_json(plan) for plan in plans], output, lambda: _print(plans))


def plan_json(plan: Plan) -> dict[str, Any]:
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


def _print(plans: Sequence[Plan]) -> None:
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
