"""Pull requests as a person has them: real git, real DVC, forks that push what they like."""

from __future__ import annotations

import html
import json
import shutil

import pytest

TRAIN = "src/train.py"


def propose(project, number: int, files: dict[str, str], place: str = "refs/pull/{}/head") -> str:
    """A pull request from a fork: its commit, which no branch of the project has."""
    project.git("checkout", "-q", "--detach")
    for path, text in files.items():
        project.write(path, text)
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "Propose")
    sha = project.git("rev-parse", "HEAD").strip()
    project.git("push", "-q", "--force", "origin", f"HEAD:{place.format(number)}")
    project.git("checkout", "-q", "main")
    return sha


@pytest.mark.parametrize("place", ["refs/pull/{}/head", "refs/merge-requests/{}/head"])
def test_a_pull_request_is_planned_against_where_it_left_the_branch(project, place):
    sha = propose(project, 7, {TRAIN: "print('other')\n"}, place)
    project.write("src/serve.py", "print('later')\n")
    project.commit("Go on with main")  # of no concern to the pull request
    (plan,) = json.loads(project.mlops("plan", "--pull-request", "7", "-o", "json").stdout)
    assert plan["source"] == sha
    touched = {change["path"] for change in plan["impact"]}
    assert TRAIN in touched
    assert "src/serve.py" not in touched
    assert project.git("rev-parse", "--abbrev-ref", "HEAD").strip() == "main"


def test_the_comment_is_printed_as_markdown(project):
    sha = propose(project, 7, {TRAIN: "print('other')\n"})
    text = project.mlops("plan", "--pull-request", "7", "--markdown").stdout
    assert text.startswith("<!-- mlops pull-request spam-filter -->\n")
    assert f"Commit <code>{sha[:12]}</code>" in text or f"<code>{sha[:7]}</code>" in text
    assert f"{TRAIN} changed" in html.unescape(text)


def test_nothing_of_a_fork_is_carried_out_and_nothing_of_the_machine_told(project, tmp_path):
    secret = tmp_path / "params.yaml"
    secret.write_text("names: [hunter2]\n")
    hostile = (
        f"vars: ['{secret}']\nstages:\n  all:\n    foreach: ${{names}}\n"
        f"    do: {{cmd: 'touch {tmp_path}/ran', outs: ['${{item}}.txt']}}\n"
    )
    propose(project, 7, {"dvc.yaml": hostile})
    done = project.mlops("plan", "--pull-request", "7", code=1)
    text = project.mlops("plan", "--pull-request", "7", "--markdown").stdout
    assert "hunter2" not in done.stdout + done.stderr + text
    assert "not planned" in text
    assert not (tmp_path / "ran").exists()


def test_where_we_look_is_said_by_the_branch_and_not_by_the_fork(project):
    settings = (project.path / "mlops.yaml").read_text()
    propose(project, 7, {"mlops.yaml": settings.replace("spam-filter", "other-name")})
    text = project.mlops("plan", "--pull-request", "7", "--markdown").stdout
    assert text.startswith("<!-- mlops pull-request spam-filter -->\n")
    propose(project, 7, {"mlops.yaml": "no: [yaml"})
    done = project.mlops("plan", "--pull-request", "7", code=1)
    assert "mlops.yaml" in done.stderr


def test_what_is_wrong_is_said(project):
    done = project.mlops("plan", "--pull-request", "8", code=2)
    assert "origin has no pull request 8" in done.stderr
    assert "--pull-request" in project.mlops("plan", "--markdown", code=2).stderr
    assert (
        "planned, not run"
        in project.mlops("plan", "--pull-request", "8", "-o", "yaml", code=2).stderr
    )


def test_the_remote_of_a_fork_is_not_asked(project):
    """Whatever it names, and with whatever credentials are here: a plan needs none of its data."""
    propose(project, 7, {TRAIN: "1\n", ".dvc/config": "[core]\n    remote = gone\n"})
    shutil.rmtree(project.data)
    project.mlops("plan", "--pull-request", "7")
