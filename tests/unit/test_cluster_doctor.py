"""What doctor says of a cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlops.domain.clusterstate import ClusterState, Kept, Right, Watching
from mlops.engine import clusterdoctor
from mlops.engine.clusterdoctor import Wanted, findings
from mlops.engine.clusterlogins import Logins, Place
from mlops.manifests.pods import ACCOUNTS, SECRETS, SETTINGS

TOOL = f"ghcr.io/ada/mlops@sha256:{'a' * 64}"
NAMES = tuple(sorted(set(ACCOUNTS.values())))
WANTED = Wanted(True, NAMES, ("",), TOOL, "shop")
ASKED = clusterdoctor.questions(WANTED)
GOOD = ClusterState(
    server="https://cluster.example:6443",
    version="v1.36.1",
    namespace="shop",
    labels={"pod-security.kubernetes.io/enforce": "restricted", "x": "y"},
    tekton="v1.15.0",
    flags={"set-security-context": "true", "coschedule": "workspaces"},
    own=frozenset(ASKED.own),
    accounts=dict.fromkeys(ASKED.accounts, frozenset()),
    rights={name: frozenset() for name in NAMES} | {"mlops-watch": frozenset(ASKED.own)},
    secrets=dict.fromkeys(ASKED.secrets, Kept()),
    settings={},
    classes={"fast": True, "slow": False},
    watcher=Watching(TOOL),
)


def without(found, name):
    return {key: value for key, value in found.items() if key != name}


def wrong(state, wanted=WANTED):
    return {f.subject: f for f in findings(state, wanted) if not f.fine}


def test_a_good_cluster_has_nothing_to_mend():
    assert wrong(GOOD) == {}


def test_a_secret_of_each_kind_that_runs_take_is_looked_for():
    assert set(SECRETS.values()) <= set(ASKED.secrets)
    assert {"mlops-git", "mlops-git-push", "mlops-registry"} <= set(ASKED.secrets)
    assert ASKED.settings == SETTINGS


@pytest.mark.parametrize(
    ("change", "subject", "needed", "said", "remedy"),
    [
        ({"tekton": ""}, "Tekton", True, "no Tekton Pipelines", "install it: https://"),
        ({"tekton": "v0.68.1"}, "Tekton", True, "v0.68.1 is too old", "install 1.0 or newer"),
        (
            {"flags": {}},
            *("Tekton's flags", True, "set-security-context is off", "kubectl patch configmap"),
        ),
        (
            {"flags": {"set-security-context": "true", "coschedule": "disabled"}},
            *("Tekton's flags", False, "coschedule is disabled", "kubectl patch configmap"),
        ),
        ({"labels": {}}, "namespace", True, "has no namespace shop", "kubectl apply --server-side"),
        (
            {"labels": {"x": "y"}},
            *("namespace", False, "enforces no Pod Security", "kubectl label --overwrite"),
        ),
        (
            {"own": frozenset()},
            *("rights", True, "you may not create, get, list", "create rolebinding"),
        ),
        (
            {"accounts": without(GOOD.accounts, "mlops-train")},
            *("accounts", True, "not there: mlops-train", "kubectl apply --server-side -k"),
        ),
        (
            {"rights": GOOD.rights | {"mlops-train": frozenset({Right("get", "secrets")})}},
            *("accounts", False, "mlops-train may get secrets", "kubectl get rolebindings"),
        ),
        (
            {"rights": GOOD.rights | {"mlops-watch": frozenset(ASKED.own[1:])}},
            *("accounts", False, "mlops-watch may not create pipelineruns", "kubectl apply"),
        ),
        (
            {"secrets": without(GOOD.secrets, "mlops-dvc")},
            *("secrets", False, "no mlops-dvc", "kubectl create secret generic mlops-dvc -n shop"),
        ),
        ({"classes": {"slow": False}}, "storage", True, "no storage class is the default", "slow"),
        (
            {"watcher": Watching("ghcr.io/x/y:1")},
            *("mlops watch", False, "runs ghcr.io/x/y:1", "kustomization"),
        ),
        (
            {"watcher": Watching(TOOL, 0, 0)},
            *("mlops watch", False, "0 replicas: no push begins", "-n shop --replicas=1"),
        ),
        (
            {"watcher": Watching(TOOL, 1, 0, "0 of 1 ready: ImagePullBackOff: x: not found")},
            *(
                "mlops watch",
                True,
                "available, no push begins a run: ImagePull",
                "kubectl describe",
            ),
        ),
        (
            {"watcher": Watching(TOOL, 1, 0, "0 of 1 ready: ended with exit code 128: fatal")},
            *("mlops watch", True, "exit code 128: fatal", "kubectl logs -n shop deployment/"),
        ),
    ],
)
def test_each_thing_that_is_missing_is_named_with_what_mends_it(
    change, subject, needed, said, remedy
):
    (finding,) = wrong(replace(GOOD, **change)).values()
    assert (finding.subject, finding.needed) == (subject, needed)
    assert said in finding.said
    assert finding.remedy
    assert remedy in f"{finding.said} {finding.remedy}"


@pytest.mark.parametrize("change", [{"labels": {}}, {"accounts": {}}])
@pytest.mark.parametrize(
    ("installs", "remedy"),
    [
        ("shop", "kubectl apply --server-side -k tekton/install"),
        ("", "mlops init --yes && kubectl apply --server-side -k tekton/install"),
        ("ml", "write cluster: {namespace: ml}, for which tekton/install is, into mlops.yaml"),
    ],
)
def test_what_makes_a_namespace_is_what_makes_this_one(change, installs, remedy):
    wanted = replace(WANTED, installs=installs)
    (finding,) = wrong(replace(GOOD, **change), wanted).values()
    assert finding.needed
    assert finding.remedy.startswith(remedy)


def test_a_watcher_that_only_begins_is_not_there_yet():
    (finding,) = wrong(replace(GOOD, watcher=Watching(TOOL, 2, 1, "1 of 2 ready"))).values()
    assert finding.said.startswith("1 of 2 replicas available: nothing says why yet")


def test_a_storage_class_that_a_model_names_must_be_there():
    assert wrong(GOOD, replace(WANTED, classes=("slow",))) == {}
    (finding,) = wrong(GOOD, replace(WANTED, classes=("gone",))).values()
    assert "gone" in finding.said
    assert "fast, slow" in finding.said


@pytest.mark.parametrize("fact", ["labels", "flags", "accounts", "secrets", "classes"])
def test_what_may_not_be_seen_is_said_and_is_no_fault(fact):
    (finding,) = wrong(replace(GOOD, **{fact: None})).values()
    assert not finding.needed
    assert "you may not see" in finding.said


def test_who_may_see_nothing_gets_an_answer():
    blind = replace(
        *(GOOD,),
        **dict.fromkeys(("labels", "tekton", "flags", "accounts", "secrets", "classes", "watcher")),
        rights=dict.fromkeys(GOOD.rights),
    )
    assert not any(finding.needed for finding in wrong(blind).values())


def test_who_only_deploys_needs_no_tekton():
    bare = replace(GOOD, tekton="", flags=None, labels={}, accounts={}, classes={})
    found = findings(bare, replace(WANTED, runs=False))
    assert not any(each.needed and not each.fine for each in found)


@pytest.mark.parametrize(
    ("login", "watcher", "needed"),
    [
        (True, Watching(TOOL), True),
        (None, Watching(TOOL), False),
        (False, Watching(TOOL), False),
        (True, Watching(TOOL, 0, 0), False),
        (True, None, False),
    ],
)
def test_a_watcher_needs_a_login_where_the_repository_asks_for_one(login, watcher, needed):
    state = replace(GOOD, secrets=without(GOOD.secrets, "mlops-watch-git"), watcher=watcher)
    wanted = replace(WANTED, logins=Logins((Place("https://git.example.com/shop", login),)))
    (finding,) = (f for f in findings(state, wanted) if "no mlops-watch-git" in f.said)
    assert finding.needed is needed


def test_commands_name_secrets_by_files_alone():
    for finding in findings(replace(GOOD, secrets={}), WANTED):
        if finding.subject == "secrets":
            assert "FILE" in finding.remedy
            assert "--from-literal" not in finding.remedy
