"""The files that `mlops init` writes: mlops.yaml, the environments and the CI workflow, as text.

The environments are those of the reference project (`spam-filter`, with the model `spam`), with the
project's own names in place of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlops import __version__
from mlops.documents import dump
from mlops.domain.discovery import FoundModel

PROJECT = "spam-filter"
MODEL = "spam"
_NAMES = re.compile(rf"\b(?:{PROJECT}|{MODEL})\b")


def environments(
    templates: Mapping[str, str], project: str, models: Sequence[str], path: str
) -> dict[str, str]:
    """The files below `path`, from those of the reference project: path → text.

    A file that is named after the reference model is written for each model; in the others each list
    item that names it is repeated.
    """
    files = {}
    for name, text in sorted(templates.items()):
        if f"/{MODEL}." in f"/{name}":
            for model in models:
                files[f"{path}/{_renamed(name, project, model)}"] = _renamed(text, project, model)
        else:
            files[f"{path}/{name}"] = "".join(_repeated(text, project, models))
    return files


def _renamed(text: str, project: str, model: str) -> str:
    return _NAMES.sub(lambda match: project if match.group() == PROJECT else model, text)


def _repeated(text: str, project: str, models: Sequence[str]) -> Iterator[str]:
    for block in _blocks(text):
        if block.startswith("  - ") and re.search(rf"\b{MODEL}\b(?!-)", block):
            yield from (_renamed(block, project, model) for model in models)
        else:
            yield _renamed(block, project, models[0])


def _blocks(text: str) -> Iterator[str]:
    """Lines, where an item of a top-level list comes as one text with all that belongs to it."""
    block = ""
    for line in text.splitlines(keepends=True):
        if block and line.startswith("    "):
            block += line
            continue
        if block:
            yield block
        block = line if line.startswith("  - ") else ""
        if not block:
            yield line
    if block:
        yield block


def workflow(template: str, branch: str) -> str:
    """The CI workflow for a repository whose releases come from `branch`."""
    return template.replace("@BRANCH@", branch).replace("@VERSION@", __version__)


def project(
    name: str,
    branch: str,
    models: Sequence[FoundModel],
    gitops: Mapping[str, str],
) -> str:
    """mlops.yaml, with a comment where a choice was made for the reader."""
    lines = [
        "# What mlops builds, trains and releases here. All keys: mlops config schema",
        "apiVersion: mlops/v1",
        "kind: Project",
        *_entry(0, "name", name),
        *_entry(0, "registry", "oci:.mlops/registry", "this machine only; for others: HOST/PATH"),
        *_entry(0, "environments", ["dev", "staging", "prod"], "in promotion order"),
        *_entry(0, "branches", [branch], "whose commits are released"),
    ]
    if gitops:
        lines += ["gitops:", *(line for k, v in gitops.items() for line in _entry(1, k, v))]
    lines += [
        *_entry(
            0,
            "executor",
            "local",
            f"or tekton, with cluster: {{namespace: {name}}}, as tekton/install is",
        ),
        *_entry(0, "runtime", "auto", "the sandbox where this machine has one"),
        "models:",
    ]
    for model in models:
        lines += [f"  {model.name}:", *_model(model)]
    return "\n".join(lines) + "\n"


def _model(model: FoundModel) -> Iterator[str]:
    yield from _entry(2, "paths", list(model.paths), "which changes concern it")
    yield "    build:"
    yield from _entry(
        3, "base", "host", "this machine's Python; or an image such as python:3.12-slim"
    )
    if model.requirements:
        yield from _entry(3, "requirements", model.requirements)
    if model.code:
        yield from _entry(3, "code", list(model.code), "goes into the image")
    if model.stages or model.command or model.env:
        yield "    train:"
    if model.stages:
        yield from _entry(3, "stages", list(model.stages))
    if model.command:
        yield from _entry(3, "command", list(model.command))
    if model.env:
        yield from _entry(3, "env", dict(model.env))
    yield from _entry(2, "artifact", model.artifact, "what training writes and the image serves")
    if model.metrics:
        yield from _entry(2, "metrics", model.metrics)
        yield "    gates: []" + f"  # e.g. - {{metric: {model.metric or 'accuracy'}, min: 0.9}}"


def _entry(depth: int, key: str, value: Any, comment: str = "") -> Iterator[str]:
    line = f"{'  ' * depth}{key}: {_flow(value)}"
    yield f"{line}  # {comment}" if comment else line


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    text = str(value)
    if re.fullmatch(r"[A-Za-z/][A-Za-z0-9_./:-]*", text) and not text.endswith(":"):
        return dump({"k": text}).strip().removeprefix("k: ")  # quoted where YAML would misread it
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
