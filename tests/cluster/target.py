"""The cluster as a target of the conformance suite: each case in a namespace of its own, many at once."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlops.adapters.cluster import Cluster, connect
from mlops.adapters.cluster.kinds import PIPELINE_RUN, TASK_RUN
from mlops.adapters.executors.tekton import TektonExecutor
from mlops.domain.cluster import Access
from mlops.errors import ConfigError, MlopsError
from mlops.tekton import asked
from tests.conformance import statuses
from tests.conformance.cases import Case
from tests.conformance.targets import Ended, Refused

_AT_ONCE = 12
_PATIENCE = 600.0  # seconds for one case

Answer = Refused | list[Ended]


class ClusterTarget:
    """Meets `targets.Target`, and takes many cases at once. `image` stands for every image."""

    name = "cluster"

    def __init__(self, image: str, prefix: str) -> None:
        self._image = image
        self._prefix = prefix
        self._made = 0

    def all(self, cases: Sequence[Case]) -> Mapping[str, Answer | str]:
        """Case → what came of it; a text where something broke."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(self._safely, enumerate(cases))
        return {case.name: answer for case, answer in zip(cases, found, strict=True)}

    def submit(self, text: str) -> Answer:
        """One alone."""
        self._made += 1
        return self._submit(text, f"{self._prefix}-s{self._made}")

    def _safely(self, numbered: tuple[int, Case]) -> Answer | str:
        number, case = numbered
        try:
            return self._submit(case.text, f"{self._prefix}-{number}")
        except (MlopsError, RuntimeError, TimeoutError) as exc:
            return f"{type(exc).__name__}: {exc}"

    def _submit(self, text: str, namespace: str) -> Answer:
        _kubectl("create", "namespace", namespace)
        _kubectl("wait", "-n", namespace, "--for=create", "--timeout=60s", "serviceaccount/default")
        try:
            return self._in(text, namespace)
        finally:
            _kubectl("delete", "namespace", namespace, "--wait=false")

    def _in(self, text: str, namespace: str) -> Answer:
        access = Access(namespace=namespace)
        cluster = connect(access)
        kept = TektonExecutor(cluster)
        try:
            runs = asked.read([("case.yaml", text.encode())], params={}, image=self._led)
            for run in runs:
                kept.create(run)
                if run.status != "PipelineRunPending":
                    _wait(kept, run.name)
        except ConfigError as exc:
            return Refused(exc.message)
        return statuses.ended(_items(cluster))

    def _led(self, name: str) -> str:
        return self._image if re.fullmatch(r"busybox|python(:.*)?", name) else name


def _kubectl(*arguments: str) -> None:
    found = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False)
    if found.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {found.stderr.strip()}")


def _wait(kept: TektonExecutor, run: str) -> None:
    until = time.monotonic() + _PATIENCE
    for result in kept.watch(run, _PATIENCE):
        if result.phase.done:
            return
    if time.monotonic() >= until:
        raise TimeoutError(f"{run} is not over after {_PATIENCE:.0f} s")


def _items(cluster: Cluster) -> list[dict[str, Any]]:
    runs, _ = cluster.list(PIPELINE_RUN)
    taskruns, _ = cluster.list(TASK_RUN)
    return [*runs, *taskruns]
