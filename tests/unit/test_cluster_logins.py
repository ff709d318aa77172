"""What doctor says of the logins and settings that the pods of runs get."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest

from mlops.domain.clusterstate import ClusterState, Kept
from mlops.engine.clusterlogins import Logins, Place, Setting, findings
from mlops.engine.doctor import Finding

URL = "https://git.example.com/team/shop.git"
REGISTRY = "registry.example.com/ml"
BASIC, DOCKER = "kubernetes.io/basic-auth", "kubernetes.io/dockerconfigjson"
LOGIN = Kept(BASIC, ("https://git.example.com",))
GOOD = ClusterState(
    server="https://cluster.example:6443",
    version="v1.36.1",
    namespace="shop",
    labels={"x": "y"},
    tekton="v1.15.0",
    flags={},
    own=frozenset(),
    accounts={
        "mlops-fetch": frozenset({"mlops-git"}),
        "mlops-build": frozenset({"mlops-registry"}),
        "mlops-propose": frozenset({"mlops-git-push", "mlops-registry"}),
    },
    rights={},
    secrets={"mlops-git": LOGIN, "mlops-git-push": LOGIN, "mlops-registry": Kept(DOCKER)},
    settings={},
    classes={},
    watcher=None,
)


def place(url: str = URL, *, login: bool | None = True, key: str = "cluster.repository") -> Place:
    return Place(url, login, key)


WANTED = Logins((place(),), (place(),), Place(REGISTRY, True))
SETTING = Setting("MLOPS_REGISTRY_HTTP", "r:5000", "the registry r:5000 speaks plain HTTP", True)


def told(found: ClusterState, wanted: Logins = WANTED, *, runs: bool = True) -> list[Finding]:
    return [each for each in findings(found, wanted, "APPLY", runs=runs) if not each.fine]


def secrets(**changed: Kept | None) -> ClusterState:
    """The good cluster with other Secrets; None: without it."""
    named = {key.replace("_", "-"): value for key, value in changed.items()}
    there = {**(GOOD.secrets or {}), **named}
    return replace(GOOD, secrets={key: value for key, value in there.items() if value is not None})


def test_logins_that_tasks_get_are_fine():
    assert told(GOOD) == []
    assert len(list(findings(GOOD, WANTED, "APPLY", runs=True))) == 3


@pytest.mark.parametrize("login", [True, None])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("mlops_git", f"--type={BASIC} --from-file=username=FILE --from-file=password=FILE"),
        ("mlops_git_push", f"--type={BASIC} --from-file=username=FILE"),
        ("mlops_registry", f"--type={DOCKER} --from-file=.dockerconfigjson=FILE"),
    ],
)
def test_a_login_that_is_not_there_is_needed_where_it_is_asked_for(name, remedy, login):
    git, images = (place(login=login),), Place(REGISTRY, login)
    (finding,) = told(secrets(**{name: None}), Logins(git, git, images))
    named = name.replace("_", "-")
    assert finding.needed is bool(login)
    assert finding.said.startswith(f"no {named}: runs ")
    assert "asks for one" in finding.said
    assert ("cannot be known" in finding.said) is (login is None)
    assert finding.remedy.startswith(f"kubectl create secret generic {named} -n shop {remedy}")
    annotated = (
        f"&& kubectl annotate secret {named} -n shop tekton.dev/git-0=https://git.example.com"
    )
    assert (annotated in finding.remedy) is (named != "mlops-registry")


def test_who_only_deploys_needs_no_login():
    (finding,) = told(secrets(mlops_git=None), runs=False)
    assert not finding.needed


def test_where_nobody_asks_no_login_is_lacking():
    open_ = place("http://git.team.svc:3000/shop", login=False)
    wanted = Logins((open_,), (open_,), Place(REGISTRY, False))
    assert told(replace(GOOD, secrets={}), wanted) == []


@pytest.mark.parametrize(
    ("kept", "said", "remedy"),
    [
        (Kept(BASIC), "no annotation tekton.dev/git-… for https://git", "tekton.dev/git-0=https:"),
        (
            Kept(BASIC, ("https://github.com",)),
            "so that tasks have no login there: it is for https://github.com",
            "kubectl annotate secret mlops-git -n shop tekton.dev/git-1=https://git.example.com",
        ),
        (Kept(BASIC, ("git.example.com",)), "no annotation tekton.dev/git-…", "annotate"),
        (
            Kept("Opaque", ("https://git.example.com",)),
            "mlops-git is of the type Opaque, which gives no login for https://git",
            "kubectl delete secret mlops-git -n shop && kubectl create secret generic mlops-git",
        ),
    ],
)
def test_a_login_that_tekton_would_not_give_to_a_task_is_named(kept, said, remedy):
    (finding,) = told(secrets(mlops_git=kept))
    assert finding.needed
    assert said in finding.said
    assert remedy in finding.remedy


def test_a_login_of_docker_is_of_dockers_type():
    (finding,) = told(secrets(mlops_registry=Kept("Opaque")))
    assert "mlops-registry is of the type Opaque" in finding.said
    assert told(secrets(mlops_registry=Kept("kubernetes.io/dockercfg"))) == []


def test_an_account_that_does_not_list_a_secret_is_named():
    accounts = {**(GOOD.accounts or {}), "mlops-build": frozenset[str]()}
    (finding,) = told(replace(GOOD, accounts=accounts))
    assert "mlops-registry is there, and the account mlops-build does not list it" in finding.said
    assert finding.remedy == "APPLY"
    assert told(replace(GOOD, accounts=None)) == []  # which is told elsewhere
    assert told(replace(GOOD, accounts={})) == []


def test_git_by_ssh_is_told_to_go_by_https():
    by_ssh = place("git@git.example.com:team/shop.git")
    found = told(replace(GOOD, secrets={}), Logins((by_ssh,), (by_ssh,)))
    assert [each.needed for each in found] == [True, True]
    for each, name in zip(found, ("mlops-git", "mlops-git-push"), strict=True):
        assert each.said.startswith(f"{by_ssh.url} asks for a key, and ssh finds none in pods")
        assert f"(cluster.repository: {URL})" in each.remedy
        assert f"kubectl create secret generic {name} -n shop --type={BASIC}" in each.remedy
        assert each.remedy.endswith("tekton.dev/git-0=https://git.example.com")


def test_git_by_ssh_goes_where_the_settings_say_how():
    by_ssh = place("git@git.example.com:team/shop.git")
    found = secrets(mlops_git=Kept("kubernetes.io/ssh-auth", ("git.example.com",)))
    assert len(told(found, Logins((by_ssh,)))) == 1
    command = {"GIT_SSH_COMMAND": "ssh -F /tekton/home/.ssh/config"}
    assert told(replace(found, settings=command), Logins((by_ssh,))) == []


def test_two_servers_take_two_annotations():
    other = place("https://deploy.example.com/team/envs", key="gitops.url")
    (finding,) = told(GOOD, Logins((place(), other)))
    assert "for https://deploy.example.com/team/envs" in finding.said
    both = Kept(BASIC, ("https://git.example.com", "https://deploy.example.com"))
    assert told(secrets(mlops_git=both), Logins((place(), other))) == []


def test_of_two_repositories_of_one_server_the_one_that_asks_counts():
    read = (place(login=False), place("https://git.example.com/team/envs", login=True))
    (finding,) = told(secrets(mlops_git=None), Logins(read))
    assert finding.needed
    assert "https://git.example.com/team/envs asks for one" in finding.said


def test_a_secret_of_another_name_may_hold_the_login():
    accounts = {**(GOOD.accounts or {}), "mlops-fetch": frozenset({"mlops-git", "team-git"})}
    (finding,) = told(replace(secrets(mlops_git=None), accounts=accounts))
    assert not finding.needed
    assert "unless team-git holds it" in finding.said
    accounts["mlops-fetch"] = frozenset(
        {"mlops-git", "mlops-fetch-dockercfg-x7", "mlops-fetch-token-1"}
    )
    (finding,) = told(replace(secrets(mlops_git=None), accounts=accounts))
    assert finding.needed


@pytest.mark.parametrize(
    ("there", "remedy"),
    [
        (
            {},
            "kubectl create configmap mlops-settings -n shop --from-literal=MLOPS_REGISTRY_HTTP=r:5000",
        ),
        (
            {"MLOPS_REGISTRY_HTTP": "q:5000"},
            """-n shop --type merge -p '{"data":{"MLOPS_REGISTRY_HTTP":"q:5000,r:5000"}}'""",
        ),
        ({"UV_DEFAULT_INDEX": "x"}, """"MLOPS_REGISTRY_HTTP":"r:5000"}}'"""),
    ],
)
def test_a_registry_without_tls_must_be_told_to_pods(there, remedy):
    (finding,) = told(replace(GOOD, settings=there), Logins(settings=(SETTING,)))
    assert (finding.subject, finding.needed) == ("settings", True)
    assert "the registry r:5000 speaks plain HTTP, and the ConfigMap mlops-settings" in finding.said
    assert remedy in finding.remedy


