"""What `mlops runs submit --dry-run` says: the tasks, what each waits for, on what condition it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlops.cli import options, render, terminal
from mlops.tekton import graph, matrix

if TYPE_CHECKING:
    from mlops.tekton.document import Matrix, PipelineRun, PipelineTask


def answer(programs: Sequence[PipelineRun], output: options.Output) -> None:
    """Print the documents as they would be carried out, or for people the tasks."""
    found = [list(program.documents) for program in programs]

    def text() -> None:
        for program in programs:
            for line in _lines(program):
                render.line(line)

    render.answer(found, output, text)


def _lines(program: PipelineRun) -> Iterator[str]:
    count = len(program.all_tasks)
    yield f"{program.kind} {program.name} would run {count} task{'s' if count != 1 else ''}"
    waits = graph.order(program)
    room = max((terminal.width(task.name) for task in program.all_tasks), default=0)
    for part in (program.tasks, program.final):
        if part and part is program.final:
            yield "finally"
        for number, task in enumerate(part):
            lead = "└─ " if number == len(part) - 1 else "├─ "
            said = "; ".join(_said(task, waits.get(task.name, ())))
            gap = " " * (room - terminal.width(task.name) + 2)
            yield f"{lead}{render.safe(task.name)}{gap}{render.safe(said)}".rstrip()
    for note in program.notes:
        yield f"note: {note}"


def _said(task: PipelineTask, waits: Sequence[str]) -> Iterator[str]:
    if waits:
        yield f"after {', '.join(waits)}"
    if task.matrix is not None:
        yield _combinations(task.matrix)
    for when in task.when:
        word = "not in" if when.negated else "in"
        yield f'when "{when.input}" {word} [{", ".join(when.values)}]'
    if task.retries:
        yield f"up to {task.retries + 1} attempts"


def _combinations(of: Matrix) -> str:
    """How many there are, as far as that is known before anything has run."""
    params = []
    for param in of.params:
        if not isinstance(param.value, tuple) or any("$(" in each for each in param.value):
            return "a matrix"
        params.append((param.name, param.value))
    include = [
        {param.name: param.value for param in each.params if isinstance(param.value, str)}
        for each in of.include
    ]
    return f"{matrix.count(params, include)} combinations"
