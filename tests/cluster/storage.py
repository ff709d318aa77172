"""The default StorageClass: a claim gets a directory of the node, as a small provisioner gives it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.cluster import addresses

NAME = "directory"
CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": NAME,
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "mlops.example.com/directory",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}


@dataclass(slots=True)
class Provisioner:
    """Looks now and then: makes volumes for claims that wait, and removes those that nobody claims any more."""

    client: httpx.Client
    directory: Path

    def look(self) -> None:
        """One look. An API server that is away or refuses is asked again at the next one."""
        try:
            claims = self._list("/api/v1/persistentvolumeclaims")
            volumes = self._list("/api/v1/persistentvolumes")
            made = {each["metadata"]["name"] for each in volumes}
            for claim in claims:
                if _waits(claim) and volume_name(claim) not in made:
                    self._make(claim)
            for each in volumes:
                ours = each["spec"].get("storageClassName") == NAME
                if ours and each.get("status", {}).get("phase") == "Released":
                    self._remove(each)
        except httpx.HTTPError:
            return

    def _list(self, path: str) -> list[dict[str, Any]]:
        answer = self.client.get(path, params={"resourceVersion": "0"}).raise_for_status()
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def _make(self, claim: dict[str, Any]) -> None:
        place = self.directory / volume_name(claim)
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o777)
        self.client.post("/api/v1/persistentvolumes", json=volume(claim, place)).raise_for_status()

    def _remove(self, each: dict[str, Any]) -> None:
        place = self.directory / each["metadata"]["name"]
        shutil.rmtree(place, ignore_errors=True)
        path = f"/api/v1/persistentvolumes/{each['metadata']['name']}"
        self.client.delete(path).raise_for_status()


def volume_name(claim: dict[str, Any]) -> str:
    """The name of the volume of a claim: one for each claim that ever was."""
    return f"pvc-{claim['metadata']['uid']}"


def _waits(claim: dict[str, Any]) -> bool:
    spec = claim["spec"]
    return (
        spec.get("storageClassName") == NAME
        and not spec.get("volumeName")
        and "deletionTimestamp" not in claim["metadata"]
    )


def volume(claim: dict[str, Any], place: Path) -> dict[str, Any]:
    """The volume for a claim. It is `local`, not hostPath: kubelet gives it a pod's fsGroup."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [addresses.NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            # else the volume controller looks for a plugin of its own that removes it
            "annotations": {"pv.kubernetes.io/provisioned-by": CLASS["provisioner"]},
        },
        "spec": {
            "storageClassName": NAME,
            "persistentVolumeReclaimPolicy": "Delete",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": claim["spec"]["resources"]["requests"],
            "volumeMode": "Filesystem",
            "local": {"path": str(place)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim["metadata"]["namespace"],
                "name": claim["metadata"]["name"],
                "uid": claim["metadata"]["uid"],
            },
        },
    }
