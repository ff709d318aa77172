"""The files that init writes, and what it says about them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from mlops import __version__, resources
from mlops.config.environment import parse_environment
from mlops.config.project import parse_project
from mlops.domain.digest import Digest
from mlops.domain.discovery import FoundModel
from mlops.engine.init import TAGS, Order, Templates, plan, write
from mlops.manifests import kustomization, scaffold

ROOT = resources.path("environments")
INSTALL = resources.path("tekton/install")
INSTALLS = {
    str(path.relative_to(INSTALL)): path.read_text() for path in sorted(INSTALL.rglob("*.yaml"))
}
TOOL = f"ghcr.io/ada/mlops@{Digest('a' * 64)}"
TEMPLATES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted(ROOT.rglob("*.yaml"))}


@dataclass
class FakeCheckout:
    """A work tree in memory."""

    content: dict[str, str] = field(default_factory=dict)
    on: str = "main"
    url: str = "https://example.com/shop.git"
    specs: list[str] = field(default_factory=list)
    root: Path = Path("/nowhere/shop")

    def files(self):
        return tuple(sorted(self.content))

    def text(self, path):
        return self.content.get(path)

    def create(self, path, content):
        if path in self.content:
            return False
        self.content[path] = content
        return True

    def append(self, path, lines):
        self.content[path] = self.content.get(path, "") + lines

    def branch(self):
        return self.on

    def remote(self):
        return ("origin", self.url) if self.url else ("", "")

    def fetches(self, remote):
        return tuple(self.specs)

    def add_fetch(self, remote, refspec):
        self.specs.append(refspec)


def planned(tree, **order):
    templates = Templates(TEMPLATES, "branch: @BRANCH@ @VERSION@\n", INSTALLS, TOOL)
    return plan(tree, templates, Order(**order))


def project_with(text='joblib.dump(m, "spam.pkl")'):
    return FakeCheckout({"train.py": text, "requirements.txt": "x\n"})


def test_the_reference_environments_stay_as_they_are():
    files = scaffold.environments(TEMPLATES, "spam-filter", ("spam",), "environments")
    assert files == {f"environments/{name}": text for name, text in TEMPLATES.items()}


def test_each_model_has_its_entries():
    files = scaffold.environments(TEMPLATES, "shop", ("uk", "fr"), "environments")
    overlay = yaml.safe_load(files["environments/dev/kustomization.yaml"])
    assert overlay["images"] == [{"name": "uk"}, {"name": "fr"}]
    assert [r["source"]["name"] for r in overlay["replacements"]] == ["uk", "fr"]
    assert overlay["resources"] == ["namespace.yaml", "../base"]
    assert overlay["namespace"] == "shop-dev"
    namespace = yaml.safe_load(files["environments/dev/namespace.yaml"])
    assert namespace["metadata"]["name"] == "shop-dev"
    prod = yaml.safe_load(files["environments/prod/kustomization.yaml"])
    assert prod["replicas"] == [{"name": "uk", "count": 2}, {"name": "fr", "count": 2}]
    base = yaml.safe_load(files["environments/base/kustomization.yaml"])
    assert base["resources"] == ["uk.yaml", "fr.yaml"]
    assert "spam" not in "".join(files.values())


@pytest.mark.parametrize("model", ["spam-filter", "spam-2", "filter", "x"])
def test_names_that_look_like_the_reference_are_kept_apart(model):
    files = scaffold.environments(TEMPLATES, "spam", (model,), "environments")
    documents = list(yaml.safe_load_all(files[f"environments/base/{model}.yaml"]))
    assert {d["metadata"]["name"] for d in documents} == {model}
    labels = documents[0]["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "spam"


def test_policies_are_what_environments_are_read_as():
    names = ("dev", "staging", "prod")
    policies = {
        name: parse_environment(
            TEMPLATES[f"{name}/environment.yaml"].encode(), name, "environment.yaml", names
        )
        for name in names
    }
    assert [policies[n].sources for n in names] == [(), ("dev",), ("staging",)]
    assert [policies[n].auto for n in names] == [False, True, False]


def test_a_pin_is_one_line_more():
    text = TEMPLATES["dev/kustomization.yaml"].encode()
    digest = Digest("1" * 64)
    new = kustomization.with_pin(text, "spam", digest, "kustomization.yaml")
    old, now = text.splitlines(), new.splitlines()
    assert len(now) == len(old) + 1
    assert [line for line in now if line not in old] == [f"    digest: {digest}".encode()]


def test_odd_texts_are_quoted_in_mlops_yaml():
    model = FoundModel(
        name="m",
        command=("sh", "-c", 'cd "a b" && python \\ x: #y'),
        env=(("A", "no"), ("B", "1e3")),
        artifact="a b/model.pkl",
        paths=("**", "!docs", "*.md"),
        stages=(),
    )
    project = parse_project(scaffold.project("p", "feature/#1", [model], {}).encode())
    found = project.model("m")
    assert found.train.command == model.command
    assert found.train.env == model.env
    assert found.artifact == model.artifact
    assert found.paths == model.paths
    assert project.branches == ("feature/#1",)


def test_everything_is_new_in_a_fresh_repository():
    tree = project_with()
    found = planned(tree)
    written = write(tree, found)
    assert found.kept == ()
    assert set(written) == {*found.files, ".gitignore"}
    assert tree.content[".gitignore"] == ".mlops/\n"
    assert tree.specs == [TAGS]
    assert tree.content[".github/workflows/mlops.yml"] == f"branch: main {__version__}\n"
    project = parse_project(tree.content["mlops.yaml"].encode())
    assert (project.name, project.names, project.branches) == ("shop", ("spam",), ("main",))
    assert found.commands[-1] == "mlops run"


def test_a_second_time_changes_nothing():
    tree = project_with()
    write(tree, planned(tree))
    before = dict(tree.content)
    again = planned(tree)
    assert again.files == {}
    assert again.ignored == ()
    assert again.fetch == ""
    assert write(tree, again) == ()
    assert tree.content == before


def test_what_is_there_is_never_overwritten():
    tree = project_with()
    tree.content["environments/dev/environment.yaml"] = "mine\n"
    found = planned(tree)
    write(tree, found)
    assert tree.content["environments/dev/environment.yaml"] == "mine\n"
    assert found.kept == ("environments/dev/environment.yaml",)


def test_a_file_that_appears_meanwhile_is_left_alone():
    tree = project_with()
    found = planned(tree)
    tree.content["mlops.yaml"] = "mine\n"
    assert "mlops.yaml" not in write(tree, found)
    assert tree.content["mlops.yaml"] == "mine\n"


def test_a_model_that_was_added_by_hand_gets_its_files():
    tree = project_with()
    write(tree, planned(tree))
    tree.content["mlops.yaml"] += "  fraud: {artifact: fraud.pkl}\n"
    found = planned(tree)
    assert list(found.files) == ["environments/base/fraud.yaml"]


def test_an_overlay_of_an_earlier_version_gets_no_file_that_it_does_not_list():
    tree = project_with()
    write(tree, planned(tree))
    del tree.content["environments/dev/namespace.yaml"]
    again = planned(tree)
    assert again.files == {}
    assert "environments/dev/namespace.yaml" not in again.kept
    del tree.content["environments/dev/kustomization.yaml"]
    assert set(planned(tree).files) == {
        "environments/dev/kustomization.yaml",
        "environments/dev/namespace.yaml",
    }


def test_pins_may_live_elsewhere():
    tree = project_with()
    found = planned(tree, gitops_branch="mlops-environments")
    project = parse_project(found.files["mlops.yaml"].encode())
    assert project.gitops.branch == "mlops-environments"
    said = "\n".join(found.commands)
    assert "git switch --orphan mlops-environments && git add environments" in said
    assert "environments" not in found.commands[0]  # stays off the source's branch
    found = planned(tree, gitops_url="https://example.com/deploy.git")
    project = parse_project(found.files["mlops.yaml"].encode())
    assert project.gitops.url == "https://example.com/deploy.git"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": ""}, "no git remote"),
        ({"on": ""}, "no branch is checked out"),
        ({"url": "https://gitlab.com/a/b.git"}, "no CI workflow for this forge"),
    ],
)
def test_what_is_missing_is_said(change, said):
    tree = project_with()
    for name, value in change.items():
        setattr(tree, name, value)
    found = planned(tree)
    assert any(said in line for line in (*found.missing, *found.assumed))


def test_runs_on_a_cluster_are_told_the_namespace_that_the_installation_is_for():
    tree = project_with()
    fresh = planned(tree).files["mlops.yaml"]
    (told,) = (line for line in fresh.splitlines() if line.startswith("executor: local"))
    name = parse_project(fresh.encode()).name
    assert told.endswith(f"# or tekton, with cluster: {{namespace: {name}}}, as tekton/install is")
    tree.content["mlops.yaml"] = fresh.replace("executor: local", "executor: tekton")

    def unplaced() -> list[str]:
        return [line for line in planned(tree).missing if line.startswith("no namespace for runs")]

    (line,) = unplaced()
    assert f"(write cluster: {{namespace: {name}}} into mlops.yaml)" in line
    tree.content["tekton/install/kustomization.yaml"] = "namespace: ml\n"
    (line,) = unplaced()
    assert "(write cluster: {namespace: ml} into mlops.yaml)" in line
    tree.content["mlops.yaml"] += "cluster: {namespace: ml}\n"
    assert unplaced() == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [(None, "no .dvc directory"), ("[core]\n", "no DVC remote"), ("['remote \"s\"']\n", None)],
)
def test_dvc_without_a_remote_is_said(settings, said):
    tree = FakeCheckout({"dvc.yaml": "stages: {train: {cmd: c, outs: [spam.pkl]}}\n"})
    if settings is not None:
        tree.content[".dvc/config"] = settings
    lines = [line for line in planned(tree).missing if "DVC" in line or "dvc" in line]
    assert bool(lines) == (said is not None)
    assert all(said in line for line in lines)


def test_a_broken_mlops_yaml_is_refused_with_its_line():
    tree = project_with()
    tree.content["mlops.yaml"] = "apiVersion: mlops/v1\nkind: Projekt\n"
    with pytest.raises(Exception, match=r"mlops\.yaml:2"):
        planned(tree)


def test_the_projects_own_name_comes_first():
    tree = project_with()
    tree.content["pyproject.toml"] = '[project]\nname = "Fine_Wines"\ndependencies = []\n'
    assert tomllib.loads(tree.content["pyproject.toml"])
    assert "name: fine-wines" in planned(tree).files["mlops.yaml"]


def test_what_a_cluster_needs_is_written_without_the_login_of_the_remote():
    tree = project_with()
    tree.url = "https://ada:hunter2@git.example.org/team/shop.git"
    found = planned(tree)
    assert "tekton/install/triggers/listener.yaml" in found.files
    assert not any("hunter2" in text for text in found.files.values())
    watch = found.files["tekton/install/watch.yaml"]
    assert '"https://git.example.org/team/shop.git"' in watch
    assert f"digest: sha256:{'a' * 64}" in found.files["tekton/install/kustomization.yaml"]
    assert found.commands[0].count("tekton/install") == 1


def test_a_repository_that_no_pod_reaches_stays_an_example():
    tree = project_with()
    tree.url = "/srv/git/shop.git"
    assert (
        "https://git.example.com/team/spam-filter.git"
        in planned(tree).files["tekton/install/watch.yaml"]
    )


def test_what_a_cluster_needs_is_for_the_namespace_that_mlops_yaml_names():
    tree = project_with()
    tree.content["mlops.yaml"] = (
        "apiVersion: mlops/v1\nkind: Project\nname: shop\nbranches: [main, 'rel/*']\n"
        "cluster: {namespace: ml, repository: 'https://git.internal/team/shop.git'}\n"
        "models: {spam: {artifact: spam.pkl, train: {command: [make]}}}\n"
    )
    found = planned(tree).files
    assert "namespace: ml\n" in found["tekton/install/kustomization.yaml"]
    assert "https://git.internal/team/shop.git" in found["tekton/install/watch.yaml"]
    assert "(main|rel/.*)" in found["tekton/install/triggers/listener.yaml"]
