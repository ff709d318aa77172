"""Tekton Pipelines: its own configuration from the pinned module, its programs as processes of the node."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import building, certificates, kubectl, processes, registry
from tests.cluster.layout import NODE

Json = dict[str, Any]
SYSTEM = "tekton-pipelines"
CONTROLLER, WEBHOOK = "tekton-controller", "tekton-webhook"
_YEAR = 365 * 24 * 3600
_PROCESSES = ("Deployment", "HorizontalPodAutoscaler")  # carried out here, and not in pods
_KO = "ko://github.com/tektoncd/pipeline/cmd/"
# process → program, its Deployment, and the first of the ports that are its own
_PROGRAMS = {
    WEBHOOK: ("webhook", "tekton-pipelines-webhook", 9100),
    CONTROLLER: ("controller", "tekton-pipelines-controller", 9110),
    "tekton-events": ("events", "tekton-events-controller", 9120),
    "tekton-resolvers": ("resolvers", "tekton-pipelines-remote-resolvers", 9130),
}
_WEBHOOK_PORT = 9108
# what the suite and the product's own documents need beyond the defaults of a release
_FEATURES = {"set-security-context": "true", "enable-step-actions": "true"}
_NO_PORTS = ("PROBES_PORT", "WEBHOOK_PORT", "SSL_CERT_FILE", "SSL_CERT_DIR")


def install() -> None:
    """Apply the configuration of the release, with the webhook's Service leading to its process."""
    documents = list(_configuration())
    early = [
        each for each in documents if each["kind"] in ("Namespace", "CustomResourceDefinition")
    ]
    kubectl.apply(early)
    crds = [
        each["metadata"]["name"] for each in early if each["kind"] == "CustomResourceDefinition"
    ]
    kubectl.run("wait", "--for=condition=Established", "--timeout=60s", "crd", *crds)
    kubectl.apply(_settled(each) for each in documents if each not in early)
    kubectl.apply([_endpoints()])


def start(programs: Path) -> None:
    """Start Tekton's processes, each as its service account, and wait for the webhook."""
    deployments = {
        each["metadata"]["name"]: each for each in _all() if each["kind"] == "Deployment"
    }
    for process in _PROGRAMS:
        start_one(process, programs, deployments)
    _wait_for_webhook()


def start_one(process: str, programs: Path, deployments: Mapping[str, Json] | None = None) -> None:
    """Start one of them."""
    if processes.running(process):
        return
    program, name, port = _PROGRAMS[process]
    known = deployments or {
        each["metadata"]["name"]: each for each in _all() if each["kind"] == "Deployment"
    }
    deployment = known[name]
    namespace = deployment["metadata"]["namespace"]
    spec = deployment["spec"]["template"]["spec"]
    account = spec["serviceAccountName"]
    token = kubectl.run("create", "token", account, "-n", namespace, f"--duration={_YEAR}s").strip()
    kubeconfig = certificates.kubeconfig(process, token)
    container = spec["containers"][0]
    env = {
        each["name"]: str(each.get("value", namespace))
        for each in container.get("env") or ()
        if each["name"] not in _NO_PORTS
    }
    env |= {
        "KUBECONFIG": str(kubeconfig),
        "PROBES_PORT": str(port),
        "METRICS_PROMETHEUS_PORT": str(port + 1),
        "PROFILING_PORT": str(port + 2),
        "WEBHOOK_PORT": str(_WEBHOOK_PORT),
        "POD_NAME": process,
    }
    given = container.get("args") or ()
    arguments = [
        registry.reference("shell") if before == "-shell-image" else _argument(each)
        for before, each in zip(("", *given), given, strict=False)
    ]
    processes.start(process, [str(programs / program), *arguments], env)


def _argument(text: str) -> str:
    return registry.reference(text.removeprefix(_KO)) if text.startswith(_KO) else text


def _all() -> Iterator[Json]:
    """Every document of the release's configuration."""
    config = building.module_directory() / "config"
    for path in sorted([*config.glob("*.yaml"), *config.glob("*/*.yaml")]):
        yield from (each for each in yaml.safe_load_all(path.read_text()) if each)


def _configuration() -> Iterator[Json]:
    for each in _all():
        if each["kind"] not in _PROCESSES:
            yield each


def _settled(document: Json) -> Json:
    """A document as it is here: Services without selectors, and the features that are on."""
    if document["kind"] == "Service":
        document["spec"].pop("selector", None)
        for port in document["spec"]["ports"]:
            if port["name"] == "https-webhook":
                port["targetPort"] = _WEBHOOK_PORT
            port["targetPort"] = (
                port.get("targetPort") if isinstance(port.get("targetPort"), int) else 1
            )
    if document["metadata"]["name"] == "feature-flags":
        document["data"] |= _FEATURES
    return document


def _endpoints() -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "tekton-pipelines-webhook-process",
            "namespace": SYSTEM,
            "labels": {"kubernetes.io/service-name": "tekton-pipelines-webhook"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE], "conditions": {"ready": True}}],
        "ports": [{"name": "https-webhook", "port": _WEBHOOK_PORT, "protocol": "TCP"}],
    }


def _wait_for_webhook() -> None:
    """Wait until admission judges: a TaskRun that says nothing is refused for that reason."""
    text = json.dumps(
        {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "x"}, "spec": {}}
    )
    until = time.monotonic() + 90
    while True:
        try:
            kubectl.run("create", "--dry-run=server", "-n", "default", "-f", "-", text=text)
            told = "it was admitted"
        except RuntimeError as exc:
            told = str(exc)
            if "expected exactly one" in told:
                return
        if not processes.running(WEBHOOK) or time.monotonic() > until:
            raise RuntimeError(f"no webhook: {told}\n{processes.last_words(WEBHOOK)}")
        time.sleep(0.3)
