"""What must hold before the first step runs: references, parameters, workspaces, order.

What Tekton's webhook refuses is refused, and what would fail on a cluster at run time (a result that
nobody declares, a workspace or parameter that is not given) too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mlops.tekton import defaults, graph, matrix
from mlops.tekton.document import (
    Claim,
    ConfigFiles,
    Container,
    KeyRef,
    Param,
    ParamSpec,
    PipelineRun,
    PipelineTask,
    Projected,
    ResultSpec,
    Source,
    TaskSpec,
    Value,
    kind_of,
)
from mlops.tekton.meaning import Meaning, No, PipelineMeaning, TaskMeaning, check
from mlops.tekton.place import Fault, Place, refuse
from mlops.tekton.references import (
    Text,
    of_container,
    of_pipeline_task,
    of_value,
    of_volume,
)
from mlops.tekton.substitution import references, unknown_roots


def validate(run: PipelineRun) -> None:
    """Check the whole run. Raises ConfigError with the place of everything that is wrong."""
    refuse(_faults(run))


def _faults(run: PipelineRun) -> Iterator[Fault]:
    outer = PipelineMeaning(run)
    yield from _names(run)
    yield from graph.faults(run)
    yield from _given(run)
    for task in run.all_tasks:
        yield from _pipeline_task(task, run, outer)
        yield from _task_spec(task, TaskMeaning(task, outer), run)
    for result in run.results:
        texts = list(of_value(result.value, result.at / "value"))
        if not any(True for text in texts for _ in references(text.text)):
            yield Fault(result.at / "value", "must be made of results of tasks")
        for text in texts:
            yield from check(text, outer.in_result)


def _names(run: PipelineRun) -> Iterator[Fault]:
    seen: set[str] = set()
    for task in run.all_tasks:
        if task.name in seen:
            yield Fault(task.at / "name", f"{task.name!r} is there twice")
        seen.add(task.name)


def _given(run: PipelineRun) -> Iterator[Fault]:
    for spec in run.params:
        if spec.name in run.given:
            yield from type_faults(spec, run.given[spec.name], run.at / "params")
        elif spec.default is None:
            yield Fault(run.at / "params", f"nothing is given for the parameter {spec.name!r}")
    yield from _declared(run.params)
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
        yield from _source(bound.source, bound.at, run)


def _declared(specs: Iterable[ParamSpec]) -> Iterator[Fault]:
    for spec in specs:
        if spec.kind == "object" and spec.properties is None:
            yield Fault(spec.at / "properties", "is missing: an object's keys are declared")


def type_faults(spec: ParamSpec, value: Value, at: Place) -> Iterator[Fault]:
    """A value that is not of the declared type, or lacks declared keys."""
    if kind_of(value) != spec.kind:
        yield Fault(at, f"{spec.name!r} must be of type {spec.kind}, not {kind_of(value)}")
    elif isinstance(value, Mapping):
        default = spec.default if isinstance(spec.default, Mapping) else {}
        missing = [key for key in spec.properties or () if key not in value and key not in default]
        if missing:
            yield Fault(at, f"{spec.name!r} lacks {', '.join(missing)}")


def _source(source: Source, at: Place, run: PipelineRun) -> Iterator[Fault]:
    sources = source.sources if isinstance(source, Projected) else (source,)
    for each in sources:
        if isinstance(each, ConfigFiles):
            yield from _config(each.kind, each.name, each.at, run, optional=each.optional)
            for index, (key, _, _) in enumerate(each.items or ()):
                ref = KeyRef(each.kind, each.name, key, each.optional)
                yield from _key(ref, each.at / "items" / index, run)
    if isinstance(source, Claim) and "/" in source.name:
        yield Fault(at, f"{source.name!r} cannot be the name of a claim")


def _config(
    kind: str, name: str, at: Place, run: PipelineRun, *, optional: bool
) -> Iterator[Fault]:
    if optional or "$(" in name or (kind, name) in run.configs:
        return
    known = [known for of_kind, known in run.configs if of_kind == kind]
    hint = graph.near(name, known) or f"Name the file that holds it too: -f {kind.lower()}.yaml"
    yield Fault(at, f"there is no {kind} {name!r} in the files", hint)


def _key(ref: KeyRef, at: Place, run: PipelineRun) -> Iterator[Fault]:
    data = run.configs.get((ref.kind, ref.name))
    if data is None or ref.optional or "$(" in ref.key or ref.key in data:
        return
    yield Fault(
        at, f"the {ref.kind} {ref.name!r} has no key {ref.key!r}", graph.near(ref.key, data)
    )


# -- pipeline tasks


def _pipeline_task(task: PipelineTask, run: PipelineRun, outer: PipelineMeaning) -> Iterator[Fault]:
    meaning = outer.of(task)
    for text in of_pipeline_task(task):
        yield from check(text, meaning)
        for reference in unknown_roots(text.text):
            yield Fault(text.at, f"{reference} refers to nothing that a pipeline knows")
    yield from _matrix(task, meaning)
    yield from _task_params(task, run, meaning)
    yield from _task_workspaces(task, run)


def _matrix(task: PipelineTask, meaning: Meaning) -> Iterator[Fault]:
    if task.matrix is None:
        return
    given = {param.name for param in task.params}
    for param in task.matrix.all_params:
        if param.name in given:
            yield Fault(param.at / "name", f"{param.name!r} stands in params too")
    for param in task.matrix.params:
        kind = _kind(param.value, param.at / "value", meaning)
        if kind not in {"array", ""}:
            yield Fault(param.at / "value", f"must be an array, not of type {kind}")
    for include in task.matrix.include:
        for param in include.params:
            if _kind(param.value, param.at / "value", meaning) not in {"string", ""}:
                yield Fault(param.at / "value", "must be a string")
    number = matrix.count(
        [(p.name, p.value) for p in task.matrix.params if isinstance(p.value, tuple)],
        [{p.name: str(p.value) for p in each.params} for each in task.matrix.include],
    )
    if number > matrix.MOST:
        yield Fault(task.matrix.at, f"makes {number} combinations, and {matrix.MOST} are allowed")


def _kind(value: Value, at: Place, meaning: Meaning) -> str:
    """The type of a value that may be a reference; empty where that has been complained about."""
    if not isinstance(value, str):
        return kind_of(value)
    for reference in references(value):
        if reference.text == value:
            found = meaning(reference, Text(value, at))
            return "" if isinstance(found, No) else found
    return "string"


def _task_params(task: PipelineTask, run: PipelineRun, meaning: Meaning) -> Iterator[Fault]:
    given: dict[str, Param] = {param.name: param for param in task.params}
    fanned = {param.name for param in task.matrix.all_params} if task.matrix else set()
    inherited = {spec.name for spec in run.params} | set(run.given) if task.embedded else set()
    yield from _declared(task.spec.params)
    for spec in task.spec.params:
        if spec.name in fanned:
            if spec.kind != "string":
                yield Fault(task.at / "matrix", f"{spec.name!r} must be of type string in the task")
        elif spec.name not in given:
            if spec.default is None and spec.name not in inherited:
                yield Fault(task.at / "params", f"nothing is given for the parameter {spec.name!r}")
        else:
            yield from _handed(spec, given[spec.name], None if task.literal else meaning)


def _handed(spec: ParamSpec, param: Param, meaning: Meaning | None) -> Iterator[Fault]:
    """What is wrong with a value; it is none of a text's references without a `meaning`."""
    kind = kind_of(param.value)
    if meaning is not None:
        kind = _kind(param.value, param.at / "value", meaning)
    if kind and kind != spec.kind:
        yield Fault(param.at / "value", f"{spec.name!r} must be of type {spec.kind}, not {kind}")
    elif isinstance(param.value, Mapping):
        yield from type_faults(spec, param.value, param.at / "value")


