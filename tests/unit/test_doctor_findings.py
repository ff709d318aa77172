"""What doctor says of a machine and a project."""

from __future__ import annotations

import pytest

from mlops.engine.doctor import Machine, Setup, machine, project
from mlops.engine.init import TAGS

GOOD = Machine("git version 2.39", (), "", "kubectl kustomize")
FINE = Setup((), "oci:.mlops/registry", True, "Rosa <rosa@example.com>", False)


class Tree:
    """A checkout in memory."""

    def __init__(self, content, *, remote=("origin", "/r.git"), fetches=(TAGS,)):
        self.content, self._remote, self._fetches = content, remote, fetches

    def files(self):
        return tuple(self.content)

    def text(self, path):
        return self.content.get(path)

    def remote(self):
        return self._remote

    def fetches(self, remote):
        return self._fetches


def wrong(findings):
    return {f.subject: f for f in findings if not f.fine}


def test_a_good_machine_has_nothing_to_mend():
    assert wrong(machine(GOOD)) == {}


def test_git_is_needed_and_the_rest_is_not():
    found = wrong(machine(Machine("", ("bwrap is not installed",), "apt install bubblewrap", "")))
    assert {s: f.needed for s, f in found.items()} == {
        "git": True,
        "sandbox": False,
        "kustomize": False,
    }
    assert found["sandbox"].remedy == "apt install bubblewrap"
    assert "bwrap is not installed" in found["sandbox"].said
    assert all(f.remedy for f in found.values())


def test_a_good_project_has_nothing_to_mend():
    tree = Tree({".gitignore": "/.mlops/\n", "dvc.yaml": "", ".dvc/config": "['remote \"s\"']\n"})
    assert wrong(project(tree, FINE)) == {}


def test_no_project():
    (finding,) = project(Tree({}), None)
    assert (finding.needed, finding.fine, finding.remedy) == (True, False, "mlops init --yes")


@pytest.mark.parametrize(
    ("tree", "setup", "subject", "needed", "remedy"),
    [
        (Tree({}), FINE, ".gitignore", False, "echo .mlops/ >> .gitignore"),
        (Tree({}, remote=("", "")), FINE, "git remote", False, "git remote add origin URL"),
        (
            Tree({}, fetches=("+refs/heads/*:refs/remotes/origin/*",)),
            FINE,
            "release tags",
            False,
            f"git config --add remote.origin.fetch '{TAGS}'",
        ),
        (Tree({"a/dvc.yaml": ""}), FINE, "DVC", True, "dvc init"),
        (
            Tree({"d.dvc": "", ".dvc/config": "[core]\n"}),
            FINE,
            "DVC remote",
            True,
            "dvc remote add --default NAME URL",
        ),
        (
            Tree({}),
            Setup(("mlops.lock: not there. Run mlops lock",), "", True, "a", False),
            "configuration",
            True,
            "mlops lock",
        ),
        (
            Tree({}),
            Setup(("mlops.yaml:3: kind: expected Project",), "", True, "a", False),
            "configuration",
            True,
            "mlops config check",
        ),
        (
            Tree({}),
            Setup((), "", True, "", False),
            "identity",
            False,
            'git config user.name "Your Name"',
        ),
        (Tree({}), Setup((), "", True, "a", True), "history", False, "git fetch --unshallow"),
        (
            Tree({}),
            Setup((), "", True, "a", False, 3),
            "claims",
            False,
            "allow this user to push refs/mlops/* there; then: mlops watch --once",
        ),
        (
            Tree({".github/renovate.json5": "{}"}),
            FINE,
            "other writers",
            False,
            "keep it away from environments/",
        ),
        (
            Tree({"flux.yaml": "kind: ImageUpdateAutomation\n"}),
            FINE,
            "other writers",
            False,
            "keep it away from environments/",
        ),
    ],
)
def test_what_is_wrong_has_its_remedy(tree, setup, subject, needed, remedy):
    found = wrong(project(tree, setup))
    assert (found[subject].needed, found[subject].remedy) == (needed, remedy)


def test_a_branch_of_its_own_needs_no_hint():
    here = {f.subject for f in project(Tree({}), FINE)}
    apart = {f.subject for f in project(Tree({}), Setup((), "", False, "a", False))}
    assert here - apart >= {"GitOps branch"}
