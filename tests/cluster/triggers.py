"""Tekton Triggers on a cluster that runs: only the tests that ask for it wait for it.

Its EventListeners find the interceptors by the name of a Service, and the node has no name service: an admission
policy of ours writes that name into /etc/hosts of their pods, as a name service would give it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.cluster import pins, registry, tekton

NAMESPACE = "tekton-pipelines"
INTERCEPTORS = "tekton-triggers-core-interceptors"
DEPLOYMENTS = (INTERCEPTORS, "tekton-triggers-controller", "tekton-triggers-webhook")


def install() -> None:
    """Bring Triggers up, up to the answer of its webhook; where it is there already, that is quick.

    Raises RuntimeError where kubectl fails.
    """
    built = pins.built()
    images = {
        each.name: registry.push(f"triggers-{each.name}", registry.single(built, each))
        for each in pins.programs("triggers")
    }
    documents = tekton.manifests(built.config("triggers"), images, pins.TRIGGERS)
    for each in documents:
        if (
            each["metadata"]["name"] == "config-logging-triggers"
        ):  # tests read what became of an event
            each["data"]["loglevel.eventlistener"] = "debug"
    first = [each for each in documents if each["kind"] == "CustomResourceDefinition"]
    _kubectl("apply", "--server-side", "-f", "-", documents=first)
    _kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    rest = [each for each in documents if each not in first]
    # the webhook that judges interceptors is among them: it is asked once it answers
    judged = [each for each in rest if each["apiVersion"].startswith("triggers.tekton.dev/")]
    _kubectl(
        "apply", "--server-side", "-f", "-", documents=[each for each in rest if each not in judged]
    )
    wait = ("wait", "--for=condition=Available", "--timeout=180s", "-n", NAMESPACE)
    _kubectl(*wait, *(f"deployment/{name}" for name in DEPLOYMENTS))
    _kubectl("apply", "--server-side", "-f", "-", documents=judged)
    address = _kubectl(
        *("get", "service", INTERCEPTORS, "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}")
    )
    _kubectl("apply", "--server-side", "-f", "-", documents=_names(address))


def _names(address: str) -> list[dict[str, Any]]:
    """What gives pods of EventListeners the address of the interceptors."""
    name = f"{INTERCEPTORS}.{NAMESPACE}.svc"
    # an ApplyConfiguration may not fill lists such as that of an alias's names
    value = f'[{{"ip": dyn("{address}"), "hostnames": dyn(["{name}"])}}]'
    change = f'[JSONPatch{{op: "add", path: "/spec/hostAliases", value: {value}}}]'
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "listeners"}}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    chosen = {"matchLabels": {"app.kubernetes.io/managed-by": "EventListener"}}
    policy = {
        "matchConstraints": {"resourceRules": [rule], "objectSelector": chosen},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": change}}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
    }
    return [
        {**kind, "kind": "MutatingAdmissionPolicy", "spec": policy},
        {**kind, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": "listeners"}},
    ]


def _kubectl(*arguments: str, documents: Sequence[dict[str, Any]] = ()) -> str:
    done = subprocess.run(
        ["kubectl", *arguments],
        input="\n".join(json.dumps(each) + "\n---" for each in documents),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
