"""The order of a pipeline's tasks: who waits for whom, and that nobody waits for himself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.place import Fault
from mlops.tekton.references import is_length, of_pipeline_task, results_used
from mlops.tekton.substitution import references


def parents(task: PipelineTask) -> tuple[str, ...]:
    """The tasks that one waits for, each once: by runAfter, and by the results that it uses."""
    used = [reference.task for reference, _ in results_used(task)]
    counted = [
        reference.parts[1]
        for text in of_pipeline_task(task)
        for reference in references(text.text)
        if is_length(reference.parts)
    ]
    return tuple(dict.fromkeys((*task.run_after, *used, *counted)))


def order(run: PipelineRun) -> dict[str, tuple[str, ...]]:
    """Task → those that it waits for, names that are no tasks left out."""
    names = {task.name for task in run.tasks}
    return {task.name: tuple(each for each in parents(task) if each in names) for task in run.tasks}


def faults(run: PipelineRun) -> Iterator[Fault]:
    """Unknown names in runAfter, and circles."""
    names = {task.name: task for task in run.tasks}
    for task in run.tasks:
        for index, parent in enumerate(task.run_after):
            if parent not in names:
                where = task.at / "runAfter" / index
                yield Fault(where, f"there is no task {parent!r}", near(parent, names))
    circle = find_circle(order(run))
    if circle:
        shown = " → ".join(circle)
        yield Fault(names[circle[0]].at, f"these tasks wait for each other: {shown}")


def find_circle(waits: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """A circle of tasks that wait for each other, its first one repeated at the end; else empty."""
    left = {name: [each for each in above if each in waits] for name, above in waits.items()}
    below: dict[str, list[str]] = {name: [] for name in left}
    for name, above in left.items():
        for each in above:
            below[each].append(name)
    open_above = {name: len(above) for name, above in left.items()}
    free = [name for name, number in open_above.items() if not number]
    while free:
        for each in below[free.pop()]:
            open_above[each] -= 1
            if not open_above[each]:
                free.append(each)
    stuck = [name for name, number in open_above.items() if number]
    if not stuck:
        return ()
    path, here = [], stuck[0]
    while here not in path:
        path.append(here)
        here = next(each for each in left[here] if open_above[each])
    return (*path[path.index(here) :], here)


def near(name: str, known: Iterable[str]) -> str:
    """A hint: the name that may have been meant."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Is {close[0]} meant?" if close else ""
