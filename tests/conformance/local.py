"""The local executor as a target: in this process, the way `mlops runs submit` uses it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops.adapters.executors.local import LocalExecutor
from mlops.adapters.layout import OciLayout
from mlops.domain.imagename import ImageMap
from mlops.domain.run import RunResult, TaskState
from mlops.errors import ConfigError
from mlops.tekton import bundle, runs
from mlops.tekton.document import PipelineRun
from tests.conformance import images
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
    """Meets `targets.Target`. `mapping` says which images stand for those that the documents name."""

    name = "local"

    def __init__(self, root: Path, mapping: Mapping[str, str]) -> None:
        store, rules = OciLayout(images.LAYOUT), ImageMap.of(mapping.items())
        self._executor = LocalExecutor(root, store, "sandbox", images.UNPACKED, mapping=rules)

    def submit(self, text: str) -> Refused | list[Ended]:
        try:
            return [_ended(self._executor.submit(run, _Silent())) for run in programs(text)]
        except ConfigError as exc:
            return Refused(str(exc))

    def items(self, text: str) -> list[Mapping[str, Any]]:
        """The runs with their TaskRuns, as `mlops runs submit --with-taskruns` prints them. Raises
        ConfigError where they are refused."""
        ended = [self._executor.submit(run, _Silent()) for run in programs(text)]
        found = self._executor.objects(ended, with_taskruns=True)
        return list(found["items"])


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
