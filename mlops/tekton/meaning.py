"""What each reference means where it stands: the type of its value, or why it has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from mlops.tekton.document import (
    Container,
    ParamSpec,
    PipelineRun,
    PipelineTask,
    ResultSpec,
    Value,
    kind_of,
)
from mlops.tekton.graph import near
from mlops.tekton.place import Fault, Place
from mlops.tekton.references import Room, Text, is_length, is_status
from mlops.tekton.substitution import Parts, Reference, artifacts, malformed, references

RUN_CONTEXT: frozenset[Parts] = frozenset(
    {
        ("context", "pipelineRun", "name"),
        ("context", "pipelineRun", "namespace"),
        ("context", "pipelineRun", "uid"),
        ("context", "pipeline", "name"),
        ("context", "pipelineTask", "retries"),
    }
)
TASK_CONTEXT: frozenset[Parts] = RUN_CONTEXT | {
    ("context", "taskRun", "name"),
    ("context", "taskRun", "namespace"),
    ("context", "taskRun", "uid"),
    ("context", "task", "name"),
    ("context", "task", "retry-count"),
}
_STEP_RESULTS_IN = frozenset({"env", "command", "args", "when", "params", "onError"})


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


def _result(reference: Reference, spec: ResultSpec, first: int) -> str | No:
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
        return self.result(reference, matrix=True)

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
            return _result(reference, known[name], last)
        if not (matrix and reference.whole):
            return No("the results of a matrix can only be used as a whole: [*]")
        if known[name].kind != "string":
            return No("only string results of a matrix can be used")
        return "array"


@dataclass(slots=True)
class TaskMeaning:
    """References inside a task's spec. `outer` is the pipeline's, where it reaches in."""

    task: PipelineTask
    outer: PipelineMeaning
    params: Mapping[str, ParamSpec] = field(init=False)
    results: Mapping[str, ResultSpec] = field(init=False)
    workspaces: frozenset[str] = field(init=False)
    steps: Mapping[str, Container] = field(init=False)

    def __post_init__(self) -> None:
        spec, task = self.task.spec, self.task
        known = {each.name: each for each in spec.params}
        if task.literal:
            values = {each.name: each.value for each in task.params}
            known = {n: replace(s, default=values.get(n, s.default)) for n, s in known.items()}
        if task.embedded:
            for name, value in ((each.name, each.value) for each in task.params):
                outer = self.outer.params.get(name)
                keys = tuple(value) if isinstance(value, Mapping) else None
                if keys is not None and outer is not None:
                    keys += outer.properties or ()
                kind = kind_of(value)
                if not task.literal:
                    kind = _handed_kind(value, self.outer.of(task))
                known.setdefault(name, ParamSpec(name, kind, task.at, value, keys))
            known = {**self.outer.params, **known}
        self.params = known
        self.results = {each.name: each for each in spec.results}
        self.workspaces = frozenset(each.name for each in spec.workspaces)
        self.steps = {step.name: step for step in spec.steps}

    def in_volume(self, reference: Reference, _text: Text) -> str | No:
        """In a volume."""
        match reference.parts[0]:
            case "params":
                return param(reference, self.params)
            case "context":
                return self._context(reference)
        return No("cannot be used in a volume")

    def in_container(self, container: Container) -> Meaning:
        """In a step or sidecar."""

        def meaning(reference: Reference, text: Text) -> str | No:
            return self._in_container(reference, text, container)

        return meaning

    def _in_container(self, reference: Reference, text: Text, container: Container) -> str | No:
        match reference.parts[0]:
            case "params":
                return self._param(reference, text, container)
            case "results":
                return self._own_result(reference, container)
            case "workspaces":
                return self._workspace_of(reference)
            case "context":
                return self._context(reference)
            case "step":
                return _step_path(reference, container)
            case "steps":
                return self._step(reference, text)
            case "credentials":
                return "string" if reference.parts[1:] == ("path",) else No("refers to nothing")
            case "tasks" if self.task.embedded and reference.task:
                return self.outer.result(reference, matrix=True)
        return No("cannot be used inside a task's spec", "Hand it in as a parameter of the task")

    def _param(self, reference: Reference, text: Text, container: Container) -> str | No:
        if container.action is None:
            return param(reference, self.params, settled=self.task.literal)
        if text.field == "script":
            return No(
                "a StepAction's script cannot use parameters",
                "Hand it on in an environment variable",
            )
        return param(reference, {each.name: each for each in container.action.params})

    def _own_result(self, reference: Reference, container: Container) -> str | No:
        parts = reference.parts
        if len(parts) != 3 or parts[2] != "path":
            return No("refers to nothing; a result has a path")
        known = self.results
        if container.action is not None:
            known = {each.name: each for each in container.results}
        if parts[1] in known:
            return "string"
        return No(f"there is no result {parts[1]!r}", near(parts[1], known))

    def _context(self, reference: Reference) -> str | No:
        return "string" if reference.parts in TASK_CONTEXT else No("there is no such value")

    def _step(self, reference: Reference, text: Text) -> str | No:
        parts = reference.parts
        if len(parts) == 4 and parts[2:] == ("exitCode", "path"):
            names = {f"step-{name}" for name in self.steps}
            return "string" if parts[1] in names else No("no such step", near(parts[1], names))
        if len(parts) < 4 or parts[2] != "results":
            return No("refers to nothing")
        if text.field not in _STEP_RESULTS_IN:
            return No("a step's result can be used in env, command, args and when only")
        step = self.steps.get(parts[1])
        if step is None:
            return No(f"there is no step {parts[1]!r}", near(parts[1], self.steps))
        known = {each.name: each for each in step.results}
        if parts[3] not in known:
            return No(f"step {step.name} declares no result {parts[3]!r}", near(parts[3], known))
        return _result(reference, known[parts[3]], 3)

    def _workspace_of(self, reference: Reference) -> str | No:
        parts = reference.parts
        if len(parts) != 3 or parts[2] not in {"path", "bound", "claim", "volume"}:
            return No("refers to nothing; a workspace has a path, and may be bound")
        if parts[1] not in self.workspaces:
            return No(f"there is no workspace {parts[1]!r}", near(parts[1], self.workspaces))
        return "string"


def _handed_kind(value: Value, meaning: Meaning) -> str:
    """The type of a value that is handed on, which a reference may bring."""
    if isinstance(value, str):
        for reference in references(value):
            if reference.text == value:
                found = meaning(reference, Text(value, Place()))
                return "string" if isinstance(found, No) else found
    return kind_of(value)


def _step_path(reference: Reference, container: Container) -> str | No:
    parts = reference.parts
    if len(parts) != 4 or parts[1] != "results" or parts[3] != "path":
        return No("refers to nothing; a step's result has a path")
    known = [each.name for each in container.results]
    return "string" if parts[2] in known else No("no such result", near(parts[2], known))
