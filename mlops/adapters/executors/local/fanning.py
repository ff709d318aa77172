"""From a pipeline task whose parents are done to what begins: its conditions, its combinations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlops.adapters.executors.local import stepping
from mlops.adapters.executors.local.scope import TaskScope
from mlops.domain.run import Condition, Phase, TaskState
from mlops.errors import ConfigError
from mlops.tekton import matrix, substitution
from mlops.tekton.document import Matrix, PipelineTask
from mlops.tekton.references import is_status
from mlops.tekton.substitution import Scope


@dataclass(frozen=True, slots=True)
class Node:
    """A task, or one combination of its matrix: `place`, which of how many, and `combination`.
    `goes_on`: the run does, where this fails."""

    task: PipelineTask
    name: str
    place: tuple[int, int] = (0, 1)
    combination: Mapping[str, str] = field(default_factory=dict)
    goes_on: bool = False


def conditions(task: PipelineTask, known: Scope) -> tuple[bool, tuple[Condition, ...]]:
    """Whether the task's conditions hold, and they, references replaced. Of a task of `finally` that
    begins, what asks how others ended stays as it is: a cluster keeps it so.

    Raises UnresolvedError where one refers to what is not there.
    """
    found = [(*stepping.evaluated(when, known), when.negated) for when in task.when]
    hold = all(stepping.holds(text, among, negated=negated) for text, among, negated in found)
    if hold and task.final:
        known = {
            **known,
            **{parts: f"$({'.'.join(parts)})" for parts in known if is_status(parts)},
        }
        found = [(*stepping.evaluated(when, known), when.negated) for when in task.when]
    return hold, tuple(Condition(text, negated, among) for text, among, negated in found)


def nodes(task: PipelineTask, known: Scope) -> list[Node]:
    """What a task begins as: itself, or the combinations of its matrix, which may be none.

    Raises ConfigError where they are too many or a parameter is no array, UnresolvedError where a
    result is missing.
    """
    lenient = goes_on(task, known)
    if task.matrix is None:
        return [Node(task, task.name, goes_on=lenient)]
    params = [(p.name, _array(substitution.value(p.value, known))) for p in task.matrix.params]
    include = [
        {p.name: substitution.text(str(p.value), known) for p in each.params}
        for each in task.matrix.include
    ]
    if any(not values for _, values in params):
        return []
    _check(task.matrix, matrix.count(params, include))
    found = matrix.combinations(params, include)
    _check(task.matrix, len(found))
    return [
        Node(task, f"{task.name}.{index}", (index, len(found)), each, goes_on=lenient)
        for index, each in enumerate(found)
    ]


def _check(asked: Matrix, number: int) -> None:
    if number > matrix.MOST:
        message = f"makes {number} combinations, and {matrix.MOST} are allowed"
        raise ConfigError(asked.at.complaint(message))


def goes_on(task: PipelineTask, known: Scope) -> bool:
    """Whether the run goes on where the task fails."""
    return substitution.text(task.on_error, known) == "continue"


def stops(task: PipelineTask, states: Iterable[TaskState], known: Scope) -> bool:
    """Whether a task ended so that none after it begins."""
    bad = {Phase.FAILED, Phase.CANCELLED}
    return any(state.phase in bad for state in states) and not goes_on(task, known)


def display_name(node: Node, values: TaskScope) -> str:
    """What people may call a task: its matrix's own name for the combination, else displayName."""
    task = node.task
    for include in task.matrix.include if task.matrix else ():
        given = {param.name: str(param.value) for param in include.params}
        if include.name and given.items() <= node.combination.items():
            return substitution.for_people(include.name, values.values)
    text = task.display_name or task.spec.display_name
    return substitution.for_people(text, values.values)


def _array(value: object) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    raise ConfigError("a parameter of a matrix is no array")
