"""What a tired person meets: typos on the branch, things not pushed, the wrong place."""

from __future__ import annotations

import json
import signal
import subprocess
import sys


def test_a_broken_configuration_does_not_hold_up_an_incident(live):
    live.write("params.yaml", "train: {accuracy: 0.8}\n")
    live.commit("Another")
    live.mlops("run", "--quiet")
    live.mlops("promote", "spam@dev")
    live.mlops("promote", "spam@staging")
    before = live.pinned("prod")
    text = (live.path / "mlops.yaml").read_text()
    live.write("mlops.yaml", text + "name: twice\n")
    live.commit("A typo")
    done = live.mlops("rollback", "prod", "--reason", "3am", "--yes")
    assert "duplicate key" in done.stderr
    assert "going by mlops.yaml of" in done.stderr
    assert live.pinned("prod") != before
    assert live.mlops("run", code=2).stdout == ""


def test_what_was_not_pushed_is_told_at_once(project):
    project.run("git", "--git-dir", str(project.remote), "update-ref", "-d", "refs/heads/main")
    done = project.mlops("run", code=2)
    assert "environments/dev/kustomization.yaml is not on the GitOps branch main" in done.stderr
    assert "git push" in done.stderr
    assert project.git("ls-remote", "origin", "refs/mlops/*") == ""
    project.git("push", "-q", "origin", "main")
    assert project.mlops("run", "--quiet").stdout.startswith("spam@sha256:")


def test_a_dry_run_is_the_plan(live):
    live.write("params.yaml", "train: {accuracy: 0.85}\n")
    live.commit("Another")
    refs, tip = live.git("ls-remote", "origin"), live.tip()
    done = live.mlops("run", "--dry-run")
    assert done.stdout == live.mlops("plan").stdout
    assert "train     params.yaml: train.accuracy 0.9 → 0.85" in done.stdout
    assert "nothing was run: --dry-run" in done.stderr
    document = live.mlops("run", "--dry-run", "--output", "yaml").stdout
    assert document == live.mlops("plan", "--output", "yaml").stdout
    assert "kind: PipelineRun" in document
    assert (live.git("ls-remote", "origin"), live.tip()) == (refs, tip)


def test_requirements_that_changed_since_they_were_locked_are_refused(live):
    live.write("requirements.txt", "idna\n")
    text = (live.path / "mlops.yaml").read_text()
    live.write(
        "mlops.yaml", text.replace("base: host,", "base: host, requirements: requirements.txt,")
    )
    live.commit("Use a library")
    done = live.mlops("run", code=2)
    assert "requirements.txt changed since it was locked" in done.stderr
    assert "mlops lock" in done.stderr


def test_a_model_follows_its_packages_where_its_stage_names_the_lock(live):
    live.write("requirements.txt", "idna\n")
    text = (live.path / "mlops.yaml").read_text()
    live.write(
        "mlops.yaml", text.replace("base: host,", "base: host, requirements: requirements.txt,")
    )
    live.mlops("lock")
    live.commit("Use a library")
    assert "add requirements.lock to the deps of its stage" in live.mlops("plan").stdout
    stages = (live.path / "dvc.yaml").read_text()
    live.write("dvc.yaml", stages.replace("src/train.py]", "src/train.py, requirements.lock]"))
    live.commit("Train with the library")
    done = live.mlops("run")
    assert "trained with other packages" not in done.stderr
    assert "Running stage 'train'" in done.stderr
    tag = json.loads(live.mlops("show", "spam@dev", "--output", "json").stdout)[0]["dvc"]["tag"]
    assert "path: requirements.lock" in live.git("show", f"{tag}:dvc.lock")


def test_ctrl_c_in_the_middle_and_again(live):
    live.write(
        "src/train.py", (live.path / "src/train.py").read_text() + "\nimport time\ntime.sleep(8)\n"
    )
    live.commit("Take long")
    running = subprocess.Popen(
        [sys.executable, "-m", "mlops", "run"],
        cwd=live.path,
        env=live.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in running.stderr:
        if "Running stage" in line:
            break
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert "interrupted" in told
    again = live.mlops("run", "--quiet")
    assert live.pinned("dev") == again.stdout.strip().partition("@")[2]


def test_outside_a_repository_and_for_revisions_that_are_none(live, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = live.run(sys.executable, "-m", "mlops", "status", cwd=elsewhere, code=2)
    assert "no mlops.yaml here or above: run mlops init" in done.stderr
    live.mlops("status", "--repo", str(tmp_path / "nowhere"), code=2)
    assert "no commit 'nosuch'" in live.mlops("plan", "nosuch", code=2).stderr


def test_a_dirty_tree_a_detached_head_and_a_shallow_clone(live, tmp_path):
    live.write("src/new.py", "x = 1\n")
    assert "1 uncommitted file left out" in live.mlops("run").stderr
    live.git("checkout", "-q", "--detach")
    assert json.loads(live.mlops("plan", "--output", "json").stdout)[0]["model"] == "spam"
    shallow = tmp_path / "shallow"
    live.run("git", "clone", "-q", "--depth=1", f"file://{live.remote}", str(shallow))
    done = live.run(sys.executable, "-m", "mlops", "run", cwd=shallow, code=None)
    assert done.returncode in (0, 3)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert "git fetch --unshallow" in done.stderr


def test_an_empty_repository(tmp_path, live):
    empty = tmp_path / "empty"
    live.run("git", "init", "-q", str(empty))
    done = live.run(sys.executable, "-m", "mlops", "run", cwd=empty, code=2)
    assert "run mlops init" in done.stderr


def test_without_a_remote_the_local_branch_is_the_truth(live):
    live.git("merge", "-q", "--ff-only", live.tip())
    live.git("remote", "remove", "origin")
    live.write("params.yaml", "train: {accuracy: 0.85}\n")
    live.git("commit", "-q", "-am", "Alone")
    released = live.mlops("run", "--quiet").stdout.strip()
    assert (
        released.partition("@")[2]
        in (live.path / "environments/dev/kustomization.yaml").read_text()
    )
    assert live.git("status", "--porcelain") == ""
    assert live.mlops("run").stdout.strip() == released
