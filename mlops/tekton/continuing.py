"""A run that goes on where another ended: its unfinished tasks, with what the others gave.

Tekton cannot resume a PipelineRun. The new one has the tasks that did not succeed and all of
`finally`; results of those that did come to it as parameters, so that they stay data; claims that
the first run had made for it are mounted again.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from mlops.domain.run import Phase, RunResult, Value
from mlops.errors import RefusedError
from mlops.tekton import names
from mlops.tekton.observed import EARLIER, texts
from mlops.tekton.substitution import Reference, references

Json = Mapping[str, Any]
OF = "dev.mlops/continues"  # the label that names the run that is gone on with
RESULTS = EARLIER  # the annotation with results that the earlier tries gave, as JSON
_TRY = re.compile(r"-try(\d+)\Z")
_KEPT = ("labels", "annotations")
_OTHERS = "tekton.dev/"  # prefix of what Tekton itself writes
_PREFIX = "of-"


def name(run: str, number: int) -> str:
    """The name of the try of that number, the first being the run itself."""
    ending = f"-try{number}"
    return _TRY.sub("", run)[: names.LONGEST - len(ending)].rstrip("-.") + ending


def tries(run: RunResult) -> int:
    """Which try at a run this is: 1 where it goes on with no other."""
    found = _TRY.search(run.name) if OF in run.labels else None
    return int(found[1]) if found else 1


def document(found: Json, taskruns: Mapping[str, Json], before: RunResult, called: str) -> Json:
    """The PipelineRun that goes on with `found`. Raises RefusedError where nothing is known of what it
    was, or for a TaskRun of several tries."""
    if before.kind == "TaskRun":
        return _bare(found, called, before.name)
    spec = copy.deepcopy(dict(found.get("spec") or {}))
    pipeline = copy.deepcopy(dict((found.get("status") or {}).get("pipelineSpec") or {}))
    pipeline = pipeline or copy.deepcopy(dict(spec.get("pipelineSpec") or {}))
    if not pipeline:
        raise RefusedError(
            f"run {before.name} never began: its pipeline is not known",
            hint="Submit it again under another name",
        )
    done, claims = _done(before), _claims(pipeline, taskruns)
    given: dict[str, Value] = {}
    take = _Taking(done, given)
    kept = [task for task in pipeline.get("tasks") or () if task["name"] not in done]
    for task in kept:
        after = [each for each in task.get("runAfter") or () if each not in done]
        task.pop("runAfter", None)
        if after:
            task["runAfter"] = after
    pipeline["tasks"] = [take(task) for task in kept]
    if pipeline.get("finally"):
        pipeline["finally"] = [take(each) for each in pipeline["finally"]]
    known = _results(pipeline, done)
    if not kept:
        raise RefusedError(f"run {before.name} has no task left: what failed is in finally")
    declared = [{"name": key, "type": _type(value)} for key, value in given.items()]
    pipeline["params"] = [*(pipeline.get("params") or ()), *declared]
    spec["params"] = [
        *(spec.get("params") or ()),
        *({"name": key, "value": _plain(value)} for key, value in given.items()),
    ]
    spec["pipelineSpec"] = pipeline
    for key in ("pipelineRef", "status"):
        spec.pop(key, None)
    spec["workspaces"] = [_bound(each, claims) for each in spec.get("workspaces") or ()]
    if not spec["workspaces"]:
        del spec["workspaces"]
    left = {task["name"] for task in (*kept, *(pipeline.get("finally") or ()))}
    if spec.get("taskRunSpecs"):
        spec["taskRunSpecs"] = [
            each for each in spec["taskRunSpecs"] if each.get("pipelineTaskName") in left
        ]
    document = {**_bare(found, called, before.name), "spec": spec}
    if known:
        about = document["metadata"].setdefault("annotations", {})
        about[RESULTS] = json.dumps(known, sort_keys=True, ensure_ascii=False)
    return document


def _results(pipeline: dict[str, Any], done: Mapping[str, Mapping[str, Value]]) -> dict[str, Any]:
    """Leave to the pipeline the results that its tasks still give; the values of those that are known.

    A result of both kinds of tasks is left out: Tekton takes no text before the first reference, and no
    result of a task that is not there.
    """
    left, known = [], {}
    for each in pipeline.get("results") or ():
        used = {ref.task for text in texts(each.get("value")) for ref in references(text)}
        if not used & done.keys():
            left.append(each)
        elif used <= done.keys():
            known[str(each.get("name"))] = _literally(each.get("value"), done)
    pipeline.pop("results", None)
    if left:
        pipeline["results"] = left
    return known


def _literally(found: Any, done: Mapping[str, Mapping[str, Value]]) -> Any:
    """The value of a result of tasks that are all done."""
    if isinstance(found, Mapping):
        return {key: _literally(each, done) for key, each in found.items()}
    if isinstance(found, list):
        return [_literally(each, done) for each in found]
    text = str(found)
    parts: list[str] = []
    for each in references(text):
        before, _, text = text.partition(each.text)
        value = done[each.task].get(each.parts[3], "")
        alone = not before and not text and not parts
        if alone and (each.whole or len(each.parts) == 4) and not each.index.isdigit():
            return _plain(value)
        parts += [before, _picked(value, each)]
    return "".join(parts) + text


def _picked(value: Value, reference: Reference) -> str:
    """The text of a string, of an element of an array, or of a key of an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return str(value.get(".".join(reference.parts[4:]), ""))
    index = int(reference.index) if reference.index.isdigit() else 0
    return value[index] if index < len(value) else ""


