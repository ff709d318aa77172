"""The local executor as a target: in this process, the way `mlops runs submit` uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from mlops.adapters.executors.local import LocalExecutor
from mlops.domain.digest import ImageRef
from mlops.domain.run import RunResult, TaskState
from mlops.errors import ConfigError
from mlops.ports import ImageStore
from mlops.tekton import bundle, runs
from mlops.tekton.document import PipelineRun
from tests.conformance.targets import Ended, Refused, TaskEnd


def programs(text: str) -> list[PipelineRun]:
    """The runs that some documents ask for. Raises ConfigError where they are refused."""
    found = bundle.read([("case.yaml", text.encode())])
    return [runs.program(found, submitted) for submitted in found.runs]


def refusal(text: str) -> str:
    """Why the documents are refused before anything runs; empty where they are not."""
    try:
        programs(text)
    except ConfigError as exc:
        return str(exc)
    return ""


class LocalTarget:
    """Meets `targets.Target`. `images` maps the names that the documents use to images of the store."""

    name = "local"

    def __init__(
        self, root: Path, store: ImageStore, cache: Path, images: Mapping[str, ImageRef]
    ) -> None:
        self._executor = LocalExecutor(root, store, "sandbox", cache)
        self._images = images

    def submit(self, text: str) -> Refused | list[Ended]:
        for name, ref in self._images.items():
            text = re.sub(rf"\bimage: {re.escape(name)}(?![\w:/@.-])", f"image: {ref}", text)
        try:
            return [_ended(self._executor.submit(run, _Silent())) for run in programs(text)]
        except ConfigError as exc:
            return Refused(str(exc))


class _Silent:
    """Meets `ports.RunObserver`."""

    def task(self, state: TaskState) -> None: ...
    def log(self, task: str, step: str, line: str) -> None: ...


def _ended(result: RunResult) -> Ended:
    tasks: dict[str, list[TaskEnd]] = {}
    for state in result.tasks:
        end = TaskEnd(str(state.phase), state.reason, state.message)
        tasks.setdefault(state.of, []).append(end)
    results = json.loads(json.dumps(dict(result.results)))  # lists for tuples
    return Ended(str(result.phase), result.reason, result.message, results, tasks)