def test_what_strangers_wrote_is_no_command_of_a_shell():
    hostile = place("https://$(touch x)/shop", login=None)
    for each in told(replace(GOOD, secrets={}), Logins((hostile,), (hostile,))):
        assert each.remedy.endswith("'tekton.dev/git-0=https://$(touch x)'")
    there = {"MLOPS_REGISTRY_HTTP": "$(touch x)'"}
    (finding,) = told(replace(GOOD, settings=there), Logins(settings=(SETTING,)))
    patch = shlex.split(finding.remedy)[-1]
    assert json.loads(patch) == {"data": {"MLOPS_REGISTRY_HTTP": "$(touch x)',r:5000"}}


def test_what_the_settings_say_is_fine():
    there = {"MLOPS_REGISTRY_HTTP": "q:5000, r:5000"}
    assert told(replace(GOOD, settings=there), Logins(settings=(SETTING,))) == []


def test_a_package_index_of_this_shell_is_a_note_that_shows_no_url():
    index = Setting("UV_DEFAULT_INDEX", "", "UV_DEFAULT_INDEX here names an index", False)
    (finding,) = told(GOOD, Logins(settings=(index,)))
    assert not finding.needed
    assert finding.remedy.endswith("--from-literal=UV_DEFAULT_INDEX=VALUE")
    assert told(replace(GOOD, settings={"UV_DEFAULT_INDEX": "x"}), Logins(settings=(index,))) == []


