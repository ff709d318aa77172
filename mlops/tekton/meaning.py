"""What each reference means where it stands: the type of its value, or why it has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.graph import near
from mlops.tekton.place import Fault
from mlops.tekton.references import Room, Text, is_length, is_status, of_pipeline_task
from mlops.tekton.substitution import Parts, Reference, artifacts, malformed, references
from mlops.tekton.values import ParamSpec, ResultSpec, kind_of

RUN_CONTEXT: frozenset[Parts] = frozenset(
    {
        ("context", "pipelineRun", "name"),
        ("context", "pipelineRun", "namespace"),
        ("context", "pipelineRun", "uid"),
        ("context", "pipeline", "name"),
        ("context", "pipelineTask", "retries"),
    }
)


@dataclass(frozen=True, slots=True)
class No:
    """Why a reference means nothing here."""

    message: str
    hint: str = ""


class Meaning(Protocol):
    """Tells the type of a reference's value (string, array or object), or why there is none."""

    def __call__(self, reference: Reference, text: Text, /) -> str | No: ...


def check(text: Text, meaning: Meaning) -> Iterator[Fault]:
    """What is wrong with the references of one text."""
    if "$(" not in text.text:
        return
    for each in artifacts(text.text):
        yield Fault(text.at, f"{each}: artifacts need Tekton's alpha features, which are off")
    for each in malformed(text.text):
        yield Fault(text.at, f"{each} is no reference")
    for reference in references(text.text):
        found = meaning(reference, text)
        if isinstance(found, No):
            yield Fault(text.at, f"{reference.text}: {found.message}", found.hint)
        elif found != "string":
            yield from _room(reference, found, text)


def _room(reference: Reference, kind: str, text: Text) -> Iterator[Fault]:
    alone = reference.text == text.text
    fits = text.room is Room.VALUE or (text.room is Room.ITEM and kind == "array")
    if not fits or not alone:
        a_part = f"use one of its {'items' if kind == 'array' else 'keys'}"
        yield Fault(
            text.at,
            f"{reference.text} is an {kind}, and a string is needed here",
            f"{a_part[0].upper()}{a_part[1:]}"
            + (", or let it stand alone" if text.room is Room.ITEM else ""),
        )


def indexed(
    kind: str,
    reference: Reference,
    keys: int,
    declared: tuple[str, ...] | None,
    length: int | None = None,
) -> str | No:
    """The type of a value of `kind` behind a reference that has `keys` parts after its name."""
    if keys:
        key = reference.parts[-1]
        if kind != "object" or keys > 1 or reference.index:
            return No("refers to nothing: it is no object")
        if declared is not None and key not in declared:
            return No("refers to nothing: there is no such key", near(key, declared))
        return "string"
    if reference.index.isdigit():
        if kind != "array":
            return No(f"is no array, but of type {kind}")
        return (
            "string" if length is None or int(reference.index) < length else No("has no such item")
        )
    if reference.whole and kind == "string":
        return No("is no array and no object")
    return kind


def param(
    reference: Reference, known: Mapping[str, ParamSpec], *, settled: bool = False
) -> str | No:
    """`$(params.NAME)`, `[0]`, `[*]`, `.KEY`; `settled`: defaults are the values that there will be."""
    parts = reference.parts
    whole = ".".join(parts[1:])
    if whole in known and len(parts) > 2:
        return indexed(known[whole].kind, reference, 0, None)
    spec = known.get(parts[1])
    if spec is None:
        return No("there is no such parameter", near(parts[1], known))
    length = len(spec.default) if settled and isinstance(spec.default, tuple) else None
    return indexed(spec.kind, reference, len(parts) - 2, spec.properties, length)


def result_kind(reference: Reference, spec: ResultSpec, first: int) -> str | No:
    return indexed(spec.kind, reference, len(reference.parts) - first - 1, spec.properties)


