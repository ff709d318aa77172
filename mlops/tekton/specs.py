"""What must hold inside a task's spec: volumes, results, steps, sidecars, StepActions."""

from __future__ import annotations

from collections.abc import Iterator

from mlops.tekton import fitting, graph
from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.meaning import check
from mlops.tekton.place import Fault, Place
from mlops.tekton.pod import Claim, ConfigFiles, Container, KeyRef, Projected, Source, TaskSpec
from mlops.tekton.references import (
    Text,
    of_container,
    of_value,
    of_volume,
)
from mlops.tekton.substitution import references
from mlops.tekton.taskmeaning import TaskMeaning
from mlops.tekton.values import ResultSpec


def _config(
    kind: str, name: str, at: Place, run: PipelineRun, *, optional: bool
) -> Iterator[Fault]:
    if optional or "$(" in name or (kind, name) in run.configs:
        return
    known = [known for of_kind, known in run.configs if of_kind == kind]
    hint = graph.near(name, known) or f"Name the file that holds it too: -f {kind.lower()}.yaml"
    yield Fault(at, f"there is no {kind} {name!r} in the files", hint)


def _key(ref: KeyRef, at: Place, run: PipelineRun, *, files: bool) -> Iterator[Fault]:
    held = run.configs.get((ref.kind, ref.name))
    if held is None or ref.optional or "$(" in ref.key:
        return
    data = held.files if files else held.data
    if ref.key in data:
        return
    yield Fault(
        at, f"the {ref.kind} {ref.name!r} has no key {ref.key!r}", graph.near(ref.key, data)
    )


def source(source: Source, at: Place, run: PipelineRun) -> Iterator[Fault]:
    sources = source.sources if isinstance(source, Projected) else (source,)
    for each in sources:
        if isinstance(each, ConfigFiles):
            yield from _config(each.kind, each.name, each.at, run, optional=each.optional)
            for index, (key, _, _) in enumerate(each.items or ()):
                ref = KeyRef(each.kind, each.name, key, each.optional)
                yield from _key(ref, each.at / "items" / index, run, files=True)
    if isinstance(source, Claim) and "/" in source.name:
        yield Fault(at, f"{source.name!r} cannot be the name of a claim")


def task_spec(task: PipelineTask, inner: TaskMeaning, run: PipelineRun) -> Iterator[Fault]:
    spec = task.spec
    yield from _mount_paths(spec)
    for volume in spec.volumes:
        yield from source(volume.source, volume.at, run)
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
            yield from _key(ref, env.at / "valueFrom", run, files=False)
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
    yield from fitting.declared(container.action.params)
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
        yield from fitting.handed(spec, given[spec.name], meaning)
    for param in container.action.given:
        for text in of_value(param.value, param.at / "value"):
            yield from check(Text(text.text, text.at, text.room, "params"), meaning)
    for mount in container.mounts:
        named = [each for each in references(mount.volume) if each.parts[0] == "params"]
        if [each.text for each in named] == [mount.volume]:
            continue
        yield Fault(mount.at / "name", "a StepAction names a volume by one of its parameters")
