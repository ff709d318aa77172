"""Volumes for claims: directories of the node, by a loop that does what a provisioner does.

Claims of the class `standard`, the default, get a volume when their first pod is scheduled; those of the
class `never` wait for ever. A volume that is released is removed with its directory.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

from tests.cluster import kubectl
from tests.cluster.layout import RUN

VOLUMES = RUN / "volumes"
_NAME = "mlops.test/directory"
_SELECTED = "volume.kubernetes.io/selected-node"
_EVERY = 0.3  # seconds


def classes() -> list[dict[str, Any]]:
    """The storage classes: one that is served, and one that nobody serves."""
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": name,
                "annotations": {
                    "storageclass.kubernetes.io/is-default-class": str(default).lower()
                },
            },
            "provisioner": provisioner,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer" if default else "Immediate",
        }
        for name, provisioner, default in (
            ("standard", _NAME, True),
            ("never", "mlops.test/nobody", False),
        )
    ]


def serve() -> None:
    """Do so for ever."""
    while True:
        try:
            _look()
        except RuntimeError as exc:  # the API server is away for a while
            print(exc, file=sys.stderr, flush=True)
        time.sleep(_EVERY)


def _look() -> None:
    volumes = {each["metadata"]["name"]: each for each in kubectl.get("pv")["items"]}
    for claim in kubectl.get("pvc", "-A")["items"]:
        about, spec = claim["metadata"], claim["spec"]
        name = f"pvc-{about['uid']}"
        if (
            claim["status"].get("phase") == "Pending"
            and spec.get("storageClassName") == "standard"
            and _SELECTED in (about.get("annotations") or {})
            and name not in volumes
        ):
            _provide(name, claim)
    for name, volume in volumes.items():
        if volume["status"].get("phase") == "Released":
            kubectl.run("delete", "pv", name, "--wait=false")
            shutil.rmtree(VOLUMES / name, ignore_errors=True)


def _provide(name: str, claim: dict[str, Any]) -> None:
    directory = VOLUMES / name
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o2777)  # any user of any pod
    about = claim["metadata"]
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": _NAME}},
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": about["name"],
                "namespace": about["namespace"],
                "uid": about["uid"],
            },
            "hostPath": {"path": str(directory), "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "standard",
        },
    }
    kubectl.apply([volume])


if __name__ == "__main__":
    serve()
