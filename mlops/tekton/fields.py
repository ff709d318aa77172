"""Which fields of a Tekton v1 PipelineRun the local executor honours.

One table, path → (support, kind of value). A path that the table lacks is refused by name before
the first step runs, so nothing is ignored in silence. `[]` stands for any item of a list, `*` for
any key, `**` for whatever lies below.

Tekton: https://tekton.dev/docs/pipelines/pipeline-api/#tekton.dev/v1.PipelineRun
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from mlops.errors import ConfigError


class Support(StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"
    WITHOUT_EFFECT = "without effect on one machine"
    REFUSED = "refused"


class Kind(Enum):
    """What a leaf may hold; the values complete `must be …` in messages."""

    TEXT = "a string"
    NUMBER = "a whole number, not negative"
    FLAG = "true or false"
    VALUE = "a string, a list of strings or a map of strings"
    ANY = "anything"


@dataclass(frozen=True, slots=True)
class Field:
    support: Support
    kind: Kind


_TEXT = Field(Support.HONOURED, Kind.TEXT)
_NUMBER = Field(Support.HONOURED, Kind.NUMBER)
_FLAG = Field(Support.HONOURED, Kind.FLAG)
_VALUE = Field(Support.HONOURED, Kind.VALUE)
_ANY = Field(Support.HONOURED, Kind.ANY)
_MOOT = Field(Support.WITHOUT_EFFECT, Kind.ANY)
_NO = Field(Support.REFUSED, Kind.ANY)


def _below(prefix: str, table: Mapping[str, Field]) -> dict[str, Field]:
    return {f"{prefix}.{path}": entry for path, entry in table.items()}


_PARAM_SPEC = {
    "name": _TEXT,
    "type": _TEXT,
    "description": _TEXT,
    "default": _VALUE,
    "properties.*.type": _TEXT,
    "enum": _NO,
}
_CONTAINER = {  # what steps, sidecars and stepTemplate share
    "image": _TEXT,
    "command[]": _TEXT,
    "args[]": _TEXT,
    "env[].name": _TEXT,
    "env[].value": _TEXT,
    "env[].valueFrom": _NO,
    "envFrom": _NO,
    "workingDir": _TEXT,
    "volumeMounts[].name": _TEXT,
    "volumeMounts[].mountPath": _TEXT,
    "computeResources.limits.memory": _TEXT,
    "computeResources.limits.cpu": _MOOT,
    "computeResources.requests.**": _MOOT,
    "imagePullPolicy": _MOOT,
    "securityContext.**": _MOOT,
}
_NAMED_CONTAINER = {
    **_CONTAINER,
    "name": _TEXT,
    "script": _TEXT,
    "workspaces[].name": _TEXT,
    "workspaces[].mountPath": _TEXT,
}
_STEP = {
    **_NAMED_CONTAINER,
    "onError": _TEXT,
    "ref": _NO,
    "timeout": _NO,
    "results": _NO,
    "when": _NO,
}
_SIDECAR = {**_NAMED_CONTAINER, "readinessProbe": _NO, "ports": _NO}
_TASK_SPEC = {
    "description": _TEXT,
    "displayName": _TEXT,
    "metadata.labels.*": _TEXT,
    "metadata.annotations.*": _TEXT,
    **_below("params[]", _PARAM_SPEC),
    "results[].name": _TEXT,
    "results[].type": _TEXT,
    "results[].description": _TEXT,
    "results[].properties.*.type": _TEXT,
    "workspaces[].name": _TEXT,
    "workspaces[].description": _TEXT,
    "workspaces[].mountPath": _TEXT,
    "workspaces[].optional": _FLAG,
    "workspaces[].readOnly": _NO,
    "volumes[].name": _TEXT,
    "volumes[].emptyDir": _ANY,
    "volumes[].emptyDir.medium": _MOOT,
    "volumes[].emptyDir.sizeLimit": _MOOT,
    **_below("stepTemplate", _CONTAINER),
    **_below("steps[]", _STEP),
    **_below("sidecars[]", _SIDECAR),
}
_FINAL_TASK = {
    "name": _TEXT,
    "displayName": _TEXT,
    "description": _TEXT,
    "params[].name": _TEXT,
    "params[].value": _VALUE,
    "when[].input": _TEXT,
    "when[].operator": _TEXT,
    "when[].values[]": _TEXT,
    "when[].cel": _NO,
    "workspaces[].name": _TEXT,
    "workspaces[].workspace": _TEXT,
    "workspaces[].subPath": _TEXT,
    "retries": _NUMBER,
    "timeout": _TEXT,
    "matrix": _NO,
    "onError": _NO,
    "taskRef": _NO,
    "pipelineRef": _NO,
    "pipelineSpec": _NO,
    **_below("taskSpec", _TASK_SPEC),
}
FIELDS: Mapping[str, Field] = {
    "apiVersion": _TEXT,
    "kind": _TEXT,
    "metadata.name": _TEXT,
    "metadata.generateName": _NO,
    "metadata.namespace": _TEXT,
    "metadata.labels.*": _TEXT,
    "metadata.annotations.*": _TEXT,
    "spec.params[].name": _TEXT,
    "spec.params[].value": _VALUE,
    "spec.workspaces[].name": _TEXT,
    "spec.workspaces[].emptyDir": _ANY,
    "spec.workspaces[].emptyDir.medium": _MOOT,
    "spec.workspaces[].emptyDir.sizeLimit": _MOOT,
    "spec.workspaces[].volumeClaimTemplate.**": _ANY,
    "spec.timeouts.pipeline": _TEXT,
    "spec.timeouts.tasks": _TEXT,
    "spec.timeouts.finally": _TEXT,
    "spec.taskRunTemplate.serviceAccountName": _MOOT,
    "spec.taskRunTemplate.podTemplate.**": _MOOT,
    "spec.taskRunSpecs[].pipelineTaskName": _TEXT,
    "spec.taskRunSpecs[].serviceAccountName": _MOOT,
    "spec.taskRunSpecs[].podTemplate.**": _MOOT,
    "spec.pipelineRef": _NO,
    "spec.status": _NO,
    "spec.pipelineSpec.description": _TEXT,
    "spec.pipelineSpec.displayName": _TEXT,
    **_below("spec.pipelineSpec.params[]", _PARAM_SPEC),
    "spec.pipelineSpec.workspaces[].name": _TEXT,
    "spec.pipelineSpec.workspaces[].description": _TEXT,
    "spec.pipelineSpec.workspaces[].optional": _FLAG,
    "spec.pipelineSpec.results[].name": _TEXT,
    "spec.pipelineSpec.results[].type": _TEXT,
    "spec.pipelineSpec.results[].description": _TEXT,
    "spec.pipelineSpec.results[].value": _VALUE,
    **_below("spec.pipelineSpec.tasks[]", _FINAL_TASK),
    "spec.pipelineSpec.tasks[].runAfter[]": _TEXT,
    **_below("spec.pipelineSpec.finally[]", _FINAL_TASK),
}


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    entry: Field | None = None

    def at(self, key: str) -> _Node | None:
        return self.children.get(key) or self.children.get("*")


def _tree(table: Mapping[str, Field]) -> _Node:
    root = _Node()
    for path, entry in table.items():
        node = root
        for part in path.replace("[]", ".[]").split("."):
            if part == "**":
                break
            node = node.children.setdefault(part, _Node())
        node.entry = entry
    return root


_ROOT = _tree(FIELDS)


def check(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Hold the document against the table.

    Gives one note for each field that stays without effect. Raises ConfigError, with the field's
    full path, where a field is not supported or holds the wrong kind of value.
    """
    return tuple(dict.fromkeys(_walk(document, _ROOT, "")))


