"""One name for a field wherever it may stand: `Step.image`, be the step in a Task, a TaskRun or below a pipeline's task.

The parts of a document are of few types, and the types' names and nesting are Tekton's. A case that shows a step's
field shows it for all places, for one piece of code reads them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlops.tekton import fields

_NESTED = {
    "PipelineRun": {"spec.pipelineSpec": "PipelineSpec"},
    "TaskRun": {"spec.taskSpec": "TaskSpec"},
    "Pipeline": {"spec": "PipelineSpec"},
    "Task": {"spec": "TaskSpec"},
    "StepAction": {"spec": "StepActionSpec"},
    "PipelineSpec": {"tasks[]": "PipelineTask", "finally[]": "PipelineTask"},
    "PipelineTask": {"taskSpec": "TaskSpec"},
    "TaskSpec": {"steps[]": "Step", "sidecars[]": "Sidecar", "stepTemplate": "StepTemplate"},
}


def canonical(kind: str, path: str) -> str:
    """`PipelineRun`, `spec.pipelineSpec.tasks[].name` → `PipelineTask.name`."""
    for prefix, inner in _NESTED.get(kind, {}).items():
        if path.startswith(f"{prefix}."):
            return canonical(inner, path.removeprefix(f"{prefix}."))
    return f"{kind}.{path}"


def honoured() -> frozenset[str]:
    """The honoured table, by canonical names."""
    return frozenset(
        canonical("PipelineRun", path)
        for path, entry in fields.FIELDS.items()
        if entry.support is fields.Support.HONOURED
    )


def used(document: Mapping[str, Any]) -> frozenset[str]:
    """The canonical name of everything that stands in a document, as the honoured table writes it."""
    kind = str(document.get("kind"))
    found = {canonical(kind, path) for path in _paths(document, "")}
    patterns = {name: re.compile(_pattern(name)) for name in honoured() if "*" in name}
    general = {n for n, p in patterns.items() if any(p.fullmatch(each) for each in found)}
    return frozenset(found | general)


def _pattern(name: str) -> str:
    return re.escape(name).replace(r"\*\*", ".+").replace(r"\*", r"[^.\[]+")


def _paths(value: Any, path: str) -> Iterator[str]:
    if path:
        yield path
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _paths(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, f"{path}[]")
