"""fetch and data: what stands in the workspace before training."""

import pytest

from mlops.errors import GitError, RefusedError, UsageError
from mlops.steps import credentials, fetch
from mlops.steps.state import State


def test_the_tree_is_the_commit_not_the_work_tree(play):
    (play.work / "params.yaml").write_text("weight: 0.1\n")
    (play.work / "stray").write_text("no")
    run = play.run()
    (run.source / "left-by-an-attempt").mkdir()
    run.step("fetch")
    assert (run.source / "params.yaml").read_text() == "weight: 0.75\n"
    names = {path.name for path in run.source.iterdir()}
    assert names.isdisjoint({"stray", "left-by-an-attempt", ".git", ".mlops"})
    assert "started" in State(run.state).read("started.json")


def release_with(play, files):
    """The tag of a release of HEAD, known to the remote alone, that keeps these files."""
    source = play.head()
    for name, text in files.items():
        (play.work / name).write_text(text)
    play.git("checkout", "-q", "--detach")
    play.git("add", "-f", *files)
    play.git("commit", "-q", "-m", "recorded")
    play.git("push", "-q", "origin", f"HEAD:refs/tags/mlops/spam/{'d' * 12}")
    play.git("checkout", "-q", "main")
    return {"baseline": f"sha256:{'d' * 64}", "since": str(source)}


RECORDED = {"dvc.lock": "schema: '2.0'\nstages: {}\n", "metrics.json": '{"accuracy": 0.6}'}


def test_what_the_release_before_recorded_is_laid_over(play):
    baseline = release_with(play, RECORDED)
    run = play.run(source=play.commit({"README": "words"}), **baseline)
    run.step("fetch")
    for name, text in RECORDED.items():
        assert (run.source / name).read_text() == text


def test_the_users_own_newer_lock_wins(play):
    baseline = release_with(play, RECORDED)
    own = "schema: '2.0'\nstages:\n  prepare: {cmd: x}\n"
    run = play.run(source=play.commit({"dvc.lock": own}), **baseline)
    run.step("fetch")
    assert (run.source / "dvc.lock").read_text() == own
    assert not (run.source / "metrics.json").exists()


def test_a_baseline_without_its_tag_is_said(play, capsys):
    run = play.run(baseline=f"sha256:{'e' * 64}", since=str(play.head()))
    run.step("fetch")
    assert f"there is no tag mlops/spam/{'e' * 12}" in capsys.readouterr().out


def test_a_repository_by_url_is_cloned_into_the_state(play, capsys):
    baseline = release_with(play, RECORDED)
    run = play.run(repository=f"file://{play.remote}", **baseline)
    run.step("fetch")
    assert (run.source / "src/train.py").is_file()
    assert (run.source / "dvc.lock").read_text() == RECORDED["dvc.lock"]
    assert State(run.state).git.is_dir()
    run.step("fetch")  # a second attempt finds the clone


def test_a_commit_that_is_not_there(play):
    run = play.run(repository=f"file://{play.remote}", source=play.commit({"x": "1"}, push=False))
    with pytest.raises(GitError, match="is not in file://"):
        run.step("fetch")


def test_a_url_that_is_an_option_or_a_program_starts_nothing(play, tmp_path):
    for url in (f"ext::sh -c touch% {tmp_path}/owned", f"--upload-pack=touch {tmp_path}/owned"):
        with pytest.raises(GitError):
            play.run(repository=url).step("fetch")
    assert not (tmp_path / "owned").exists()


def test_a_step_that_is_called_by_hand_says_so(play):
    with pytest.raises(UsageError, match="PARAM_SOURCE is not set"):
        fetch.run({"MLOPS_STATE": str(play.root), "PARAM_REPOSITORY": str(play.work)})


def test_data_comes_with_the_users_credentials_and_leaves_none(play):
    """Their config.local says where the remote really is; training must not read it."""
    moved = play.root / "moved"
    (play.root / "dvc-store").rename(moved)
    local = play.work / ".dvc/config.local"
    local.write_text(
        "['remote \"store\"']\n    url = ../../moved\n"
        "['remote \"far\"']\n    url = ssh://ana@host.invalid/data\n    password = hunter2\n"
    )
    run = play.run().upto("fetch")
    run.step("data")
    assert (run.source / "data/train.csv").read_text() == "a,b\n1,2\n"
    left = [path for path in (run.source / ".dvc").rglob("*") if path.is_file()]
    assert left
    for path in left:
        assert b"hunter2" not in path.read_bytes()
        assert b"moved" not in path.read_bytes()
    assert not (run.source / ".dvc/cache").exists()


def test_data_that_the_remote_lacks_is_listed(play):
    for path in (play.root / "dvc-store").rglob("*"):
        if path.is_file():
            path.unlink()
    run = play.run().upto("fetch")
    with pytest.raises(RefusedError, match=r"lacks data of this source\n  data/train\.csv \(md5 "):
        run.step("data")


def test_without_a_remote_the_missing_data_is_listed(play):
    run = play.run(source=play.commit({".dvc/config": ""})).upto("fetch")
    with pytest.raises(RefusedError, match=r"data/train\.csv"):
        run.step("data")


def test_without_dvc_there_is_nothing_to_pull(play, capsys):
    play.git("rm", "-rq", ".dvc", "dvc.yaml", "data")
    run = play.run(source=play.commit({"x": "1"})).upto("fetch")
    run.step("data")
    assert "nothing to pull" in capsys.readouterr().out


def test_settings_of_remotes_are_merged(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config.local").write_text(
        "[core]\n\tremote = mine\n"
        "['remote \"mine\"']\n  url = ../x\n  secret_access_key = a%b=c\n"
        "['remote \"far\"']\n  user = ana\n"
    )
    found = credentials.settings(b"[core]\n    remote = far\n    autostage = true\n", tmp_path)
    assert found.default == "mine"
    assert found.remotes == {
        "mine": {"url": str(tmp_path / "x"), "secret_access_key": "a%b=c"},
        "far": {"user": "ana"},
    }
    assert b"autostage" in (found.config or b"")
    assert "a%b=c" not in repr(found)
    assert credentials.settings(None, None) == credentials.DvcSettings(None)
