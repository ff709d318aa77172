"""tekton/install as `mlops init` writes it."""

from __future__ import annotations

import re

import pytest
import yaml

from mlops import resources
from mlops.domain import giturl
from mlops.manifests import install
from mlops.manifests.install import Installation
from mlops.manifests.pods import ACCOUNTS

ROOT = resources.path("tekton/install")
TEMPLATES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted(ROOT.rglob("*.yaml"))}
DIGEST = f"sha256:{'a' * 64}"
SHOP = Installation(
    "shop",
    "shop-ml",
    "git@git.example.org:Ada/Shop.git",
    ("main", "rel/*"),
    f"ghcr.io/a/m@{DIGEST}",
)


def written(about: Installation = SHOP) -> dict[str, str]:
    return install.files(TEMPLATES, about)


def documents(text: str) -> list[dict]:
    return [each for each in yaml.safe_load_all(text) if each]


def filters(files: dict[str, str]) -> dict[str, str]:
    """The CEL filter behind the secret of each trigger."""
    (listener,) = documents(files["tekton/install/triggers/listener.yaml"])
    return {
        each["name"]: each["interceptors"][2]["params"][0]["value"]
        for each in listener["spec"]["triggers"]
    }


def test_the_reference_is_written_as_it_stands_for_its_own_project():
    about = Installation(
        "spam-filter", "spam-filter", "", ("main",), "ghcr.io/mlops-gitops/mlops:1"
    )
    changed = {name: text for name, text in written(about).items() if "newTag" not in text}
    assert changed
    assert all(
        text == TEMPLATES[name.removeprefix("tekton/install/")] for name, text in changed.items()
    )


def test_nothing_of_the_reference_project_is_left():
    left = re.compile(r"spam|example\.com|mlops-gitops|latest")
    assert [name for name, text in written().items() if left.search(text)] == []


def test_everything_is_in_the_projects_namespace_and_part_of_the_project():
    files = written()
    for name in ("", "triggers/"):
        (document,) = documents(files[f"tekton/install/{name}kustomization.yaml"])
        assert document["namespace"] == "shop-ml"
        assert document["images"] == [{"name": "mlops", "newName": "ghcr.io/a/m", "digest": DIGEST}]
    (deployment, settings) = documents(files["tekton/install/watch.yaml"])
    assert deployment["metadata"]["labels"]["app.kubernetes.io/part-of"] == "shop"
    assert settings["data"]["MLOPS_REPOSITORY"] == "git@git.example.org:Ada/Shop.git"


def test_a_push_is_of_this_repository_and_of_a_branch_that_is_tracked():
    for text in filters(written()).values():
        assert '.lowerAscii() == "ada/shop"' in text
        assert r'matches("^refs/heads/(main|rel/.*)$")' in text


@pytest.mark.parametrize(
    ("glob", "takes", "leaves"),
    [
        ("main", ["main"], ["main2", "x/main"]),
        ("v1.2", ["v1.2"], ["v1x2"]),
        ("rel/*", ["rel/1", "rel/a/b"], ["rel"]),
        ("r?", ["r1"], ["r", "r12"]),
        ("r[0-9]", ["r4"], ["rx", "r-"]),
        ("r[!a]", ["rb"], ["ra"]),
        ("a|b$(c)", ["a|b$(c)"], ["a", "b"]),
    ],
)
def test_globs_of_branches_are_patterns_of_refs(glob, takes, leaves):
    pattern = re.compile(install._pattern((glob,)))
    assert all(pattern.search(f"refs/heads/{name}") for name in takes)
    assert not any(pattern.search(f"refs/heads/{name}") for name in leaves)


def test_names_of_strangers_stay_text():
    wild = "https://git.example.org/a\"b\\'$(x)/c: d.git"
    about = Installation("shop", "shop", wild, ('m"\\', "it's"), f"ghcr.io/a/m@{DIGEST}")
    files = written(about)
    assert documents(files["tekton/install/watch.yaml"])[1]["data"]["MLOPS_REPOSITORY"] == wild
    for text in filters(files).values():
        assert '"a\\"b\\\\\'$(x)/c: d"' in text


def test_each_account_that_runs_name_is_there_and_has_no_token():
    made = documents(written()["tekton/install/accounts.yaml"])
    accounts = {each["metadata"]["name"]: each for each in made if each["kind"] == "ServiceAccount"}
    assert set(ACCOUNTS.values()) == set(accounts) - {"mlops-watch"}
    for name in ACCOUNTS.values():
        assert accounts[name]["automountServiceAccountToken"] is False
    assert "secrets" not in accounts["mlops-train"]


def test_the_job_of_a_push_is_the_watcher_looking_once():
    files = written()
    (_, template) = documents(files["tekton/install/triggers/template.yaml"])
    (job,) = template["spec"]["resourcetemplates"]
    ours = job["spec"]["template"]["spec"]
    theirs = documents(files["tekton/install/watch.yaml"])[0]["spec"]["template"]["spec"]
    assert ours.pop("restartPolicy") == "Never"
    ours["containers"][0]["command"].remove("--once")
    assert ours == theirs


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://ada:token@git.example.org/team/shop.git", "team/shop"),
        ("ssh://git@git.example.org:2222/team/sub/shop", "team/sub/shop"),
        ("git@git.example.org:team/shop.git", "team/shop"),
    ],
)
def test_what_a_forge_calls_a_repository(url, path):
    assert giturl.path(url) == path


def test_the_watchers_containers_leave_word_of_why_they_ended():
    watcher, *_ = documents(written()["tekton/install/watch.yaml"])
    pod = watcher["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_namespace_that_the_files_make_is_read_from_them():
    text = written()[install.KUSTOMIZATION]
    assert install.namespace(text.encode()) == "shop-ml"
    made = documents(written()["tekton/install/namespace.yaml"])[0]["metadata"]["name"]
    assert install.remedy(made, "shop-ml") == install.APPLY


@pytest.mark.parametrize("text", [b"", b"[", b"- namespace", b"namespace:", b"\xff", b"{}"])
def test_what_names_no_namespace_is_none(text):
    assert install.namespace(text) == ""
