"""Kinds of objects, and where the API has them.

Kubernetes API concepts: `/api/v1/…` for the core group, `/apis/GROUP/VERSION/…` for all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: `version` as a document's apiVersion has it, `plural` as the API's paths do."""

    name: str
    version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str, name: str = "", sub: str = "") -> str:
        """The path of all objects of a namespace, of one of them, or of a subresource of it."""
        root = f"/apis/{self.version}" if "/" in self.version else f"/api/{self.version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced else ""
        parts = [self.plural, *(quote(each, safe="") for each in (name, sub) if each)]
        return f"{root}{inside}/{'/'.join(parts)}"


PIPELINE_RUN = Kind("PipelineRun", "tekton.dev/v1", "pipelineruns")
TASK_RUN = Kind("TaskRun", "tekton.dev/v1", "taskruns")
POD = Kind("Pod", "v1", "pods")
EVENT = Kind("Event", "v1", "events")
CLAIM = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims")

KNOWN = {
    (kind.version, kind.name): kind
    for kind in (
        PIPELINE_RUN,
        TASK_RUN,
        POD,
        EVENT,
        CLAIM,
        Kind("Pipeline", "tekton.dev/v1", "pipelines"),
        Kind("Task", "tekton.dev/v1", "tasks"),
        Kind("StepAction", "tekton.dev/v1beta1", "stepactions"),
        Kind("StepAction", "tekton.dev/v1alpha1", "stepactions"),
        Kind("ConfigMap", "v1", "configmaps"),
        Kind("Secret", "v1", "secrets"),
        Kind("ServiceAccount", "v1", "serviceaccounts"),
        Kind("Namespace", "v1", "namespaces", namespaced=False),
    )
}