def _task_workspaces(task: PipelineTask, run: PipelineRun) -> Iterator[Fault]:
    declared = {each.name for each in task.spec.workspaces}
    pipeline = {each.name for each in run.workspaces}
    for binding in task.workspaces:
        if binding.name not in declared:
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


# -- specs of tasks


def _task_spec(task: PipelineTask, inner: TaskMeaning, run: PipelineRun) -> Iterator[Fault]:
    spec = task.spec
    yield from _mount_paths(spec)
    for volume in spec.volumes:
        yield from _source(volume.source, volume.at, run)
        for text in of_volume(volume):
            yield from check(text, inner.in_volume)
    for result in spec.results:
        yield from _result_value(result, inner)
    for container in spec.containers:
        yield from _container(container, task, inner, run)


def _mount_paths(spec: TaskSpec) -> Iterator[Fault]:
    seen = {mount.mount_path for step in spec.steps for mount in step.mounts}
    for workspace in spec.workspaces:
        if workspace.mount_path in seen:
            yield Fault(
                workspace.at / "mountPath",
                f"something else is mounted at {workspace.mount_path} already",
            )
        seen.add(workspace.mount_path)


def _result_value(result: ResultSpec, inner: TaskMeaning) -> Iterator[Fault]:
    if not result.value:
        return
    at = result.at / "value"
    found = list(references(result.value))
    if not found or found[0].parts[0] != "steps" or found[0].parts[2:3] != ("results",):
        yield Fault(at, "must look like $(steps.STEP.results.RESULT)")
        return
    name = found[0].parts[1]
    step = inner.steps.get(name)
    if step is None:
        yield Fault(at, f"there is no step {name!r}", graph.near(name, inner.steps))
        return
    known = {each.name: each for each in step.results}
    wanted = found[0].parts[3] if len(found[0].parts) > 3 else ""
    if wanted not in known:
        yield Fault(at, f"step {name} declares no result {wanted!r}", graph.near(wanted, known))
    elif known[wanted].kind != result.kind:
        yield Fault(at, f"is of type {known[wanted].kind}, and the result of type {result.kind}")


