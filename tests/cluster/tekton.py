"""Tekton's own manifests, from the pinned modules, with the images that were built here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import pins

NAMESPACES = ("tekton-pipelines", "tekton-pipelines-resolvers")
# the containers that Tekton adds to a pod are fit for restricted Pod Security
_FLAGS = {"set-security-context": "true"}
_LEFT_OUT = frozenset({"HorizontalPodAutoscaler"})  # there is nobody who measures pods


def install(kubectl: Callable[..., str], config: Path, images: Mapping[str, str]) -> None:
    """Bring Tekton up, up to its webhook's answer; `kubectl` takes arguments, and `documents` to read."""
    documents = manifests(config, images)
    first = [
        each for each in documents if each["kind"] in {"Namespace", "CustomResourceDefinition"}
    ]
    apply = ("apply", "--server-side", "-f", "-")
    kubectl(*apply, documents=first)
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    kubectl(*apply, documents=[each for each in documents if each not in first])
    for namespace in NAMESPACES:
        available = ("--for=condition=Available", "deployment", "--all")
        kubectl("wait", *available, "--timeout=180s", "-n", namespace)


def manifests(
    directory: Path, images: Mapping[str, str], origin: str = pins.TEKTON
) -> list[dict[str, Any]]:
    """Every document to apply, namespaces and definitions first; `origin` is the Go module they are of.

    Raises LookupError where an image is named that was not built.
    """
    images = {f"ko://{origin}/cmd/{name}": image for name, image in images.items()} | {
        "shell": images.get("busybox", "")
    }
    found = [_ours(each, images) for each in _documents(directory)]
    return sorted(found, key=lambda each: _ORDER.get(each["kind"], len(_ORDER)))


_ORDER = {"Namespace": 0, "CustomResourceDefinition": 1, "ServiceAccount": 2}


def _documents(directory: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.rglob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            if each and each["kind"] not in _LEFT_OUT:
                yield each


def _ours(document: dict[str, Any], images: Mapping[str, str]) -> dict[str, Any]:
    if document["kind"] == "ConfigMap" and document["metadata"]["name"] == "feature-flags":
        return document | {"data": document["data"] | _FLAGS}
    if document["kind"] != "Deployment":
        return document
    replaced: dict[str, Any] = _replace(document, images)
    for container in replaced["spec"]["template"]["spec"]["containers"]:
        arguments = container.get("args", [])
        if "-shell-image" in arguments:
            arguments[arguments.index("-shell-image") + 1] = images["shell"]
        if container.get("command", [""])[0] == "/sbin/tini":  # not in an image from scratch
            container["command"] = container["command"][2:]
        if "readinessProbe" in container:  # it is waited for, and usually long there
            container["readinessProbe"].update(initialDelaySeconds=0, periodSeconds=1)
        # a node of two cores is shared with the tests
        container["resources"] = {"requests": {"cpu": "10m", "memory": "50Mi"}}
    return replaced


def _replace(value: Any, images: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replace(each, images) for key, each in value.items()}
    if isinstance(value, list):
        return [_replace(each, images) for each in value]
    if isinstance(value, str) and value.startswith("ko://"):
        return images[value]
    return value
