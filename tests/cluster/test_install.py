"""tekton/install on a real cluster: it is admitted, its accounts may do what they must, and nothing more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mlops.manifests.pods import ACCOUNTS
from tests.cluster import installing
from tests.cluster.accounts import RUNS, Rules, rules
from tests.cluster.installing import Installed
from tests.cluster.layout import Layout

URL = "https://git.example.org/team/shop.git"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@pytest.fixture(scope="module")
def installed(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    image = json.loads(layout.images.read_text())["busybox"]
    found = installing.write(layout, tmp_path_factory.mktemp("install"), image, URL)
    found.apply()
    yield found
    found.remove()


@pytest.fixture(scope="module")
def anybody(installed: Installed) -> Rules:
    """What every account of the cluster may do: ask who it is, and which kinds there are."""
    return rules(installed, "bound-to-nothing")


def can(installed: Installed, account: str, *argv: str) -> bool:
    said = installed.cluster.kubectl("auth", "can-i", *argv, f"--as={installed.account(account)}")
    assert said.stdout.strip() in ("yes", "no"), said.stderr
    return said.stdout.strip() == "yes"


def test_it_is_applied_again_without_a_conflict_and_strictly(installed: Installed) -> None:
    assert "violate" not in installed.apply()
    assert "serverside-applied" in installed.apply("", "--dry-run=server", "--validate=strict")


def test_a_network_policy_with_a_field_too_many_would_be_refused(installed: Installed) -> None:
    path = installed.root / "tekton" / "install" / "network.yaml"
    strict = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
    for document in yaml.safe_load_all(path.read_text()):
        document["metadata"]["name"] += "-again"
        installed.cluster.done(*strict, document=document)
        document["spec"]["podSelectors"] = {}
        refused = installed.cluster.kubectl(*strict, document=document)
        assert 'unknown field "spec.podSelectors"' in refused.stderr


@pytest.mark.parametrize("account", sorted(set(ACCOUNTS.values())))
def test_accounts_of_tasks_may_do_nothing(
    installed: Installed, anybody: Rules, account: str
) -> None:
    installed.cluster.done("get", "serviceaccount", account)
    assert rules(installed, account) == anybody


def test_the_watcher_may_make_and_follow_runs_here_and_nothing_else(
    installed: Installed, anybody: Rules
) -> None:
    pipelineruns, taskruns = RUNS
    wanted = {(verb, pipelineruns, "") for verb in ("create", "get", "list", "watch", "patch")}
    wanted |= {(verb, taskruns, "") for verb in ("get", "list", "watch")}
    wanted |= {("get", "pods/log", "")}
    wanted |= {(verb, "leases.coordination.k8s.io", "") for verb in ("create", "get", "update")}
    assert rules(installed, "mlops-watch") - anybody == wanted
    assert rules(installed, "mlops-watch", "default") == anybody


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        *(("get", "secrets"), ("create", "pods"), ("create", "pods/exec"), ("list", "pods")),
        *(("delete", "pipelineruns.tekton.dev"), ("create", "taskruns.tekton.dev")),
        *(("create", "serviceaccounts/token"), ("impersonate", "serviceaccounts")),
        *(("update", "roles.rbac.authorization.k8s.io"), ("list", "namespaces")),
    ],
)
def test_what_the_watcher_could_do_harm_with_is_refused(
    installed: Installed, verb: str, kind: str
) -> None:
    assert not can(installed, "mlops-watch", verb, kind)
    assert can(installed, "mlops-watch", "create", "pipelineruns.tekton.dev")


@pytest.mark.parametrize(("account", "held"), [("mlops-train", ""), ("mlops-watch", "token")])
def test_training_holds_no_token_of_the_cluster(
    installed: Installed, account: str, held: str
) -> None:
    script = f"if [ -e {TOKEN} ]; then echo token; fi"
    name = f"holds-{account}"
    phase, said = installed.cluster.ran(name, script, serviceAccountName=account)
    assert (phase, said.strip()) == ("Succeeded", held)


def _pod(installed: Installed) -> dict[str, Any]:
    """The watcher's pod, once it is there: its image cannot run here, but it is admitted."""
    chosen = "app.kubernetes.io/name=mlops-watch"
    installed.cluster.done("wait", "--for=create", "--timeout=60s", "pod", "-l", chosen)
    (pod,) = json.loads(installed.cluster.done("get", "pod", "-l", chosen, "-o", "json"))["items"]
    found: dict[str, Any] = pod
    return found


def test_the_watchers_pod_is_admitted_under_restricted(installed: Installed) -> None:
    labels = installed.cluster.get("namespace", installed.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    spec = _pod(installed)["spec"]
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    # and a pod that is not fit for it would be refused
    unfit = {"metadata": {"name": "unfit"}, "apiVersion": "v1", "kind": "Pod"}
    unfit["spec"] = {"containers": [{"name": "main", "image": spec["containers"][0]["image"]}]}
    assert (
        "violates PodSecurity"
        in installed.cluster.kubectl("create", "-f", "-", document=unfit).stderr
    )


def test_network_policies_select_the_pods_of_runs(installed: Installed) -> None:
    """The labels that the generator writes reach the pods that Tekton makes."""
    secured = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 12345,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    step = {"name": "do", "image": installed.cluster.image("busybox"), "script": "true"}
    task = {
        "metadata": {"labels": {"dev.mlops/network": "none"}},
        "steps": [{**step, "securityContext": secured}],
    }
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "labelled", "labels": {"dev.mlops/model": "spam"}},
        "spec": {
            "taskRunTemplate": {"serviceAccountName": "mlops-train"},
            "pipelineSpec": {"tasks": [{"name": "train", "taskSpec": task}]},
        },
    }
    installed.cluster.done("create", "-f", "-", document=run)
    ended = "--for=jsonpath={.status.completionTime}"
    installed.cluster.done("wait", ended, "--timeout=180s", "pipelinerun/labelled")
    policies = json.loads(installed.cluster.done("get", "networkpolicies", "-o", "json"))["items"]
    assert len(policies) == 2
    for policy in policies:
        selector = policy["spec"]["podSelector"]
        chosen = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
        chosen += [each["key"] for each in selector.get("matchExpressions", ())]
        found = installed.cluster.done("get", "pods", "-l", ",".join(chosen), "-o", "name")
        assert found.split() == ["pod/labelled-train-pod"], policy["metadata"]["name"]
