"""Where references may stand: every text of a container and of a pipeline task, with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from mlops.tekton.document import PipelineTask
from mlops.tekton.place import Place
from mlops.tekton.pod import ConfigFiles, Container, Projected, TaskSpec, Volume
from mlops.tekton.substitution import Parts, Reference, references
from mlops.tekton.values import Value


class Room(Enum):
    """What a place has room for: one string, or (in a list) an array as a whole, or any value."""

    STRING = "string"
    ITEM = "item"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Text:
    """A text that may hold references. `field` is the name of its field."""

    text: str
    at: Place
    room: Room = Room.STRING
    field: str = ""


def of_value(value: Value, at: Place) -> Iterator[Text]:
    """The texts of a parameter's value."""
    if isinstance(value, str):
        yield Text(value, at, Room.VALUE)
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield Text(each, at / index, Room.ITEM)
    else:
        for key, each in value.items():
            yield Text(each, at / key)


def of_container(container: Container) -> Iterator[Text]:
    """Every text of a container that is replaced before it starts."""
    at = container.at
    for field, text in (
        ("image", container.image),
        ("script", container.script),
        ("workingDir", container.working_dir),
        ("onError", container.on_error),
    ):
        yield Text(text, at / field, Room.STRING, field)
    for field, texts in (("command", container.command), ("args", container.args)):
        for index, text in enumerate(texts):
            yield Text(text, at / field / index, Room.ITEM, field)
    for env in container.env:
        yield Text(env.value, env.at / "value", Room.STRING, "env")
        if env.source is not None:
            yield Text(env.source.name, env.at / "valueFrom", Room.STRING, "env")
            yield Text(env.source.key, env.at / "valueFrom", Room.STRING, "env")
    for source in container.env_from:
        yield Text(source.name, source.at, Room.STRING, "envFrom")
        yield Text(source.prefix, source.at / "prefix", Room.STRING, "envFrom")
    for mount in container.mounts:
        yield Text(mount.volume, mount.at / "name", Room.STRING, "volumeMounts")
        yield Text(mount.mount_path, mount.at / "mountPath", Room.STRING, "volumeMounts")
        yield Text(mount.sub_path, mount.at / "subPath", Room.STRING, "volumeMounts")
    for when in container.when:
        yield Text(when.input, when.at / "input", Room.STRING, "when")
        for index, text in enumerate(when.values):
            yield Text(text, when.at / "values" / index, Room.ITEM, "when")


def of_volume(volume: Volume) -> Iterator[Text]:
    """The texts of a volume that are replaced."""
    for files in _files(volume):
        yield Text(files.name, files.at, Room.STRING, "volumes")
        for key, path, _ in files.items or ():
            yield Text(key, files.at / "items", Room.STRING, "volumes")
            yield Text(path, files.at / "items", Room.STRING, "volumes")


def _files(volume: Volume) -> tuple[ConfigFiles, ...]:
    if isinstance(volume.source, ConfigFiles):
        return (volume.source,)
    return volume.source.sources if isinstance(volume.source, Projected) else ()


def of_pipeline_task(task: PipelineTask) -> Iterator[Text]:
    """Every text of a pipeline task outside its spec."""
    for param in () if task.literal else task.params:
        yield from of_value(param.value, param.at / "value")
    if task.matrix is not None:
        for param in task.matrix.all_params:
            yield from of_value(param.value, param.at / "value")
    for when in task.when:
        yield Text(when.input, when.at / "input")
        for index, text in enumerate(when.values):
            yield Text(text, when.at / "values" / index, Room.ITEM)
    for binding in task.workspaces:
        yield Text(binding.sub_path, binding.at / "subPath")
    yield Text(task.on_error, task.at / "onError")


def results_used(task: PipelineTask) -> Iterator[tuple[Reference, Place]]:
    """References to other tasks' results: from the task itself, and from a spec that stands in it."""
    for text in of_pipeline_task(task):
        for reference in references(text.text):
            if reference.task:
                yield reference, text.at
    if task.embedded:
        for container in task.spec.containers:
            for text in of_container(container):
                for reference in references(text.text):
                    if reference.task:
                        yield reference, text.at


def workspaces_used(spec: TaskSpec) -> frozenset[str]:
    """The workspaces that a spec's containers refer to."""
    found: set[str] = set()
    for container in spec.containers:
        for text in of_container(container):
            found |= {
                reference.parts[1]
                for reference in references(text.text)
                if reference.parts[0] == "workspaces"
            }
    return frozenset(found)


def is_status(parts: Parts) -> bool:
    """`$(tasks.status)`, `$(tasks.NAME.status)` or `$(tasks.NAME.reason)`."""
    return parts == ("tasks", "status") or (
        len(parts) == 3 and parts[0] == "tasks" and parts[2] in {"status", "reason"}
    )


def is_length(parts: Parts) -> bool:
    """`$(tasks.NAME.matrix.length)` or `$(tasks.NAME.matrix.RESULT.length)`."""
    return (
        len(parts) in {4, 5}
        and parts[0] in {"tasks", "finally"}
        and parts[2] == "matrix"
        and parts[-1] == "length"
    )
