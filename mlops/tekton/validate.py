"""What must hold before the first step runs: names, references, workspaces, parameters, order."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping

from mlops.errors import ConfigError
from mlops.tekton.document import (
    Container,
    ParamSpec,
    PipelineRun,
    PipelineTask,
    Value,
)
from mlops.tekton.parse import kind_of
from mlops.tekton.substitution import Parts, Reference, all_references, references

CONTEXT: frozenset[Parts] = frozenset(
    {
        ("context", "pipelineRun", "name"),
        ("context", "pipelineRun", "namespace"),
        ("context", "pipelineRun", "uid"),
        ("context", "pipeline", "name"),
    }
)
TASK_CONTEXT: frozenset[Parts] = CONTEXT | {
    ("context", "taskRun", "name"),
    ("context", "taskRun", "namespace"),
    ("context", "taskRun", "uid"),
    ("context", "task", "name"),
    ("context", "task", "retry-count"),
}


def validate(run: PipelineRun) -> dict[str, tuple[str, ...]]:
    """Check the whole run, and give for each task those that it waits for.

    Raises ConfigError with the path of what is wrong.
    """
    if not run.tasks:
        raise ConfigError("spec.pipelineSpec.tasks: there is none")
    _unique("spec.pipelineSpec.tasks", (task.name for task in run.all_tasks))
    _unique("spec.pipelineSpec.params", (param.name for param in run.params))
    _unique("spec.pipelineSpec.results", (result.name for result in run.results))
    _unique("spec.pipelineSpec.workspaces", (each.name for each in run.workspaces))
    _params(run.params, run.given, "spec.params")
    for workspace in run.workspaces:
        if workspace.name not in run.bound and not workspace.optional:
            raise ConfigError(f"spec.workspaces: nothing is given for {workspace.name!r}")
    for task in run.all_tasks:
        _task(task, run)
    for result in run.results:
        for reference in all_references(result.value):
            _pipeline_reference(reference, f"{result.path}.value", run, status=False)
    return order(run)


def order(run: PipelineRun) -> dict[str, tuple[str, ...]]:
    """Task → those that it waits for (runAfter, and results that it uses). Refuses cycles."""
    waits = {task.name: parents(task) for task in run.tasks}
    names = {task.name: task for task in run.tasks}
    for task in run.tasks:
        for index, parent in enumerate(task.run_after):
            if parent not in names:
                where = f"{task.path}.runAfter[{index}]"
                raise ConfigError(
                    f"{where}: there is no task {parent!r}", hint=_near(parent, names)
                )
    left = dict(waits)
    while left:
        ready = [name for name, above in left.items() if not any(each in left for each in above)]
        if not ready:
            circle = " → ".join(sorted(left))
            raise ConfigError(f"spec.pipelineSpec.tasks: these wait for each other: {circle}")
        for name in ready:
            del left[name]
    return waits


def parents(task: PipelineTask) -> tuple[str, ...]:
    """The tasks that one waits for, each once."""
    used = (reference.task for _, reference in pipeline_references(task))
    return tuple(dict.fromkeys((*task.run_after, *(name for name in used if name))))


def pipeline_references(task: PipelineTask) -> Iterator[tuple[str, Reference]]:
    """References that a pipeline task makes outside its taskSpec, each with its path."""
    for index, (_, value) in enumerate(task.params):
        for reference in all_references(value):
            yield f"{task.path}.params[{index}].value", reference
    for when in task.when:
        for reference in all_references((when.input, *when.values)):
            yield when.path, reference
    for binding in task.workspaces:
        for reference in references(binding.sub_path):
            yield f"{binding.path}.subPath", reference


def _unique(path: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{path}: {name!r} is there twice")
        seen.add(name)


def _near(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"Is {close[0]} meant?" if close else ""


def _params(specs: Iterable[ParamSpec], given: Mapping[str, Value], path: str) -> None:
    for spec in specs:
        if spec.name not in given and spec.default is None:
            raise ConfigError(f"{path}: nothing is given for {spec.name!r}")
        if spec.name in given:
            check_type(spec, given[spec.name], path)


def check_type(spec: ParamSpec, value: Value, path: str) -> None:
    """Raises ConfigError where a value is not of the declared type or lacks declared keys."""
    if kind_of(value) != spec.kind:
        raise ConfigError(f"{path}: {spec.name!r} must be of type {spec.kind}")
    if isinstance(value, Mapping):
        default = spec.default if isinstance(spec.default, Mapping) else {}
        missing = [key for key in spec.properties if key not in value and key not in default]
        if missing:
            raise ConfigError(f"{path}: {spec.name!r} lacks {', '.join(missing)}")


def _task(task: PipelineTask, run: PipelineRun) -> None:
    for path, reference in pipeline_references(task):
        _pipeline_reference(reference, path, run, status=task.final)
    spec, at = task.spec, f"{task.path}.taskSpec"
    if not spec.steps:
        raise ConfigError(f"{at}.steps: there is none")
    _unique(f"{at}.params", (param.name for param in spec.params))
    _unique(f"{at}.results", (result.name for result in spec.results))
    _unique(f"{at}.workspaces", (each.name for each in spec.workspaces))
    _unique(f"{at}.workspaces", (each.mount_path for each in spec.workspaces))
    _unique(f"{at}.volumes", spec.volumes)
    _unique(f"{at}.steps", (container.name for container in spec.containers))
    _task_params(task, run)
    _task_workspaces(task, run)
    for container in spec.containers:
        _container(container, task, run)


def _task_params(task: PipelineTask, run: PipelineRun) -> None:
    given = dict(task.params)
    inherited = {param.name for param in run.params}
    for spec in task.spec.params:
        if spec.name not in given:
            if spec.default is None and spec.name not in inherited:
                raise ConfigError(f"{task.path}.params: nothing is given for {spec.name!r}")
        elif not any(all_references(given[spec.name])):
            check_type(spec, given[spec.name], f"{task.path}.params")


def _task_workspaces(task: PipelineTask, run: PipelineRun) -> None:
    declared = {each.name for each in task.spec.workspaces}
    _unique(f"{task.path}.workspaces", (binding.name for binding in task.workspaces))
    pipeline = {each.name: each for each in run.workspaces}
    for binding in task.workspaces:
        if binding.name not in declared:
            raise ConfigError(
                f"{binding.path}.name: the task has no workspace {binding.name!r}",
                hint=_near(binding.name, declared),
            )
        if binding.workspace not in pipeline:
            raise ConfigError(
                f"{binding.path}.workspace: the pipeline has no workspace {binding.workspace!r}",
                hint=_near(binding.workspace, pipeline),
            )
    bound = {each.name for each in task.workspaces if each.workspace in run.bound}
    for workspace in task.spec.workspaces:
        if workspace.name not in bound and not workspace.optional:
            raise ConfigError(f"{task.path}.workspaces: nothing is given for {workspace.name!r}")


def _container(container: Container, task: PipelineTask, run: PipelineRun) -> None:
    if container.script and container.command:
        raise ConfigError(f"{container.path}: has both script and command")
    declared = {each.name for each in task.spec.workspaces}
    for name, _ in container.workspaces:
        if name not in declared:
            raise ConfigError(f"{container.path}.workspaces: the task has no workspace {name!r}")
    for mount in container.mounts:
        if mount.volume not in task.spec.volumes:
            raise ConfigError(f"{container.path}.volumeMounts: there is no volume {mount.volume!r}")
    for where, text in container_texts(container):
        for reference in references(text):
            _task_reference(reference, f"{container.path}.{where}", container, task, run)


def container_texts(container: Container) -> Iterator[tuple[str, str]]:
    """Every text of a container that may hold references, with its place below the container."""
    yield "image", container.image
    yield "script", container.script
    yield "workingDir", container.working_dir
    for key, texts in (("command", container.command), ("args", container.args)):
        for index, text in enumerate(texts):
            yield f"{key}[{index}]", text
    for index, (_, text) in enumerate(container.env):
        yield f"env[{index}].value", text


def _unknown(reference: Reference, path: str, names: Iterable[str], name: str) -> ConfigError:
    return ConfigError(f"{path}: {reference.text} refers to nothing", hint=_near(name, names))


def _pipeline_reference(reference: Reference, path: str, run: PipelineRun, *, status: bool) -> None:
    parts = reference.parts
    if parts[0] == "params":
        _param_reference(reference, path, {param.name: param for param in run.params})
    elif parts[0] == "tasks":
        if status and (parts == ("tasks", "status") or _is_status(parts, run)):
            return
        if not reference.task:
            raise _unknown(reference, path, (), "")
        _result_reference(reference, path, run)
    elif parts[0] == "context":
        if parts not in CONTEXT:
            raise _unknown(reference, path, (), "")
    elif not _is_bound(parts, {each.name for each in run.workspaces}):
        raise _unknown(reference, path, (), "")


def _is_status(parts: Parts, run: PipelineRun) -> bool:
    names = {task.name for task in run.tasks}
    return len(parts) == 3 and parts[1] in names and parts[2] in {"status", "reason"}


def _is_bound(parts: Parts, workspaces: Collection[str]) -> bool:
    return (
        len(parts) == 3
        and parts[0] == "workspaces"
        and parts[1] in workspaces
        and parts[2] == "bound"
    )


def _result_reference(reference: Reference, path: str, run: PipelineRun) -> None:
    tasks = {task.name: task for task in run.tasks}
    task = tasks.get(reference.task)
    if task is None:
        raise ConfigError(
            f"{path}: {reference.text}: there is no task {reference.task!r}",
            hint=_near(reference.task, tasks),
        )
    results = {result.name: result for result in task.spec.results}
    name, rest = reference.parts[3], reference.parts[4:]
    if name not in results:
        raise ConfigError(
            f"{path}: {reference.text}: task {task.name} declares no result {name!r}",
            hint=_near(name, results),
        )
    if len(rest) > 1 or (rest and results[name].kind != "object"):
        raise _unknown(reference, path, (), "")


def _param_reference(reference: Reference, path: str, params: Mapping[str, ParamSpec]) -> None:
    name, rest = reference.parts[1], reference.parts[2:]
    spec = params.get(name)
    if spec is None:
        raise _unknown(reference, path, params, name)
    keys = spec.properties or (spec.default if isinstance(spec.default, Mapping) else ())
    if len(rest) > 1 or (rest and spec.kind != "object") or (rest and keys and rest[0] not in keys):
        raise _unknown(reference, path, (), "")


def _task_reference(
    reference: Reference, path: str, container: Container, task: PipelineTask, run: PipelineRun
) -> None:
    parts = reference.parts
    match parts[0]:
        case "params":
            known = {param.name: param for param in (*run.params, *task.spec.params)}
            for name, value in task.params:  # extra ones are accepted, as on a cluster
                known.setdefault(name, ParamSpec(name, kind_of(value), task.path))
            _param_reference(reference, path, known)
        case "results":
            names = {result.name for result in task.spec.results}
            if len(parts) != 3 or parts[2] != "path" or parts[1] not in names:
                raise _unknown(reference, path, names, parts[1])
        case "workspaces":
            _workspace_reference(reference, path, container, task)
        case "context":
            if parts not in TASK_CONTEXT:
                raise _unknown(reference, path, (), "")
        case "steps":
            names = {f"step-{step.name}" for step in task.spec.steps}
            if len(parts) != 4 or parts[1] not in names or parts[2:] != ("exitCode", "path"):
                raise _unknown(reference, path, names, parts[1])
        case _:
            raise ConfigError(
                f"{path}: {reference.text} cannot be used inside a taskSpec",
                hint="Hand it in as a parameter of the task",
            )


def _workspace_reference(
    reference: Reference, path: str, container: Container, task: PipelineTask
) -> None:
    parts = reference.parts
    declared = {each.name for each in task.spec.workspaces}
    if len(parts) != 3 or parts[1] not in declared or parts[2] not in {"path", "bound"}:
        raise _unknown(reference, path, declared, parts[1])
    visible = {spec.name for spec, _ in task.spec.visible(container)}
    if parts[2] == "path" and parts[1] not in visible:
        raise ConfigError(
            f"{path}: {reference.text}: this container does not list workspace {parts[1]!r}",
            hint="It is isolated: only steps and sidecars that list it see it",
        )