@pytest.mark.parametrize(
    ("there", "values"),
    [
        (
            {},
            ["--from-literal=MLOPS_REGISTRY_HTTP=r:5000", "--from-literal=UV_DEFAULT_INDEX=VALUE"],
        ),
        (
            {"MLOPS_REGISTRY_HTTP": "q:5000"},
            ['{"data":{"MLOPS_REGISTRY_HTTP":"q:5000,r:5000","UV_DEFAULT_INDEX":"VALUE"}}'],
        ),
        ({"MLOPS_REGISTRY_HTTP": "r:5000"}, ['{"data":{"UV_DEFAULT_INDEX":"VALUE"}}']),
    ],
)
def test_one_command_writes_all_settings_that_pods_lack(there, values):
    index = Setting("UV_DEFAULT_INDEX", "", "UV_DEFAULT_INDEX here names an index", False)
    (finding,) = told(replace(GOOD, settings=there), Logins(settings=(SETTING, index)))
    assert shlex.split(finding.remedy)[-len(values) :] == values
    lacks_registry = there != {"MLOPS_REGISTRY_HTTP": "r:5000"}
    assert ("(MLOPS_REGISTRY_HTTP, UV_DEFAULT_INDEX)" in finding.said) is lacks_registry
    assert finding.needed is lacks_registry


@pytest.mark.parametrize("login", [None, True])
def test_what_may_let_a_registry_answer_is_told_where_it_did_not(login):
    advice = "If it speaks plain HTTP, say so: export MLOPS_REGISTRY_HTTP=r:5000"
    images = Place("r:5000/ml", login, unheard=advice)
    (finding,) = told(secrets(mlops_registry=None), Logins(registry=images))
    assert finding.said.endswith(f". {advice}") is (login is None)


def test_what_may_not_be_seen_is_said_and_is_no_fault():
    hidden = replace(GOOD, secrets=None, settings=None)
    (finding,) = told(hidden, replace(WANTED, settings=(SETTING,)))
    assert (finding.subject, finding.needed) == ("settings", False)
    assert told(hidden) == []
