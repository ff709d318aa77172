"""From impact to plan: the ordered steps, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mlops.domain.plan import Impact, Kind, Plan, PlanStep
from mlops.domain.source import Commit

_STAYS = "the model stays, what is around it changes"
_SHOWN = 3  # reasons that a line names before it counts the rest


def decide(
    model: str,
    source: Commit,
    since: Commit | None,
    impact: Impact,
    *,
    environment: str = "",
    stages: bool = True,
) -> Plan:
    """The plan for one model at one source.

    `environment` is the first one, that every release enters; empty where none is pinned; `stages`
    says whether DVC has any for the model. The environment image is made anew only where dependencies
    or base call for it, the model only where something is stale; whatever is released is validated,
    packaged and pinned.
    """
    if not impact.changes and not impact.stale:
        return Plan(model, source, since, impact, (), nothing(since, impact.unrelated))
    causes = _causes(impact)
    steps = [*_build(impact), *_train(impact)]
    trained = any(step.name == "train" for step in steps)
    kept = "" if trained or _first(impact) else _kept(impact, stages=stages)
    checked = "the model is trained anew" if trained else kept or _STAYS
    steps.append(PlanStep("validate", _first(impact) or checked))
    steps.append(PlanStep("package", shortened(causes)))
    if environment:
        steps.append(PlanStep("pin", f"{environment} receives every release"))
    return Plan(model, source, since, impact, tuple(steps), shortened(causes), kept)


def retrained(plan: Plan, why: str, *, environment: str) -> Plan:
    """The plan with training in it, for the reason `why`, where the impact does not call for it."""
    if plan.has("train"):
        return plan
    if plan.nothing:
        pin = PlanStep("pin", f"{environment} receives every release")
        rest = (PlanStep("validate", "the model is trained anew"), PlanStep("package", why), pin)
        return replace(plan, steps=(PlanStep("train", why), *rest), summary=why)
    built = tuple(step for step in plan.steps if step.name == "build")
    others = tuple(step for step in plan.steps if step.name != "build")
    steps = (*built, PlanStep("train", why), *others)
    return replace(plan, steps=steps, summary=shortened((why, plan.summary)), kept="")


def _kept(impact: Impact, *, stages: bool) -> str:
    """What is said of a model that was trained with other packages, or on another base; else empty.

    DVC decides what is trained, and knows of no environment unless a stage names the lock.
    """
    packages = [change.path for change in impact.changes if change.kind is Kind.DEPENDENCIES]
    base = any(
        change.kind is Kind.BASE and change.path.startswith("base ") for change in impact.changes
    )
    if not packages and not base:
        return ""
    what = " and ".join(
        [*(["with other packages"] if packages else []), *(["on another base"] if base else [])]
    )
    told = f"the model stays as it is, trained {what}"
    locks = [path for path in packages if path != "mlops.yaml"] or (["mlops.lock"] if base else [])
    if not stages or not locks:
        return told
    return f"{told}; to train anew with these, add {locks[0]} to the deps of its stage in dvc.yaml"


def _first(impact: Impact) -> str:
    return next((change.text for change in impact.changes if change.kind is Kind.FIRST), "")


def _causes(impact: Impact) -> tuple[str, ...]:
    """What calls for a release; what only follows from something else is left out."""
    causes = [change.text for change in impact.changes]
    if not causes:
        causes = [reason for _, reason in impact.stale]
    return tuple(dict.fromkeys(causes))


def _build(impact: Impact) -> Iterable[PlanStep]:
    texts = [
        change.text
        for change in impact.changes
        if change.kind in (Kind.DEPENDENCIES, Kind.BASE, Kind.FIRST)
    ]
    if texts:
        yield PlanStep("build", shortened(texts))


def _train(impact: Impact) -> Iterable[PlanStep]:
    """One step for all stale stages; its reason leaves out those that follow another."""
    if not impact.stale:
        return
    reasons = [
        part
        for _, reason in impact.stale
        for part in reason.split("; ")
        if not part.startswith("follows ")
    ]
    texts = [_first(impact)] if _first(impact) else list(dict.fromkeys(reasons))
    yield PlanStep("train", shortened(texts))


def shortened(texts: Iterable[str]) -> str:
    """The first three, and how many more: one line."""
    listed = list(texts)
    rest = len(listed) - _SHOWN
    line = "; ".join(listed[:_SHOWN])
    return f"{line}; and {rest} more" if rest > 0 else line


def nothing(since: Commit | None, unrelated: Iterable[str]) -> str:
    """Why there is nothing to do since a commit, where the paths in `unrelated` changed: one line."""
    tops = collapsed(unrelated)
    if tops:
        return f"nothing to do: only {_listed(tops)} changed"
    known = f"nothing changed since {since.short}" if since else "nothing is there to release"
    return f"nothing to do: {known}"


def collapsed(paths: Iterable[str]) -> tuple[str, ...]:
    """Paths as their top-level directory (`docs/`) or file, each once, sorted."""
    tops = {f"{top}/" if rest else top for top, _, rest in (path.partition("/") for path in paths)}
    return tuple(sorted(tops))


def _listed(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) <= _SHOWN + 1:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
