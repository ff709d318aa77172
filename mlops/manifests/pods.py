"""What a PipelineRun says for a cluster alone: whose pods, with which rights, and where.

Kubernetes' Pod Security "restricted" throughout (docs/concepts/security/pod-security-standards). Each
task has a service account of its own, bound to the credentials that it needs: training has none.
"""

from __future__ import annotations

from typing import Any

from mlops.domain.cluster import Pods

Document = dict[str, Any]
HOME = "/tekton/home"  # Tekton mounts it writable into every step
# Objects of the namespace, each optional, whose keys are variables of steps. `mlops-settings` holds no secrets: where
# things are (UV_DEFAULT_INDEX, HTTPS_PROXY, MLOPS_REGISTRY_HTTP); the others those of DVC's remote (AWS_ACCESS_KEY_ID)
# and of package indexes (UV_INDEX_NAME_PASSWORD), for the tasks alone that ask these.
SETTINGS = "mlops-settings"
SECRETS = {"data": "mlops-dvc", "push": "mlops-dvc", "build": "mlops-packages"}
# pipeline task → service account
ACCOUNTS = {
    "fetch": "mlops-fetch",
    "data": "mlops-data",
    "build": "mlops-build",
    "train": "mlops-train",
    "validate": "mlops-fetch",
    "push": "mlops-data",
    "package": "mlops-build",
    "attest": "mlops-build",
    "propose": "mlops-propose",
}
_TRAINING = "train"
_RESTRICTED: Document = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_REQUESTS = {"cpu": "100m", "memory": "256Mi"}
_SCRATCH = "scratch"


def shape(document: Document, wanted: Pods) -> None:
    """Write into a generated PipelineRun what its pods are to be like."""
    spec = document["spec"]
    spec["taskRunTemplate"] = {"podTemplate": _template(wanted)}
    tasks = spec["pipelineSpec"]["tasks"]
    spec["taskRunSpecs"] = [
        {"pipelineTaskName": task["name"], "serviceAccountName": ACCOUNTS[task["name"]]}
        for task in tasks
    ]
    for task in tasks:
        _shape_task(task["name"], task["taskSpec"])


def _template(wanted: Pods) -> Document:
    security: Document = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if wanted.user:
        ids = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), wanted.user)
        security |= {**ids, "fsGroupChangePolicy": "OnRootMismatch"}
    template: Document = {"securityContext": security, "automountServiceAccountToken": False}
    if wanted.node_selector:
        template["nodeSelector"] = dict(wanted.node_selector)
    if wanted.tolerations:
        template["tolerations"] = [dict(each) for each in wanted.tolerations]
    return template


def _shape_task(name: str, body: Document) -> None:
    for step in body["steps"]:
        step["securityContext"] = {**_RESTRICTED, "readOnlyRootFilesystem": True}
        step["computeResources"] = {"requests": dict(_REQUESTS)}
        step["env"] = [*(step.get("env") or ()), {"name": "HOME", "value": HOME}]
        step["volumeMounts"] = [
            *(step.get("volumeMounts") or ()),
            {"name": _SCRATCH, "mountPath": "/tmp"},  # noqa: S108  of the pod alone
        ]
        if name != _TRAINING:
            step["envFrom"] = _from(name)
    for sidecar in body.get("sidecars") or ():
        sidecar["securityContext"] = dict(_RESTRICTED)
    body["volumes"] = [*(body.get("volumes") or ()), {"name": _SCRATCH, "emptyDir": {}}]


def _from(task: str) -> list[Document]:
    found: list[Document] = [{"configMapRef": {"name": SETTINGS, "optional": True}}]
    if task in SECRETS:
        found.append({"secretRef": {"name": SECRETS[task], "optional": True}})
    return found
