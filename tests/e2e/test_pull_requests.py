"""Pull requests as a person has them: real git, real DVC, forks that push what they like."""

from __future__ import annotations

import html
import json
import shutil

import pytest

from tests.fakes.forges.server import TOKEN, Fault
from tests.fakes.forges.talk import TalkingGitea

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


@pytest.fixture
def forge(live):
    """A forge that has the project's remote, and comments on its pull requests."""
    with TalkingGitea() as fake:
        text = (live.path / "mlops.yaml").read_text()
        place = f"forge: {{kind: gitea, url: '{fake.api}', repository: ada/ml}}\n"
        live.write("mlops.yaml", f"{text}{place}pull-requests: {{plan: true}}\n")
        live.env.update(MLOPS_FORGE_TOKEN=TOKEN, MLOPS_FORGE_HOST=fake.host)
        live.commit("Comment on pull requests")
        yield fake


def bodies(forge, number: int = 1) -> list[str]:
    return [html.unescape(each.body) for each in forge.comments.get(number, ())]


def test_a_watcher_comments_before_the_merge_and_after_it(live, forge):
    sha = propose(live, 1, {"params.yaml": "train: {accuracy: 0.8}\n"})
    forge.propose("mallory", sha)
    forge.faults += [Fault(503, path="/comments$")] * 40
    done = live.mlops("watch", "--once")
    assert "pull request 1 is told later" in done.stderr, done.stderr
    assert bodies(forge) == []
    forge.faults.clear()

    live.mlops("watch", "--once")
    (before,) = bodies(forge)
    assert "what this pull request would do" in before
    assert "params.yaml: train.accuracy 0.9 → 0.8" in before
    written = len(forge.writes())
    live.mlops("watch", "--once")
    assert len(forge.writes()) == written

    live.git("fetch", "-q", "origin", "refs/pull/1/head")
    live.git("pull", "-q", "--rebase", "origin", "main")
    live.git("merge", "-q", "--no-ff", "-m", "Merge it", sha)
    live.git("push", "-q", "origin", "main")
    forge.merge_at(1, live.git("rev-parse", "HEAD"))
    live.mlops("watch", "--once")
    live.mlops("watch", "--once")
    (after,) = bodies(forge)
    assert "### mlops: released" in after
    assert f"<code>spam@{live.pinned('dev')}</code>" in after
    assert (
        "| <code>accuracy</code> | <code>0.9</code> | <code>0.8</code> | <code>-0.1</code> |"
        in after
    )
    assert "| <code>accuracy ≥ 0.5</code> | <code>0.8</code> | ✅ <code>pass</code> |" in after


def test_a_command_comments_once_and_again_only_where_it_differs(live, forge):
    sha = propose(live, 1, {TRAIN: "print('other')\n"})
    forge.propose("mallory", sha)
    argv = ("plan", "--pull-request", "1", "--comment")
    assert "is written" in live.mlops(*argv).stderr
    assert "says so already" in live.mlops(*argv).stderr
    (body,) = bodies(forge)
    assert f"{TRAIN} changed" in body
    forge.faults += [Fault(503)] * 8
    live.mlops(*argv, code=3)
    done = live.mlops(*argv, code=2, MLOPS_FORGE_TOKEN="")
    assert "no forge to speak to" in done.stderr


def test_a_fork_leads_the_token_nowhere(live, forge):
    """Where the forge is is said by the branch, also where the pull request itself is checked out."""
    text = (live.path / "mlops.yaml").read_text()
    with TalkingGitea() as other:
        sha = propose(live, 1, {"mlops.yaml": text.replace(forge.api, other.api)})
        forge.propose("mallory", sha)
        live.git("checkout", "-q", sha)
        live.mlops("plan", "--pull-request", "1", "--comment", MLOPS_FORGE_HOST=other.host, code=2)
        assert other.asked == []
        live.mlops("plan", "--pull-request", "1", "--comment")
        assert other.asked == []
        assert len(bodies(forge)) == 1


def claims(project) -> dict[str, dict]:
    """Run → the document of its claim, as the remote has it."""
    project.git("fetch", "-q", "origin", "+refs/mlops/runs/*:refs/mlops/runs/*")
    refs = project.git("for-each-ref", "--format=%(refname)", "refs/mlops/runs/").split()
    return {
        ref.rpartition("/")[2]: json.loads(project.git("cat-file", "blob", ref)) for ref in refs
    }


def of_pulls(project) -> list[dict]:
    return [each for each in claims(project).values() if each.get("ref") == "refs/pull/1/head"]


@pytest.mark.timeout(900)
def test_a_fork_runs_once_it_is_approved_by_the_definition_of_the_branch_and_is_not_pinned(
    live, forge
):
    settings = (live.path / "mlops.yaml").read_text()
    live.write("mlops.yaml", settings.replace("{plan: true}", "{plan: true, run: approved}"))
    live.commit("Run approved pull requests")
    theirs = settings.replace("min: 0.5", "min: 0.0").replace("name: spam-filter", "name: evil")
    files = {"mlops.yaml": theirs, "params.yaml": "train: {accuracy: 0.8}\n"}
    sha = propose(live, 1, {**files, ".dvc/config": "[core]\n    remote = gone\n"})
    forge.propose("mallory", sha)
    live.mlops("watch", "--once")
    pinned = live.pinned("dev")
    forge.comment(1, "mallory", f"/ok-to-test {sha}")
    live.mlops("watch", "--once")
    live.mlops("watch", "--once")
    assert of_pulls(live) == []
    assert any(f"`/ok-to-test {sha}`" in each for each in bodies(forge))

    forge.comment(1, "rosa", f"/ok-to-test {sha}")
    live.mlops("watch", "--once")
    live.mlops("watch", "--once")
    (claim,) = of_pulls(live)
    assert claim["outcome"] == "succeeded", claim
    assert live.pinned("dev") == pinned
    live.git("fetch", "-q", "origin", f"refs/mlops/approved/{sha}")
    ran = live.git("rev-parse", "FETCH_HEAD")
    assert claim["source"] == ran
    assert live.git("rev-parse", f"{ran}^") == sha
    for path in ("mlops.yaml", ".dvc/config", "mlops.lock"):
        assert live.git("show", f"{ran}:{path}") == live.git("show", f"origin/main:{path}")
    assert "0.8" in live.git("show", f"{ran}:params.yaml")
    live.mlops("watch", "--once")
    text = next(each for each in bodies(forge) if each.startswith("<!-- mlops"))
    assert "### mlops: released" in text
    assert "<code>-0.1</code>" in text

    later = propose(live, 1, {"params.yaml": "train: {accuracy: 0.7}\n"})
    forge.pulls[0].head = later
    live.mlops("watch", "--once")
    live.mlops("watch", "--once")
    assert len(of_pulls(live)) == 1

    again = live.mlops("run", ran, "--again", "--quiet")
    assert again.stdout.startswith("spam@")
    assert live.pinned("dev") == pinned
