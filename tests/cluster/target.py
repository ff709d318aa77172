"""The cluster as a target of the conformance suite: many cases at once.

What is to be refused, or is admitted and cannot be carried out here, is put to the API server under dry run:
Tekton's webhook judges it, and nothing is left of it. All else is created, each case in a namespace of its own
(or in the one that its document names), and followed to its end.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlops.adapters.cluster import connect
from mlops.adapters.cluster.kinds import PIPELINE_RUN, TASK_RUN
from mlops.adapters.executors.tekton import TektonExecutor
from mlops.domain.cluster import Access
from mlops.domain.run import RunResult
from mlops.errors import ConfigError, MlopsError, UsageError
from mlops.tekton import asked
from tests.conformance.cases import Case
from tests.conformance.targets import Refused

_AT_ONCE = 12
_PATIENCE = 240.0  # seconds for one case
_IMAGES = re.compile(r"(\bimage: )(?:busybox|python)\b")
_PENDING = "PipelineRunPending"

Answer = Refused | list[Mapping[str, Any]]
"""A refusal, or the run and its TaskRuns as the cluster has them: none where it was judged alone."""


class ClusterTarget:
    """Carries cases out. `image` stands for every image; `prefix` begins the names of its namespaces."""

    def __init__(self, image: str, prefix: str) -> None:
        self._image = image
        self._prefix = prefix

    def all(self, cases: Sequence[Case]) -> Mapping[str, Answer | str]:
        """Case → what came of it; a text where something broke."""
        judged = f"{self._prefix}-judged"
        own = {case.name: f"{self._prefix}-{number}" for number, case in enumerate(cases)}
        places = {name: own[name] for name in (case.name for case in cases if case.carried_out)}
        _make_namespaces([*places.values(), judged], self._prefix)
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                # what takes long first
                ordered = sorted(cases, key=lambda case: not case.carried_out)
                found = {
                    case.name: pool.submit(self._safely, case, places.get(case.name, judged))
                    for case in ordered
                }
                return {name: future.result() for name, future in found.items()}
        finally:
            _kubectl("delete", "namespace", "--wait=false", "-l", f"conformance={self._prefix}")

    def _safely(self, case: Case, namespace: str) -> Answer | str:
        try:
            if case.carried_out:
                return self._carry(case.text, namespace)
            self._judge(case.text, namespace)
        except ConfigError as exc:
            return Refused(exc.message)
        except (MlopsError, RuntimeError, TimeoutError) as exc:
            return f"{type(exc).__name__}: {exc}"
        return []

    def _judge(self, text: str, namespace: str) -> None:
        """Raises ConfigError where the cluster does not admit it."""
        try:
            runs = self._read(text)
        except ConfigError:  # mlops does not even send it: let the cluster see it all the same
            self._by_kubectl(text, "-n", namespace, "--dry-run=server")
            return
        kept = _executor(namespace)
        for run in runs:
            try:
                kept.check(run)
            except UsageError:  # a namespace of its own, which mlops does not send elsewhere
                self._by_kubectl(text, "--dry-run=server")

    def _carry(self, text: str, namespace: str) -> Answer:
        try:
            (run,) = self._read(text)
        except ConfigError:  # as above
            self._by_kubectl(text, "-n", namespace)
            name = _only_run(namespace)
            return _followed(_executor(namespace), name)
        named = str(run.run["metadata"].get("namespace") or "")
        kept = _executor(named or namespace)
        kept.create(run)
        try:
            return _followed(kept, run.name)
        finally:
            if named:  # which stays
                kept.remove(run.name)

    def _by_kubectl(self, text: str, *more: str) -> None:
        text = _IMAGES.sub(rf"\g<1>{self._image}", text)
        try:
            _kubectl("create", "--validate=strict", *more, "-f", "-", text=text)
        except RuntimeError as exc:
            raise ConfigError(str(exc)) from exc

    def _read(self, text: str) -> tuple[asked.Asked, ...]:
        return asked.read([("case.yaml", text.encode())], params={}, image=self._led)

    def _led(self, name: str) -> str:
        return self._image if name in ("busybox", "python") else name


def _executor(namespace: str) -> TektonExecutor:
    return TektonExecutor(connect(Access(namespace=namespace)))


def _only_run(namespace: str) -> str:
    cluster = connect(Access(namespace=namespace))
    found = cluster.list(PIPELINE_RUN)[0] or cluster.list(TASK_RUN)[0]
    return str(found[0]["metadata"]["name"])


def _followed(kept: TektonExecutor, run: str) -> list[Mapping[str, Any]]:
    """The run and its TaskRuns, when all of them are over or, where it is to be so, the run is pending."""
    for result in kept.watch(run, _PATIENCE):
        if result.phase.done or result.reason == _PENDING:
            break
    else:
        raise TimeoutError(f"{run} is not over after {_PATIENCE:.0f} s: {kept.status(run)}")
    until = time.monotonic() + _PATIENCE
    while _under_way(result := _status(kept, run)):  # a run may be over before they are
        if time.monotonic() > until:
            raise TimeoutError(f"{run} has tasks that do not end: {result.tasks}")
        time.sleep(0.2)
    items: list[Mapping[str, Any]] = list(kept.objects([result], with_taskruns=True)["items"])
    return items


def _status(kept: TektonExecutor, run: str) -> RunResult:
    found = kept.status(run)
    if found is None:
        raise RuntimeError(f"{run} is gone")
    return found


def _under_way(result: RunResult) -> bool:
    return result.phase.done and any(not task.phase.done for task in result.tasks)


def _make_namespaces(names: Sequence[str], prefix: str) -> None:
    items = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"conformance": prefix}},
        }
        for name in names
    ]
    whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    _kubectl("create", "-f", "-", text=whole)
    # they get theirs one after the other
    last = (names[-1], names[0])
    for name in last:
        _kubectl("wait", "-n", name, "--for=create", "--timeout=60s", "serviceaccount/default")


def _kubectl(*arguments: str, text: str = "") -> None:
    command = ["kubectl", *arguments]
    found = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=120
    )
    if found.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {found.stderr.strip()}")