def _bare(found: Json, called: str, before: str) -> dict[str, Any]:
    """The document without what the cluster keeps in it."""
    about = found.get("metadata") or {}
    metadata: dict[str, Any] = {"name": called}
    for key in _KEPT:
        own = {
            k: v
            for k, v in (about.get(key) or {}).items()
            if k != RESULTS
            and not k.startswith(_OTHERS)
            and not k.startswith("kubectl")
            and "sha256" not in k
        }
        if own:
            metadata[key] = own
    metadata.setdefault("labels", {})[OF] = before
    spec = {
        k: v for k, v in (found.get("spec") or {}).items() if k not in ("status", "statusMessage")
    }
    return {
        "apiVersion": found.get("apiVersion"),
        "kind": found.get("kind"),
        "metadata": metadata,
        "spec": spec,
    }


def _done(before: RunResult) -> dict[str, dict[str, Value]]:
    """Pipeline task → its results, of tasks that succeeded, all combinations of a matrix."""
    phases: dict[str, set[Phase]] = {}
    results: dict[str, dict[str, Value]] = {}
    matrices = {task.of for task in before.tasks if task.task}
    for task in before.tasks:
        if task.final:
            continue
        phases.setdefault(task.of, set()).add(task.phase)
        results.setdefault(task.of, {}).update(task.results)
    return {
        of: results[of]
        for of, found in phases.items()
        if found == {Phase.SUCCEEDED} and of not in matrices
    }


class _Taking:
    """Puts parameters in place of the results of tasks that are done, wherever a text names one."""

    def __init__(self, done: Mapping[str, Mapping[str, Value]], given: dict[str, Value]) -> None:
        self._done = done
        self._given = given

    def __call__(self, found: Any) -> Any:
        if isinstance(found, str):
            return self._text(found)
        if isinstance(found, Mapping):
            return {key: self(each) for key, each in found.items()}
        return [self(each) for each in found] if isinstance(found, list) else found

    def _text(self, text: str) -> str:
        for each in tuple(references(text)):
            if each.parts[0] == "tasks" and each.parts[2:] in (("status",), ("reason",)):
                if each.parts[1] in self._done:
                    text = text.replace(each.text, "Succeeded")
                continue
            if each.task not in self._done or each.parts[3] not in self._done[each.task]:
                continue
            key = f"{_PREFIX}{each.task}-{each.parts[3]}"
            self._given[key] = self._done[each.task][each.parts[3]]
            rest = "".join(f".{part}" for part in each.parts[4:])
            index = f"[{each.index}]" if each.index else ""
            text = text.replace(each.text, f"$(params.{key}{rest}{index})")
        return text


def _claims(pipeline: Json, taskruns: Mapping[str, Json]) -> dict[str, str]:
    """Workspace of the pipeline → the claim that its TaskRuns had for it."""
    bound = {
        (task["name"], each["name"]): str(each.get("workspace") or each["name"])
        for key in ("tasks", "finally")
        for task in pipeline.get(key) or ()
        for each in task.get("workspaces") or ()
    }
    found: dict[str, str] = {}
    for taskrun in taskruns.values():
        of = (taskrun["metadata"].get("labels") or {}).get("tekton.dev/pipelineTask")
        for each in (taskrun.get("spec") or {}).get("workspaces") or ():
            claim = (each.get("persistentVolumeClaim") or {}).get("claimName")
            if claim and (of, each["name"]) in bound:
                found[bound[of, each["name"]]] = str(claim)
    return found


def _bound(workspace: Json, claims: Mapping[str, str]) -> Json:
    """A workspace of the run; one whose claim came from a template, by the claim that was made."""
    if "volumeClaimTemplate" not in workspace or workspace["name"] not in claims:
        return workspace
    claim = {"claimName": claims[workspace["name"]]}
    kept = {key: workspace[key] for key in ("name", "subPath") if key in workspace}
    return {**kept, "persistentVolumeClaim": claim}


def _type(value: Value) -> str:
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def _plain(value: Value) -> Any:
    if isinstance(value, str):
        return value
    return dict(value) if isinstance(value, Mapping) else list(value)
