"""Workspaces of a run reach the specs that stand in the same document (Tekton: propagated workspaces)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlops.tekton.document import Binding, PipelineRun, PipelineTask
from mlops.tekton.place import Place
from mlops.tekton.pod import WorkspaceSpec
from mlops.tekton.references import workspaces_used


def undeclared(
    bound: Mapping[str, Any], declared: tuple[WorkspaceSpec, ...], at: Place
) -> tuple[WorkspaceSpec, ...]:
    known = {each.name for each in declared}
    return tuple(
        WorkspaceSpec(name, f"/workspace/{name}", at) for name in bound if name not in known
    )


def propagated(run: PipelineRun) -> PipelineRun:
    """Workspaces reach the specs that stand in the same document (Tekton: propagated workspaces)."""
    reach = frozenset(run.bound) & {each.name for each in run.workspaces}

    def task(each: PipelineTask) -> PipelineTask:
        return _propagate(each, reach) if each.embedded else each

    return replace(run, tasks=tuple(map(task, run.tasks)), final=tuple(map(task, run.final)))


def _propagate(task: PipelineTask, bound: frozenset[str]) -> PipelineTask:
    handed = {each.name for each in task.workspaces}
    declared = {each.name for each in task.spec.workspaces}
    used = workspaces_used(task.spec) & bound
    more = tuple(
        WorkspaceSpec(name, f"/workspace/{name}", task.at) for name in sorted(used - declared)
    )
    bindings = tuple(
        Binding(name, name, "", task.at)
        for name in sorted((declared | used) & bound)
        if name not in handed
    )
    spec = replace(task.spec, workspaces=task.spec.workspaces + more)
    return replace(task, spec=spec, workspaces=task.workspaces + bindings)
