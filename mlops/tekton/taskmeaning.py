"""What references mean inside a task's spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mlops.tekton.document import PipelineTask
from mlops.tekton.graph import near
from mlops.tekton.meaning import RUN_CONTEXT, Meaning, No, PipelineMeaning, param, result_kind
from mlops.tekton.place import Place
from mlops.tekton.pod import Container
from mlops.tekton.references import Text
from mlops.tekton.substitution import Parts, Reference, references
from mlops.tekton.values import ParamSpec, ResultSpec, Value, kind_of

TASK_CONTEXT: frozenset[Parts] = RUN_CONTEXT | {
    ("context", "taskRun", "name"),
    ("context", "taskRun", "namespace"),
    ("context", "taskRun", "uid"),
    ("context", "task", "name"),
    ("context", "task", "retry-count"),
}


_STEP_RESULTS_IN = frozenset({"env", "command", "args", "when", "params", "onError"})


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
            # in a Pipeline that is named, a task's spec must declare what it is given
            given = task.params if self.outer.run.embedded else ()
            for name, value in ((each.name, each.value) for each in given):
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
            if parts[1] in names:
                return "string"
            meant = f"step-{parts[1]}"
            hint = f"Is {meant} meant?" if meant in names else near(parts[1], names)
            return No(f"there is no step {parts[1]!r}", hint)
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
        return result_kind(reference, known[parts[3]], 3)

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
