"""What service accounts of a cluster may do."""

from __future__ import annotations

import json

from tests.cluster.installing import Installed

RUNS = ("pipelineruns.tekton.dev", "taskruns.tekton.dev")

Rules = set[tuple[str, str, str]]


def rules(installed: Installed, account: str, namespace: str = "") -> Rules:
    """What an account may do in a namespace: verb, resource with its group (or path), name."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace or installed.namespace},
    }
    argv = (
        "create",
        "--validate=false",
        "-o",
        "json",
        f"--as={installed.account(account)}",
        "-f",
        "-",
    )
    status = json.loads(installed.cluster.done(*argv, document=review))["status"]
    assert not status["incomplete"]
    found: Rules = set()
    for rule in status["resourceRules"]:
        kinds = {
            f"{resource}.{group}" if group else resource
            for group in rule.get("apiGroups") or ()
            for resource in rule.get("resources") or ()
        }
        names = rule.get("resourceNames") or [""]
        found |= {(verb, kind, name) for verb in rule["verbs"] for kind in kinds for name in names}
    for rule in status["nonResourceRules"]:
        found |= {(v, url, "") for v in rule["verbs"] for url in rule.get("nonResourceURLs") or ()}
    return found