def _walk(value: Any, node: _Node, path: str) -> Iterator[str]:
    if value is None:  # as in Kubernetes: the same as absent
        return
    entry = node.entry
    if entry is not None:
        if entry.support is Support.REFUSED:
            raise _unsupported(path)
        if entry.support is Support.WITHOUT_EFFECT:
            yield f"{path}: {Support.WITHOUT_EFFECT}"
            return
        if not node.children or entry.kind is not Kind.ANY:
            _check_kind(value, entry.kind, path)
            return
    if "[]" in node.children:
        yield from _walk_items(value, node.children["[]"], path)
    else:
        yield from _walk_keys(value, node, path)


def _walk_items(value: Any, node: _Node, path: str) -> Iterator[str]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path}: must be a list")
    for index, item in enumerate(value):
        if item is None:
            raise ConfigError(f"{path}[{index}]: is empty")
        yield from _walk(item, node, f"{path}[{index}]")


def _walk_keys(value: Any, node: _Node, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path or 'the document'}: must be a map")
    for key, item in value.items():
        here = f"{path}.{key}" if path else str(key)
        child = node.at(str(key))
        if child is None:
            raise _unsupported(here)
        yield from _walk(item, child, here)


def _unsupported(path: str) -> ConfigError:
    return ConfigError(f"{path}: not supported by the local executor yet")


def _check_kind(value: Any, kind: Kind, path: str) -> None:
    fits = {
        Kind.TEXT: isinstance(value, str),
        Kind.NUMBER: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        Kind.FLAG: isinstance(value, bool),
        Kind.VALUE: _is_value(value),
        Kind.ANY: True,
    }
    if not fits[kind]:
        raise ConfigError(f"{path}: must be {kind.value}, not {value!r:.60}")


def _is_value(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(part, str) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, str | int | float)
