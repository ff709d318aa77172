"""The PipelineRun document: pipeline and tasks inlined, images by digest, params as data.

Follows Tekton Pipelines v1 (docs/pipelineruns.md). The document names nothing outside itself but
images by digest, so that what an executor carries out is what stands here.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from mlops import documents, resources
from mlops.domain.cluster import Pods
from mlops.domain.run import Resources, RunSpec
from mlops.errors import ConfigError
from mlops.manifests import pods
from mlops.manifests.parameter import encode

NETWORK = "dev.mlops/network"
MODEL = "dev.mlops/model"
SOURCE = "dev.mlops/source"
ATTEMPT = "dev.mlops/attempt"
MANAGED = "app.kubernetes.io/managed-by"

_PREFIX = "mlops-"
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")  # RFC 1123 label
_LABEL = re.compile(r"[^A-Za-z0-9._-]+")
_SLACK = 1800.0  # seconds that a run has at least beside its training
_LONGEST_PLAN = 500  # characters

Document = dict[str, Any]


def generate(spec: RunSpec) -> Document:
    """The PipelineRun for one run. Raises ConfigError where the name is none for Kubernetes."""
    if _NAME.match(spec.name) is None:
        raise ConfigError(
            f"{spec.name!r} cannot name a run",
            hint="At most 63 lower case letters, digits and hyphens",
        )
    document: Document = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": spec.name, "labels": _labels(spec)},
        "spec": {
            "params": [{"name": name, "value": value} for name, value in _params(spec).items()],
            "timeouts": {"pipeline": duration(max(spec.timeout, spec.train_timeout + _SLACK))},
            "workspaces": [_workspace(spec.pods or Pods())],
            "pipelineSpec": _pipeline(spec),
        },
    }
    if spec.pods is not None:
        pods.shape(document, spec.pods)
    _seal(document)
    return document


def to_yaml(document: Mapping[str, Any]) -> str:
    """The document as YAML; strings that a reader could take for something else are quoted."""
    return documents.dump(document)


def duration(seconds: float) -> str:
    """A Go duration: `5400` is `1h30m`, never less than a second."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def document_digest(document: Mapping[str, Any]) -> str:
    """The sha256 (hex) of a PipelineRun as canonical JSON, its param `document` left empty."""
    unsealed = copy.deepcopy(dict(document))
    for param in unsealed["spec"]["params"]:
        if param["name"] == "document":
            param["value"] = ""
    text = json.dumps(unsealed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _seal(document: Document) -> None:
    digest = document_digest(document)
    for param in document["spec"]["params"]:
        if param["name"] == "document":
            param["value"] = digest


def _labels(spec: RunSpec) -> dict[str, str]:
    return {
        MANAGED: "mlops",
        MODEL: _label(spec.model),
        SOURCE: _label(spec.source.sha),
        ATTEMPT: str(spec.attempt),
    }


def _label(value: str) -> str:
    """A label value: at most 63 characters (a sha256 commit has 64), alphanumeric at both ends."""
    return _LABEL.sub("-", value)[:63].strip("-._")


def _params(spec: RunSpec) -> dict[str, str]:
    text = {
        "model": spec.model,
        "repository": spec.repository,
        "registry": spec.registry,
        "environment": spec.environment,
        "gitops-url": spec.gitops_url,
        "gitops-branch": spec.gitops_branch,
        "gitops-path": spec.gitops_path,
        "baseline": spec.baseline,
        "since": spec.since,
        "train-env": json.dumps(dict(spec.train_env), sort_keys=True, ensure_ascii=False),
        "actor": spec.actor,
        "plan": spec.plan[:_LONGEST_PLAN],
    }
    return {
        "tool": str(spec.tool),
        "run": spec.name,
        "attempt": str(spec.attempt),
        "source": spec.source.sha,
        **{name: encode(value) for name, value in text.items()},
        "train": _flag(spec.train),
        "retrain": _flag(spec.retrain),
        "rebuild": _flag(spec.rebuild),
        "pin": _flag(spec.pin),
        "document": "",
    }


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _workspace(wanted: Pods) -> Document:
    claim: Document = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": wanted.size}},
    }
    if wanted.storage_class:
        claim["storageClassName"] = wanted.storage_class
    return {"name": "run", "volumeClaimTemplate": {"spec": claim}}


def _pipeline(spec: RunSpec) -> Document:
    pipeline = _spec_of("tekton/pipeline.yaml")
    for task in pipeline["tasks"]:
        name = task.pop("taskRef")["name"].removeprefix(_PREFIX)
        task["taskSpec"] = _spec_of(f"tekton/tasks/{name}.yaml")
        if name == "train":
            _shape_training(task, spec)
    return pipeline


def _spec_of(name: str) -> Document:
    document = documents.load(resources.content(name), name)
    spec: Document = document.value["spec"]
    return spec


def _shape_training(task: Document, spec: RunSpec) -> None:
    """Training's own: time, network and what its sidecar may use."""
    task["timeout"] = duration(spec.train_timeout)
    body: Document = task["taskSpec"]
    if not spec.network:
        mark = {NETWORK: "none"}
        # the annotation tells the local executor, the label a NetworkPolicy's podSelector
        body["metadata"] = {"labels": dict(mark), "annotations": dict(mark)}
    limits = _limits(spec.resources)
    if limits:
        body["sidecars"][0]["computeResources"] = {"limits": limits}


def _limits(wanted: Resources) -> dict[str, str]:
    limits = {"cpu": wanted.cpu, "memory": wanted.memory}
    if wanted.gpu:
        limits["nvidia.com/gpu"] = str(wanted.gpu)
    return {name: value for name, value in limits.items() if value}
