"""The local executor as a target: in this process, the way `mlops runs submit` uses it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mlops.adapters.executors.local import LocalExecutor
from mlops.domain.digest import ImageRef
from mlops.domain.run import RunResult, TaskState
from mlops.errors import ConfigError
from mlops.ports import ImageStore
from mlops.tekton import parse, validate
from tests.conformance.targets import Ended, Refused, TaskEnd


def verdict(text: str) -> str:
    """Why the documents are refused before anything runs; empty where they are not."""
    try:
        for document in _documents(text):
            validate.validate(parse.pipeline_run(document))
    except ConfigError as exc:
        return str(exc)
    return ""


class LocalTarget:
    """Meets `targets.Target`. `images` maps the names that the documents use to images of the store."""

    name = "local"

    def __init__(
        self, root: Path, store: ImageStore, cache: Path, images: dict[str, ImageRef]
    ) -> None:
        self._executor = LocalExecutor(root, store, "sandbox", cache)
        self._images = images

    def submit(self, text: str) -> Refused | Ended:
        for name, ref in self._images.items():
            text = re.sub(rf"\bimage: {re.escape(name)}(?![\w:/@.-])", f"image: {ref}", text)
        (document,) = _documents(text)
        try:
            return _ended(self._executor.run(document, _Silent()))
        except ConfigError as exc:
            return Refused(str(exc))


class _Silent:
    """Meets `ports.RunObserver`."""

    def task(self, state: TaskState) -> None: ...
    def log(self, task: str, step: str, line: str) -> None: ...


def _documents(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each is not None]


def _ended(result: RunResult) -> Ended:
    tasks: dict[str, list[TaskEnd]] = {}
    for state in result.tasks:
        tasks.setdefault(state.name, []).append(
            TaskEnd(str(state.phase), state.reason, state.message)
        )
    return Ended(str(result.phase), result.reason, result.message, result.results, tasks)