@dataclass(slots=True)
class PipelineMeaning:
    """References of a pipeline: its tasks' parameters and conditions, its results."""

    run: PipelineRun
    params: Mapping[str, ParamSpec] = field(init=False)
    tasks: Mapping[str, PipelineTask] = field(init=False)
    finals: Mapping[str, PipelineTask] = field(init=False)
    workspaces: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        known = {
            spec.name: replace(spec, default=self.run.given.get(spec.name, spec.default))
            for spec in self.run.params
        }
        if self.run.embedded:
            for name, value in self.run.given.items():
                keys = tuple(value) if isinstance(value, Mapping) else None
                known.setdefault(name, ParamSpec(name, kind_of(value), self.run.at, value, keys))
        self.params = known
        self.tasks = {task.name: task for task in self.run.tasks}
        self.finals = {task.name: task for task in self.run.final}
        self.workspaces = frozenset(each.name for each in self.run.workspaces)

    def of(self, task: PipelineTask) -> Meaning:
        """In a task of the pipeline."""

        def meaning(reference: Reference, _text: Text) -> str | No:
            return self._in_final(reference, task) if task.final else self._in_task(reference, task)

        return meaning

    def _in_task(self, reference: Reference, task: PipelineTask) -> str | No:
        if is_status(reference.parts):
            return No("only a finally task can ask how others ended")
        return self._any(reference, task)

    def _in_final(self, reference: Reference, task: PipelineTask) -> str | No:
        parts = reference.parts
        if is_status(parts) and not reference.task:
            if len(parts) == 3 and parts[1] not in self.tasks:
                return No(f"there is no task {parts[1]!r}", near(parts[1], self.tasks))
            return "string"
        if reference.task in self.finals:
            return No("a finally task cannot use the result of another one")
        return self._any(reference, task)

    def in_result(self, reference: Reference, _text: Text) -> str | No:
        """In the pipeline's own results."""
        if not reference.task:
            return No("is no result of a task")
        found = self.result(reference, matrix=True)
        where = self.finals if reference.parts[0] == "finally" else self.tasks
        task = where.get(reference.parts[1])
        if task is None or task.matrix is None or isinstance(found, No) or self._is_read(task):
            return found
        told = "the results of a matrix cannot be used by the pipeline alone: a cluster gathers them for"
        return No(f"{told} a task that uses them", "Let a task take and give them")

    def _is_read(self, task: PipelineTask) -> bool:
        """Whether a task of the pipeline uses a result of this one."""
        texts = (text.text for each in self.run.all_tasks for text in of_pipeline_task(each))
        return any(each.task == task.name for text in texts for each in references(text))

    def _any(self, reference: Reference, task: PipelineTask) -> str | No:
        parts = reference.parts
        match parts[0]:
            case "params":
                return param(reference, self.params, settled=True)
            case "tasks":
                if is_length(parts):
                    return self._length(parts)
                return self.result(reference, matrix=True)
            case "context":
                return "string" if parts in RUN_CONTEXT else No("there is no such value")
            case "workspaces":
                return self._workspace(parts, task)
        return No("cannot be used outside a task's spec")

    def _workspace(self, parts: Parts, task: PipelineTask) -> str | No:
        """`bound` of the pipeline's; `path` of the task's, which a parameter may hand on to it."""
        own = {each.name for each in task.workspaces}
        if len(parts) == 3 and parts[2] == "bound" and parts[1] in self.workspaces | own:
            return "string"
        if len(parts) == 3 and parts[2] == "path" and parts[1] in own:
            return "string"
        return No("refers to nothing", near(parts[1], self.workspaces | own))

    def _length(self, parts: Parts) -> str | No:
        task = self.tasks.get(parts[1])
        if task is None or task.matrix is None:
            return No(f"{parts[1]!r} is no task with a matrix", near(parts[1], self.tasks))
        return "string"

    def result(self, reference: Reference, *, matrix: bool) -> str | No:
        """A task's result; those of all combinations of a matrix are an array."""
        parts = reference.parts
        if not reference.task:
            return No("refers to nothing")
        where = self.finals if parts[0] == "finally" else self.tasks
        task = where.get(parts[1])
        if task is None:
            return No(f"there is no task {parts[1]!r}", near(parts[1], where))
        known = {result.name: result for result in task.spec.results}
        name = parts[3] if parts[3] in known else ".".join(parts[3:])
        if name not in known:
            return No(f"task {task.name} declares no result {parts[3]!r}", near(parts[3], known))
        if task.matrix is None:
            last = 3 if parts[3] in known else len(parts) - 1
            return result_kind(reference, known[name], last)
        if not (matrix and reference.whole):
            return No("the results of a matrix can only be used as a whole: [*]")
        if known[name].kind != "string":
            return No("only string results of a matrix can be used")
        return "array"
