"""What must hold before the first step runs: references, parameters, workspaces, order.

What Tekton's webhook refuses is refused, and what would fail on a cluster at run time (a result that
nobody declares, a workspace or parameter that is not given) too.
"""

from __future__ import annotations

from collections.abc import Iterator

from mlops.errors import ConfigError
from mlops.tekton import credentials, defaults, fitting, graph, matrix, specs, substitution
from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.meaning import Meaning, PipelineMeaning, check
from mlops.tekton.place import Fault, refuse
from mlops.tekton.references import is_length, of_pipeline_task, of_value
from mlops.tekton.substitution import expressions, references, unknown_roots
from mlops.tekton.taskmeaning import TaskMeaning
from mlops.tekton.values import Param


def validate(run: PipelineRun) -> None:
    """Check the whole run. Raises ConfigError with the place of everything that is wrong."""
    refuse(_faults(run))


def _faults(run: PipelineRun) -> Iterator[Fault]:
    outer = PipelineMeaning(run)
    yield from _names(run)
    yield from graph.faults(run)
    yield from _given(run)
    yield from _accounts(run)
    for task in run.all_tasks:
        yield from _pipeline_task(task, run, outer)
        yield from specs.task_spec(task, TaskMeaning(task, outer), run)
    for result in run.results:
        texts = list(of_value(result.value, result.at / "value"))
        if not any(True for text in texts for _ in references(text.text)):
            yield Fault(result.at / "value", "must be made of results of tasks")
        for text in texts:
            for each in expressions(text.text):
                if not any(each == reference.text for reference in references(each)):
                    yield Fault(text.at, f"{each}: is no result of a task")
            yield from check(text, outer.in_result)


def _accounts(run: PipelineRun) -> Iterator[Fault]:
    """Secrets of service accounts that are not what their type says."""
    for account in {task.account or credentials.DEFAULT: None for task in run.all_tasks}:
        try:
            credentials.of(run, account)
        except ConfigError as exc:
            yield Fault(run.at, str(exc))


def _names(run: PipelineRun) -> Iterator[Fault]:
    seen: set[str] = set()
    for task in run.all_tasks:
        if task.name in seen:
            yield Fault(task.at / "name", f"{task.name!r} is there twice")
        seen.add(task.name)


def _given(run: PipelineRun) -> Iterator[Fault]:
    for spec in run.params:
        if spec.name in run.given:
            yield from fitting.type_faults(spec, run.given[spec.name], run.at / "params")
        elif spec.default is None:
            yield Fault(run.at / "params", f"nothing is given for the parameter {spec.name!r}")
    yield from fitting.declared(run.params)
    yield from defaults.faults(run.params, run.given)
    for name, value in run.given.items():
        for text in of_value(value, run.at / "params"):
            for reference in references(text.text):
                if reference.task:
                    yield Fault(
                        text.at, f"{name}: {reference.text}: a run's parameters cannot use results"
                    )
    for workspace in run.workspaces:
        if workspace.name not in run.bound and not workspace.optional:
            yield Fault(run.at / "workspaces", f"nothing is given for {workspace.name!r}")
    for bound in run.bound.values():
        yield from specs.source(bound.source, bound.at, run)


def _pipeline_task(task: PipelineTask, run: PipelineRun, outer: PipelineMeaning) -> Iterator[Fault]:
    meaning = outer.of(task)
    for text in of_pipeline_task(task):
        yield from check(text, meaning)
        for reference in unknown_roots(text.text):
            yield Fault(text.at, f"{reference} refers to nothing that a pipeline knows")
        for each in expressions(text.text):
            if each.startswith("$(tasks.") and not any(True for _ in references(each)):
                yield Fault(text.at, f"{each} is no reference to a task")
    yield from _matrix(task, meaning)
    yield from _lengths(task)
    yield from _task_params(task, run, meaning)
    yield from _task_workspaces(task, run)


def _lengths(task: PipelineTask) -> Iterator[Fault]:
    """Lengths of a matrix and its results that a cluster leaves as they are: of a parameter, Tekton
    counts for the first one alone, and replaces what it has counted in all of them."""
    found = {
        param.name: [
            each for each in substitution.all_references(param.value) if is_length(each.parts)
        ]
        for param in task.params
    }
    counted = {each[0].parts for each in found.values() if each}
    counted |= {(*parts[:3], "length") for parts in counted}
    for param in task.params:
        for reference in found[param.name]:
            if reference.parts not in counted:
                what = f"{reference.text}: a cluster replaces the first length of a parameter alone"
                yield Fault(param.at / "value", what, "Hand it on in a parameter of its own")


def _matrix(task: PipelineTask, meaning: Meaning) -> Iterator[Fault]:
    if task.matrix is None:
        return
    given = {param.name for param in task.params}
    for param in task.matrix.all_params:
        if param.name in given:
            yield Fault(param.at / "name", f"{param.name!r} stands in params too")
    for param in task.matrix.params:
        kind = fitting.kind_here(param.value, param.at / "value", meaning)
        if kind not in {"array", ""}:
            yield Fault(param.at / "value", f"must be an array, not of type {kind}")
    for include in task.matrix.include:
        for param in include.params:
            if fitting.kind_here(param.value, param.at / "value", meaning) not in {"string", ""}:
                yield Fault(param.at / "value", "must be a string")
    number = matrix.count(
        [(p.name, p.value) for p in task.matrix.params if isinstance(p.value, tuple)],
        [{p.name: str(p.value) for p in each.params} for each in task.matrix.include],
    )
    if number > matrix.MOST:
        yield Fault(task.matrix.at, f"makes {number} combinations, and {matrix.MOST} are allowed")


def _task_params(task: PipelineTask, run: PipelineRun, meaning: Meaning) -> Iterator[Fault]:
    given: dict[str, Param] = {param.name: param for param in task.params}
    fanned = {param.name for param in task.matrix.all_params} if task.matrix else set()
    inherited = {spec.name for spec in run.params} | set(run.given) if task.embedded else set()
    yield from fitting.declared(task.spec.params)
    for spec in task.spec.params:
        if spec.name in fanned:
            if spec.kind != "string":
                yield Fault(task.at / "matrix", f"{spec.name!r} must be of type string in the task")
        elif spec.name not in given:
            if spec.default is None and spec.name not in inherited:
                yield Fault(task.at / "params", f"nothing is given for the parameter {spec.name!r}")
        else:
            yield from fitting.handed(spec, given[spec.name], None if task.literal else meaning)


def _task_workspaces(task: PipelineTask, run: PipelineRun) -> Iterator[Fault]:
    declared = {each.name for each in task.spec.workspaces}
    pipeline = {each.name for each in run.workspaces}
    for binding in task.workspaces:
        if binding.name not in declared and not task.embedded:  # such a task is not handed it
            yield Fault(
                binding.at / "name",
                f"the task has no workspace {binding.name!r}",
                graph.near(binding.name, declared),
            )
        if binding.workspace not in pipeline:
            yield Fault(
                binding.at / "workspace",
                f"the pipeline has no workspace {binding.workspace!r}",
                graph.near(binding.workspace, pipeline),
            )
    bound = {each.name for each in task.workspaces if each.workspace in run.bound}
    for workspace in task.spec.workspaces:
        if workspace.name not in bound and not workspace.optional:
            yield Fault(
                task.at / "workspaces", f"nothing is given for the workspace {workspace.name!r}"
            )
