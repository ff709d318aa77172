"""Which fields of Tekton's documents the local executor honours.

One table for each part of a document (`Step`, `PipelineTask` …), field → what becomes of it. A field
that no table has is refused by its path before the first step runs, so nothing is ignored in silence.
`checking` holds documents against the tables; the reference page is printed from them.

Tekton: docs/pipeline-api.md (v1), docs/stepactions.md (v1beta1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum


class Support(StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"
    WITHOUT_EFFECT = "without effect on one machine"
    REFUSED = "refused"


class Kind(Enum):
    """What a field may hold; the values complete `must be …` in messages."""

    TEXT = "a string"
    TEXTS = "a list of strings"
    MAP = "a map of strings"
    NUMBER = "a whole number"
    FLAG = "true or false"
    VALUE = "a string, a list or a map"
    QUANTITY = "a quantity, such as 500m or 2Gi"
    QUANTITIES = "a map of quantities"
    DURATION = "a duration, such as 1h30m or 90s"
    ANY = "anything"


@dataclass(frozen=True, slots=True)
class Field:
    """`part` names the table of what lies below: one such, a list of them (`many`), or a map
    (`each`). `why` tells the reason of a refusal, or what "without effect" means here."""

    support: Support
    kind: Kind = Kind.ANY
    part: str = ""
    many: bool = False
    each: bool = False
    why: str = ""


def _one(part: str) -> Field:
    return Field(Support.HONOURED, part=part)


def _list(part: str) -> Field:
    return Field(Support.HONOURED, part=part, many=True)


def _map(part: str) -> Field:
    return Field(Support.HONOURED, part=part, each=True)


def _moot(why: str = "", kind: Kind = Kind.ANY) -> Field:
    return Field(Support.WITHOUT_EFFECT, kind, why=why)


def _no(why: str) -> Field:
    return Field(Support.REFUSED, why=why)


_TEXT = Field(Support.HONOURED, Kind.TEXT)
_TEXTS = Field(Support.HONOURED, Kind.TEXTS)
_MAP = Field(Support.HONOURED, Kind.MAP)
_NUMBER = Field(Support.HONOURED, Kind.NUMBER)
_FLAG = Field(Support.HONOURED, Kind.FLAG)
_VALUE = Field(Support.HONOURED, Kind.VALUE)
_QUANTITY = Field(Support.HONOURED, Kind.QUANTITY)
_DURATION = Field(Support.HONOURED, Kind.DURATION)
_ANY = Field(Support.HONOURED, Kind.ANY)

_A_DIRECTORY = "a claim is a directory, whatever its size and class"
_ACCOUNT = "its Secrets for git and docker, where it is among the files"
_CLUSTER = "only a cluster has it"
_ALPHA = "Tekton refuses it too while its alpha features are off, as they are by default"
_RESOLVER = "a resolver fetches from elsewhere; put the document among the files"
_WRITTEN = _moot("the cluster writes it")
_PROBE_TIMES = {
    "initialDelaySeconds": _NUMBER,
    "periodSeconds": _NUMBER,
    "timeoutSeconds": _NUMBER,
    "failureThreshold": _NUMBER,
    "successThreshold": _NUMBER,
    "terminationGracePeriodSeconds": _moot(),
}

_METADATA = {
    "name": _TEXT,
    "generateName": _TEXT,
    "namespace": _TEXT,
    "labels": _MAP,
    "annotations": _MAP,
    "finalizers": _moot(_CLUSTER),
    "ownerReferences": _moot(_CLUSTER),
    "creationTimestamp": _WRITTEN,
    "generation": _WRITTEN,
    "managedFields": _WRITTEN,
    "resourceVersion": _WRITTEN,
    "selfLink": _WRITTEN,
    "uid": _WRITTEN,
}
_CONTAINER = {  # what steps, sidecars, stepTemplate and StepActions share
    "image": _TEXT,
    "command": _TEXTS,
    "args": _TEXTS,
    "env": _list("EnvVar"),
    "workingDir": _TEXT,
    "volumeMounts": _list("VolumeMount"),
    "securityContext": _one("SecurityContext"),
}
_FULL_CONTAINER = {
    **_CONTAINER,
    "envFrom": _list("EnvFrom"),
    "computeResources": _one("Resources"),
    "imagePullPolicy": _moot("an image is fetched once for each digest"),
    "volumeDevices": _no(_CLUSTER),
}
_REF = {
    "name": _TEXT,
    "resolver": _no(_RESOLVER),
    "params": _no(_RESOLVER),
}
_PIPELINE_TASK = {
    "name": _TEXT,
    "displayName": _TEXT,
    "description": _TEXT,
    "taskRef": _one("TaskRef"),
    "taskSpec": _one("EmbeddedTask"),
    "params": _list("Param"),
    "matrix": _one("Matrix"),
    "when": _list("When"),
    "workspaces": _list("PipelineTaskWorkspace"),
    "retries": _NUMBER,
    "timeout": _DURATION,
    "onError": _TEXT,
    "runAfter": _TEXTS,
    "pipelineRef": _no(_ALPHA),
    "pipelineSpec": _no(_ALPHA),
}
_TASK_SPEC = {
    "params": _list("ParamSpec"),
    "displayName": _TEXT,
    "description": _TEXT,
    "steps": _list("Step"),
    "volumes": _list("Volume"),
    "stepTemplate": _one("StepTemplate"),
    "sidecars": _list("Sidecar"),
    "workspaces": _list("WorkspaceDeclaration"),
    "results": _list("TaskResult"),
}
_SPECS = {
    "stepSpecs": _list("ContainerSpec"),
    "sidecarSpecs": _list("ContainerSpec"),
    "computeResources": _one("Resources"),
    "timeout": _DURATION,
    "serviceAccountName": Field(Support.HONOURED, Kind.TEXT, why=_ACCOUNT),
    "podTemplate": _one("PodTemplate"),
}
_CONFIG_SOURCE = {
    "items": _list("KeyToPath"),
    "optional": _FLAG,
    "defaultMode": _NUMBER,
}
_DISK = {  # what workspaces and volumes can both stand on
    "emptyDir": _one("EmptyDir"),
    "persistentVolumeClaim": _one("Claim"),
    "configMap": _one("ConfigMapSource"),
    "secret": _one("SecretSource"),
    "projected": _one("Projected"),
    "csi": _no(_CLUSTER),
}
_TOP = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _one("Metadata")}

PARTS: Mapping[str, Mapping[str, Field]] = {
    "PipelineRun": {**_TOP, "spec": _one("PipelineRunSpec"), "status": _WRITTEN},
    "TaskRun": {**_TOP, "spec": _one("TaskRunSpec"), "status": _WRITTEN},
    "Pipeline": {**_TOP, "spec": _one("PipelineSpec")},
    "Task": {**_TOP, "spec": _one("TaskSpec")},
    "StepAction": {**_TOP, "spec": _one("StepActionSpec")},
    "ConfigMap": {
        **_TOP,
        "data": _MAP,
        "binaryData": _MAP,
        "immutable": _moot(),
    },
    "ServiceAccount": {
        **_TOP,
        "secrets": _list("SecretReference"),
        "imagePullSecrets": _moot("images are pulled with this user's own logins"),
        "automountServiceAccountToken": _moot(_CLUSTER, Kind.FLAG),
    },
    "SecretReference": {
        "name": _TEXT,
        **dict.fromkeys(
            ("apiVersion", "fieldPath", "kind", "namespace", "resourceVersion", "uid"), _moot()
        ),
    },
    "Secret": {**_TOP, "data": _MAP, "stringData": _MAP, "type": _TEXT, "immutable": _moot()},
    "PersistentVolumeClaim": {
        **_TOP,
        "spec": _one("ClaimSpec"),
        "status": _WRITTEN,
    },
    "ClaimTemplate": {
        "apiVersion": _TEXT,
        "kind": _TEXT,
        "metadata": _one("Metadata"),
        "spec": _one("ClaimSpec"),
        "status": _WRITTEN,
    },
    "ClaimSpec": {
        "accessModes": Field(Support.HONOURED, Kind.TEXTS, why=_A_DIRECTORY),
        "resources": _one("ClaimResources"),
        "storageClassName": _moot(_A_DIRECTORY, Kind.TEXT),
        "volumeMode": _moot(_A_DIRECTORY, Kind.TEXT),
        "volumeName": _moot(_A_DIRECTORY, Kind.TEXT),
        "volumeAttributesClassName": _moot(_A_DIRECTORY, Kind.TEXT),
        "selector": _moot(_A_DIRECTORY),
        "dataSource": _no("a claim begins empty here"),
        "dataSourceRef": _no("a claim begins empty here"),
    },
    "ClaimResources": {
        "requests": Field(Support.HONOURED, Kind.QUANTITIES, why=_A_DIRECTORY),
        "limits": _moot(_A_DIRECTORY, Kind.QUANTITIES),
    },
    "Ephemeral": {"volumeClaimTemplate": _one("ClaimTemplate")},
    "Metadata": _METADATA,
    "PipelineRunSpec": {
        "pipelineRef": _one("PipelineRef"),
        "pipelineSpec": _one("PipelineSpec"),
        "params": _list("Param"),
        "status": _TEXT,
        "timeouts": _one("Timeouts"),
        "taskRunTemplate": _one("TaskRunTemplate"),
        "taskRunSpecs": _list("PipelineTaskRunSpec"),
        "workspaces": _list("WorkspaceBinding"),
        "managedBy": _no("it hands the run to another controller"),
    },
    "TaskRunSpec": {
        **_SPECS,
        "taskRef": _one("TaskRef"),
        "taskSpec": _one("TaskSpec"),
        "params": _list("Param"),
        "status": _TEXT,
        "statusMessage": _TEXT,
        "retries": _NUMBER,
        "workspaces": _list("WorkspaceBinding"),
        "debug": _no(_ALPHA),
        "managedBy": _no("it hands the run to another controller"),
    },
    "PipelineTaskRunSpec": {
        **_SPECS,
        "pipelineTaskName": _TEXT,
        "metadata": _one("TaskMetadata"),
    },
    "TaskRunTemplate": {
        "serviceAccountName": Field(Support.HONOURED, Kind.TEXT, why=_ACCOUNT),
        "podTemplate": _one("PodTemplate"),
    },
    "PodTemplate": {
        "env": _list("EnvVar"),
        "securityContext": _one("PodSecurityContext"),
        "affinity": _moot(_CLUSTER),
        "automountServiceAccountToken": _moot(_CLUSTER),
        "dnsConfig": _no("name resolution is this machine's"),
        "dnsPolicy": _moot("name resolution is this machine's"),
        "enableServiceLinks": _moot(_CLUSTER),
        "hostAliases": _no("name resolution is this machine's"),
        "hostNetwork": _moot("the network is this machine's"),
        "hostUsers": _moot(_CLUSTER),
        "imagePullSecrets": _moot("credentials are this user's own"),
        "nodeSelector": _moot(_CLUSTER),
        "priorityClassName": _moot(_CLUSTER),
        "runtimeClassName": _moot("the runtime is chosen here"),
        "schedulerName": _moot(_CLUSTER),
        "tolerations": _moot(_CLUSTER),
        "topologySpreadConstraints": _moot(_CLUSTER),
        "volumes": _list("Volume"),
    },
    "PodSecurityContext": {
        "runAsUser": _NUMBER,
        "runAsGroup": _NUMBER,
        "runAsNonRoot": _FLAG,
        "supplementalGroups": _moot("a sandbox has one group"),
        "fsGroup": _moot("files belong to the user of the step"),
        "fsGroupChangePolicy": _moot(),
        "seccompProfile": _moot(_CLUSTER),
        "seLinuxOptions": _moot(_CLUSTER),
        "appArmorProfile": _moot(_CLUSTER),
        "supplementalGroupsPolicy": _moot(),
        "sysctls": _no("kernel settings are this machine's"),
    },
    "Timeouts": {"pipeline": _DURATION, "tasks": _DURATION, "finally": _DURATION},
    "PipelineSpec": {
        "displayName": _TEXT,
        "description": _TEXT,
        "params": _list("ParamSpec"),
        "workspaces": _list("PipelineWorkspace"),
        "results": _list("PipelineResult"),
        "tasks": _list("PipelineTask"),
        "finally": _list("PipelineTask"),
    },
    "PipelineRef": {**_REF, "apiVersion": _TEXT},
    "TaskRef": {**_REF, "apiVersion": _TEXT, "kind": _TEXT},
    "StepRef": _REF,
    "PipelineTask": _PIPELINE_TASK,
    "EmbeddedTask": {
        **_TASK_SPEC,
        "metadata": _one("TaskMetadata"),
        "apiVersion": _no("custom tasks need their own controller"),
        "kind": _no("custom tasks need their own controller"),
        "spec": _no("custom tasks need their own controller"),
    },
    "TaskMetadata": {"labels": _MAP, "annotations": _MAP},
    "TaskSpec": _TASK_SPEC,
    "Matrix": {"params": _list("Param"), "include": _list("MatrixInclude")},
    "MatrixInclude": {"name": _TEXT, "params": _list("Param")},
    "Param": {"name": _TEXT, "value": _VALUE},
    "ParamSpec": {
        "name": _TEXT,
        "type": _TEXT,
        "description": _TEXT,
        "default": _VALUE,
        "properties": _map("Property"),
        "enum": _no(_ALPHA),
    },
    "Property": {"type": _TEXT},
    "When": {
        "input": _TEXT,
        "operator": _TEXT,
        "values": _TEXTS,
        "cel": _no(_ALPHA),
    },
    "TaskResult": {
        "name": _TEXT,
        "type": _TEXT,
        "description": _TEXT,
        "properties": _map("Property"),
        "value": _VALUE,
    },
    "StepResult": {
        "name": _TEXT,
        "type": _TEXT,
        "description": _TEXT,
        "properties": _map("Property"),
    },
    "PipelineResult": {"name": _TEXT, "type": _TEXT, "description": _TEXT, "value": _VALUE},
    "PipelineWorkspace": {"name": _TEXT, "description": _TEXT, "optional": _FLAG},
    "PipelineTaskWorkspace": {"name": _TEXT, "workspace": _TEXT, "subPath": _TEXT},
    "WorkspaceDeclaration": {
        "name": _TEXT,
        "description": _TEXT,
        "mountPath": _TEXT,
        "readOnly": _FLAG,
        "optional": _FLAG,
    },
    "WorkspaceUsage": {"name": _TEXT, "mountPath": _TEXT},
    "WorkspaceBinding": {
        **_DISK,
        "name": _TEXT,
        "subPath": _TEXT,
        "volumeClaimTemplate": _one("ClaimTemplate"),
    },
    "Volume": {
        **_DISK,
        "name": _TEXT,
        "downwardAPI": _no(_CLUSTER),
        "ephemeral": _one("Ephemeral"),
        "hostPath": _no("a step would see files of this machine; hand them in as a workspace"),
        "image": _no("not supported by the local executor yet"),
        "nfs": _no(_CLUSTER),
        **{
            kind: _no(_CLUSTER)
            for kind in (
                "awsElasticBlockStore",
                "azureDisk",
                "azureFile",
                "cephfs",
                "cinder",
                "fc",
                "flexVolume",
                "flocker",
                "gcePersistentDisk",
                "gitRepo",
                "glusterfs",
                "iscsi",
                "photonPersistentDisk",
                "portworxVolume",
                "quobyte",
                "rbd",
                "scaleIO",
                "storageos",
                "vsphereVolume",
            )
        },
    },
    "EmptyDir": {
        "medium": _moot("a directory on disk"),
        "sizeLimit": _QUANTITY,
    },
    "Claim": {"claimName": _TEXT, "readOnly": _FLAG},
    "ConfigMapSource": {**_CONFIG_SOURCE, "name": _TEXT},
    "SecretSource": {**_CONFIG_SOURCE, "secretName": _TEXT},
    "KeyToPath": {"key": _TEXT, "path": _TEXT, "mode": _NUMBER},
    "Projected": {"sources": _list("ProjectedSource"), "defaultMode": _NUMBER},
    "ProjectedSource": {
        "configMap": _one("ProjectedConfig"),
        "secret": _one("ProjectedConfig"),
        "serviceAccountToken": _no(_CLUSTER),
        "downwardAPI": _no(_CLUSTER),
        "clusterTrustBundle": _no(_CLUSTER),
        "podCertificate": _no(_CLUSTER),
    },
    "ProjectedConfig": {"name": _TEXT, "items": _list("KeyToPath"), "optional": _FLAG},
    "Step": {
        **_FULL_CONTAINER,
        "name": _TEXT,
        "displayName": _TEXT,
        "script": _TEXT,
        "timeout": _DURATION,
        "workspaces": _list("WorkspaceUsage"),
        "onError": _TEXT,
        "ref": _one("StepRef"),
        "params": _list("Param"),
        "results": _list("StepResult"),
        "when": _list("When"),
        "stdoutConfig": _no(_ALPHA),
        "stderrConfig": _no(_ALPHA),
    },
    "StepTemplate": _FULL_CONTAINER,
    "StepActionSpec": {
        **_CONTAINER,
        "description": _TEXT,
        "script": _TEXT,
        "params": _list("ParamSpec"),
        "results": _list("StepResult"),
    },
    "Sidecar": {
        **_FULL_CONTAINER,
        "name": _TEXT,
        "script": _TEXT,
        "workspaces": _list("WorkspaceUsage"),
        "ports": _moot("containers with a network share this machine's"),
        "readinessProbe": _one("Probe"),
        "startupProbe": _one("Probe"),
        "livenessProbe": _moot("a sidecar is not restarted here"),
        "lifecycle": _no("not supported by the local executor yet"),
        "restartPolicy": _moot("a sidecar is not restarted here"),
        "stdin": _moot(),
        "stdinOnce": _moot(),
        "tty": _moot(),
        "terminationMessagePath": _moot(),
        "terminationMessagePolicy": _moot(),
    },
    "Probe": {
        **_PROBE_TIMES,
        "exec": _one("ExecAction"),
        "httpGet": _one("HttpGetAction"),
        "tcpSocket": _one("TcpAction"),
        "grpc": _no("not supported by the local executor yet"),
    },
    "ExecAction": {"command": _TEXTS},
    "HttpGetAction": {
        "path": _TEXT,
        "port": _ANY,
        "host": _TEXT,
        "scheme": _TEXT,
        "httpHeaders": _no("not supported by the local executor yet"),
    },
    "TcpAction": {"port": _ANY, "host": _TEXT},
    "ContainerSpec": {"name": _TEXT, "computeResources": _one("Resources")},
    "Resources": {
        "limits": _one("Limits"),
        "requests": _moot("nothing is scheduled", Kind.QUANTITIES),
        "claims": _no(_CLUSTER),
    },
    "Limits": {
        "memory": _QUANTITY,
        "cpu": _QUANTITY,
        "ephemeral-storage": _QUANTITY,
        "*": _moot("this machine's devices are not handed out", Kind.QUANTITY),
    },
    "EnvVar": {"name": _TEXT, "value": _TEXT, "valueFrom": _one("EnvSource")},
    "EnvSource": {
        "configMapKeyRef": _one("KeyRef"),
        "secretKeyRef": _one("KeyRef"),
        "fieldRef": _one("FieldRef"),
        "resourceFieldRef": _no(_CLUSTER),
        "fileKeyRef": _no(_CLUSTER),
    },
    "KeyRef": {"name": _TEXT, "key": _TEXT, "optional": _FLAG},
    "FieldRef": {"fieldPath": _TEXT, "apiVersion": _moot()},
    "EnvFrom": {
        "prefix": _TEXT,
        "configMapRef": _one("ConfigRef"),
        "secretRef": _one("ConfigRef"),
    },
    "ConfigRef": {"name": _TEXT, "optional": _FLAG},
    "VolumeMount": {
        "name": _TEXT,
        "mountPath": _TEXT,
        "subPath": _TEXT,
        "readOnly": _FLAG,
        "mountPropagation": _moot(_CLUSTER),
        "recursiveReadOnly": _moot(),
        "subPathExpr": _no("use subPath, or a parameter in it"),
    },
    "SecurityContext": {
        "runAsUser": _NUMBER,
        "runAsGroup": _NUMBER,
        "runAsNonRoot": _FLAG,
        "readOnlyRootFilesystem": _FLAG,
        "privileged": _no("nothing here may be more than the user who runs it"),
        "allowPrivilegeEscalation": _moot("it never is"),
        "capabilities": _moot("those of a container engine, inside the sandbox"),
        "seccompProfile": _moot(_CLUSTER),
        "seLinuxOptions": _moot(_CLUSTER),
        "appArmorProfile": _moot(_CLUSTER),
        "procMount": _moot(_CLUSTER),
    },
}
"""The documents that the files may hold, and every part of them."""


def rows() -> Iterator[tuple[str, str, Field]]:
    """Every part and field with what becomes of it, in the order of the tables."""
    for part, table in PARTS.items():
        for name, entry in table.items():
            yield part, name, entry


def honoured() -> tuple[str, ...]:
    """`Part.field` of everything that is honoured and holds a value of its own, or parts."""
    return tuple(
        f"{part}.{name}" for part, name, entry in rows() if entry.support is Support.HONOURED
    )