def _container(
    container: Container, task: PipelineTask, inner: TaskMeaning, run: PipelineRun
) -> Iterator[Fault]:
    spec = task.spec
    declared = {each.name for each in spec.workspaces}
    for name, _ in container.workspaces:
        if name not in declared:
            yield Fault(container.at / "workspaces", f"the task has no workspace {name!r}")
    volumes = {volume.name for volume in spec.volumes}
    for mount in container.mounts:
        if "$(" not in mount.volume and mount.volume not in volumes:
            where = mount.at / "name"
            hint = graph.near(mount.volume, volumes)
            yield Fault(where, f"there is no volume {mount.volume!r}", hint)
    for env in container.env:
        if env.source is not None:
            ref = env.source
            yield from _config(ref.kind, ref.name, env.at, run, optional=ref.optional)
            yield from _key(ref, env.at / "valueFrom", run)
    for each in container.env_from:
        yield from _config(each.kind, each.name, each.at, run, optional=each.optional)
    meaning = inner.in_container(container)
    for text in of_container(container):
        yield from check(text, meaning)
        if "\0" in text.text:
            yield Fault(text.at, "holds a NUL character, which no program can be handed")
    yield from _action(container, inner)


def _action(container: Container, inner: TaskMeaning) -> Iterator[Fault]:
    if container.action is None:
        return
    given = {param.name: param for param in container.action.given}
    yield from _declared(container.action.params)
    outside = Container(container.name, container.at, "")
    meaning = inner.in_container(outside)
    for spec in container.action.params:
        if spec.name not in given:
            if spec.default is None:
                yield Fault(
                    container.action.at / "params",
                    f"nothing is given for the parameter {spec.name!r}"
                    f" of StepAction {container.action.name}",
                )
            continue
        yield from _handed(spec, given[spec.name], meaning)
    for param in container.action.given:
        for text in of_value(param.value, param.at / "value"):
            yield from check(Text(text.text, text.at, text.room, "params"), meaning)
    for mount in container.mounts:
        named = [each for each in references(mount.volume) if each.parts[0] == "params"]
        if [each.text for each in named] == [mount.volume]:
            continue
        yield Fault(mount.at / "name", "a StepAction names a volume by one of its parameters")
