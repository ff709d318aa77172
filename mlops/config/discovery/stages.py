"""What the stages of a `dvc.yaml` write, in the work tree as it stands.

Only names matter here, so templates are filled in as far as `foreach`, `matrix`, `vars` and
params.yaml go; a text that stays unresolved is left out. DVC itself decides what runs.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.domain import yaml12
from mlops.domain.discovery import Files, Output
from mlops.errors import ConfigError

_SUBSTITUTION = re.compile(r"\$\{\s*([^}\s]+)\s*\}")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A `dvc.yaml`: where it stands, what its stages write, and the files that they depend on."""

    path: str
    outputs: tuple[Output, ...]
    deps: tuple[str, ...]
    stages: tuple[str, ...]
    declared: tuple[tuple[str, str], ...] = ()  # `artifacts:` of type model: name → path

    @property
    def directory(self) -> str:
        return posixpath.dirname(self.path)


def pipelines(files: Files) -> tuple[Pipeline, ...]:
    """Every `dvc.yaml` that has stages, by path; one that is no YAML is left out."""
    found = (_pipeline(files, p) for p in sorted(files) if posixpath.basename(p) == "dvc.yaml")
    return tuple(pipeline for pipeline in found if pipeline.stages)


def _pipeline(files: Files, path: str) -> Pipeline:
    document = _load(files, path)
    directory = posixpath.dirname(path)
    context = _context(files, directory, document.get("vars"))
    outputs: list[Output] = []
    deps: list[str] = []
    names: list[str] = []
    stages = document.get("stages")
    for name, body in stages.items() if isinstance(stages, Mapping) else ():
        for stage, filled in _expand(str(name), body, context):
            address = f"{path}:{stage}" if directory else stage
            where = posixpath.normpath(posixpath.join(directory, str(filled.get("wdir", "."))))
            names.append(address)
            outputs.extend(_outputs(filled, where, address))
            deps.extend(p for p, _ in _paths(filled.get("deps"), where))
    # the top-level list of metrics: files that need be no stage's output
    outputs.extend(Output(p, "", True) for p, _ in _paths(document.get("metrics"), directory))
    declared = tuple(_declared(document.get("artifacts"), directory))
    return Pipeline(path, tuple(outputs), tuple(dict.fromkeys(deps)), tuple(names), declared)


def _declared(entries: Any, directory: str) -> Iterator[tuple[str, str]]:
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        if isinstance(entry, Mapping) and entry.get("type", "model") == "model":
            yield from ((str(name), path) for path, _ in _paths([entry.get("path")], directory))


def _load(files: Files, path: str) -> Mapping[str, Any]:
    try:
        document = yaml12.load(files.get(path, "").encode(), path)
    except ConfigError:
        return {}
    return document if isinstance(document, Mapping) else {}


def _context(files: Files, directory: str, declared: Any) -> dict[str, Any]:
    """What `${…}` may name: params.yaml beside dvc.yaml, then `vars`."""
    context = dict(_load(files, posixpath.join(directory, "params.yaml")))
    for entry in declared if isinstance(declared, list) else ():
        if isinstance(entry, Mapping):
            context.update(entry)
        elif isinstance(entry, str):
            context.update(_load(files, posixpath.join(directory, entry.partition(":")[0])))
    return context


def _expand(
    name: str, body: Any, context: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(body, Mapping):
        return
    if "matrix" in body:
        for key, item in _combinations(body["matrix"], context):
            yield f"{name}@{key}", _fill(body, {**context, "item": item, "key": key})
    elif "foreach" in body:
        stage = body.get("do")
        for key, item in _items(body["foreach"], context):
            filled = _fill(stage, {**context, "item": item, "key": key})
            yield f"{name}@{key}", filled if isinstance(filled, Mapping) else {}
    else:
        yield name, _fill(body, context)


def _items(value: Any, context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    value = _fill(value, context)
    if isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, list):
        for number, item in enumerate(value):
            # dvc names a stage by the item itself where that is a scalar, else by its place
            yield (str(number) if isinstance(item, list | Mapping) else _text(item)), item


def _combinations(value: Any, context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    axes = _fill(value, context)
    if not isinstance(axes, Mapping) or not all(isinstance(v, list) for v in axes.values()):
        return
    for combination in itertools.product(*(list(enumerate(v)) for v in axes.values())):
        parts = [
            f"{axis}{place}" if isinstance(item, list | Mapping) else _text(item)
            for axis, (place, item) in zip(axes, combination, strict=True)
        ]
        yield "-".join(parts), dict(zip(axes, (i for _, i in combination), strict=True))


def _fill(value: Any, context: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        whole = _SUBSTITUTION.fullmatch(value)
        if whole:
            found = _lookup(context, whole.group(1))
            return value if found is None else found
        return _SUBSTITUTION.sub(lambda m: _inline(context, m), value)
    if isinstance(value, Mapping):
        return {_fill(k, context): _fill(v, context) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill(item, context) for item in value]
    return value


def _inline(context: Mapping[str, Any], match: re.Match[str]) -> str:
    found = _lookup(context, match.group(1))
    return match.group(0) if found is None or isinstance(found, list | Mapping) else _text(found)


def _lookup(context: Any, key: str) -> Any:
    for part in re.split(r"[.\[\]]+", key.rstrip("]")):
        if isinstance(context, Mapping):
            context = context.get(part)
        elif isinstance(context, list) and part.isdigit() and int(part) < len(context):
            context = context[int(part)]
        else:
            return None
    return context


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _outputs(stage: Mapping[str, Any], where: str, address: str) -> Iterator[Output]:
    for key in ("outs", "metrics"):
        for path, _ in _paths(stage.get(key), where):
            yield Output(path, address, key == "metrics")


def _paths(entries: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Paths of a list of `path` and `{path: options}`; what is unresolved or outside is left out."""
    for entry in entries if isinstance(entries, list) else ():
        pairs = entry.items() if isinstance(entry, Mapping) else ((entry, None),)
        for path, options in pairs:
            text = posixpath.normpath(posixpath.join(where, str(path)))
            if isinstance(path, str) and "${" not in text and not text.startswith(("/", "..")):
                yield text, options
