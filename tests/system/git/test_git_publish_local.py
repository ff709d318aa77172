"""Publishing in a repository without a remote: the local branch is the commit point."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import count

import pytest

from mlops.adapters.git.lock import held
from mlops.domain.source import Commit
from mlops.errors import GitError, RefusedError
from mlops.ports import LostRace, Published

PIN = "environments/dev/kustomization.yaml"
HOLDS = "environments/dev/holds.yaml"
RECORD = "environments/releases/spam/abc.json"


@pytest.fixture
def where(sandbox):
    place = sandbox.new("a")
    sandbox.commit(place, "first", {"train.py": "1\n", PIN: "0\n", HOLDS: "held\n", "b": "b\n"})
    return place


def _head(sandbox, where):
    return Commit(sandbox.git(where, "rev-parse", "main"))


def _left(where):
    return [path.name for path in (where / ".git" / "mlops").iterdir()]


class TestCheckedOutHere:
    def test_ref_index_and_files_move_together(self, sandbox, where):
        gitops = sandbox.gitops(where, remote=None)
        base = gitops.refresh()
        changes = {PIN: b"1\n", HOLDS: None, RECORD: b"{}\n"}
        done = gitops.publish(base, changes, "pin", {"mlops/t": base})
        assert isinstance(done, Published)
        assert _head(sandbox, where) == done.commit == gitops.tip()
        assert sandbox.git(where, "status", "--porcelain") == ""
        assert sandbox.git(where, "diff-index", "HEAD") == ""  # no refresh needed
        assert (where / PIN).read_text() == "1\n"
        assert (where / RECORD).read_text() == "{}\n"
        assert not (where / HOLDS).exists()
        assert sandbox.git(where, "rev-parse", "refs/tags/mlops/t") == base.sha
        assert not (where / ".git" / "index.lock").exists()
        assert _left(where) == ["lock"]
        assert "mlops" in sandbox.git(where, "reflog", "-1", "main")

    def test_what_else_is_changed_stays(self, sandbox, where):
        (where / "train.py").write_text("dirty\n")
        (where / "b").write_text("staged\n")
        (where / "new").write_text("new\n")
        (where / "environments" / "notes").write_text("untracked\n")
        sandbox.git(where, "add", "b", "new")
        sandbox.git(where, "add", "-N", "environments/notes")
        before = sandbox.git(where, "status", "--porcelain=v2")
        gitops = sandbox.gitops(where, remote=None)
        done = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
        assert isinstance(done, Published)
        assert sandbox.git(where, "status", "--porcelain=v2") == before
        assert (where / PIN).read_text() == "1\n"
        assert (where / "b").read_text() == "staged\n"
        changed = sandbox.git(where, "diff", "--name-only", "HEAD~1", "HEAD")
        assert changed == PIN

    def test_directories_come_and_go(self, sandbox, where):
        gitops = sandbox.gitops(where, remote=None)
        one = gitops.publish(gitops.refresh(), {RECORD: b"{}"}, "record")
        two = gitops.publish(one.commit, {RECORD: None}, "gone")
        assert isinstance(two, Published)
        assert not (where / "environments" / "releases").exists()
        assert (where / PIN).exists()

    def test_an_empty_repository(self, sandbox):
        where = sandbox.new("empty")
        gitops = sandbox.gitops(where, remote=None)
        assert gitops.refresh() is None
        done = gitops.publish(None, {PIN: b"1\n"}, "pin")
        assert _head(sandbox, where) == done.commit
        assert sandbox.git(where, "status", "--porcelain") == ""
        assert (where / PIN).read_text() == "1\n"

    def test_an_executable_stays_one(self, sandbox, where):
        (where / "environments" / "run").write_text("1")
        (where / "environments" / "run").chmod(0o755)
        sandbox.commit(where, "x", {})
        gitops = sandbox.gitops(where, remote=None)
        gitops.publish(gitops.refresh(), {"environments/run": b"2"}, "pin")
        assert os.access(where / "environments" / "run", os.X_OK)
        assert sandbox.git(where, "status", "--porcelain") == ""

    def test_a_linked_work_tree(self, sandbox, where):
        sandbox.git(where, "worktree", "add", "-q", "-b", "env", "../linked")
        linked = sandbox.directory / "linked"
        gitops = sandbox.gitops(linked, remote=None, branch="env")
        done = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
        assert isinstance(done, Published)
        assert (linked / PIN).read_text() == "1\n"
        assert sandbox.git(linked, "status", "--porcelain") == ""
        assert sandbox.git(where, "status", "--porcelain") == ""
        with pytest.raises(RefusedError, match=r"checked out in .*linked"):
            sandbox.gitops(where, remote=None, branch="env").publish(
                done.commit, {PIN: b"2\n"}, "pin"
            )
        assert (linked / PIN).read_text() == "1\n"


def _modified(sandbox, where):
    (where / PIN).write_text("mine\n")


def _staged(sandbox, where):
    (where / PIN).write_text("mine\n")
    sandbox.git(where, "add", PIN)


def _staged_and_restored(sandbox, where):
    _staged(sandbox, where)
    (where / PIN).write_text("0\n")


def _deleted(sandbox, where):
    (where / PIN).unlink()


def _removed_from_the_index(sandbox, where):
    sandbox.git(where, "rm", "-q", "--cached", PIN)


def _untracked(sandbox, where):
    (where / RECORD).parent.mkdir(parents=True)
    (where / RECORD).write_text("mine")


def _ignored(sandbox, where):
    sandbox.commit(where, "ignore", {".gitignore": "*.json\n"})
    _untracked(sandbox, where)


def _a_directory(sandbox, where):
    (where / RECORD).mkdir(parents=True)
    (where / RECORD / "x").write_text("mine")


def _a_file_for_a_directory(sandbox, where):
    (where / "environments" / "releases").write_text("mine")


def _a_link_out(sandbox, where):
    outside = sandbox.directory / "outside"
    outside.mkdir()
    (where / "environments" / "releases").symlink_to(outside)


def _assumed_unchanged(sandbox, where):
    sandbox.git(where, "update-index", "--assume-unchanged", PIN)
    (where / PIN).write_text("mine\n")


def _sparse(sandbox, where):
    sandbox.git(where, "sparse-checkout", "set", "--no-cone", "/*", "!/environments/")


def _in_conflict(sandbox, where):
    sandbox.git(where, "switch", "-qc", "side")
    sandbox.commit(where, "side", {PIN: "side\n"})
    sandbox.git(where, "switch", "-q", "main")
    sandbox.commit(where, "main", {PIN: "main\n"})
    sandbox.git(where, "merge", "-q", "side", code=1)


@pytest.mark.parametrize(
    "spoil",
    [
        _modified,
        _staged,
        _staged_and_restored,
        _deleted,
        _removed_from_the_index,
        _untracked,
        _ignored,
        _a_directory,
        _a_file_for_a_directory,
        _a_link_out,
        _assumed_unchanged,
        _sparse,
        _in_conflict,
    ],
)
def test_files_that_are_not_clean_are_refused(sandbox, where, spoil):
    spoil(sandbox, where)
    base = _head(sandbox, where)
    before = sandbox.git(where, "status", "--porcelain=v2", "--ignored")
    index = sandbox.git(where, "ls-files", "-s", "-v")
    gitops = sandbox.gitops(where, remote=None)
    with pytest.raises(RefusedError, match="environments/") as raised:
        gitops.publish(base, {PIN: b"1\n", RECORD: b"{}"}, "pin")
    assert raised.value.hint
    assert _head(sandbox, where) == base
    assert sandbox.git(where, "status", "--porcelain=v2", "--ignored") == before
    assert sandbox.git(where, "ls-files", "-s", "-v") == index
    assert not (where / ".git" / "index.lock").exists()
    assert _left(where) == ["lock"]
    assert not any((sandbox.directory / "outside").glob("*"))


class TestNotCheckedOut:
    def test_only_the_ref_moves(self, sandbox, where):
        sandbox.git(where, "switch", "-qc", "work")
        (where / PIN).write_text("mine\n")
        before = sandbox.git(where, "status", "--porcelain=v2")
        gitops = sandbox.gitops(where, remote=None)
        done = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin", {"mlops/t": gitops.tip()})
        assert _head(sandbox, where) == done.commit
        assert sandbox.git(where, "status", "--porcelain=v2") == before
        assert (where / PIN).read_text() == "mine\n"
        assert _left(where) == ["lock"]

    def test_a_detached_head(self, sandbox, where):
        sandbox.git(where, "switch", "-q", "--detach")
        gitops = sandbox.gitops(where, remote=None)
        done = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
        assert _head(sandbox, where) == done.commit
        assert sandbox.git(where, "status", "--porcelain") == ""

    def test_a_new_branch(self, sandbox, where):
        gitops = sandbox.gitops(where, remote=None, branch="environments")
        assert gitops.refresh() is None
        done = gitops.publish(None, {PIN: b"1\n"}, "pin")
        assert gitops.tip() == done.commit
        assert gitops.publish(None, {PIN: b"2\n"}, "pin") == LostRace(done.commit)

    def test_a_bare_repository(self, sandbox, where):
        sandbox.git(sandbox.directory, "clone", "-q", "--bare", "a", "bare")
        gitops = sandbox.gitops(sandbox.directory / "bare", remote=None)
        done = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
        assert gitops.tip() == done.commit


class TestRefusals:
    def test_a_lost_race(self, sandbox, where):
        one, two = sandbox.gitops(where, remote=None), sandbox.gitops(where, remote=None)
        base = one.refresh()
        won = one.publish(base, {PIN: b"1\n"}, "pin")
        assert two.publish(base, {HOLDS: b"2\n"}, "pin") == LostRace(won.commit)
        assert (where / HOLDS).read_text() == "held\n"
        assert sandbox.git(where, "status", "--porcelain") == ""

    def test_a_tag_with_another_target(self, sandbox, where):
        gitops = sandbox.gitops(where, remote=None)
        base = gitops.refresh()
        done = gitops.publish(base, {PIN: b"1\n"}, "pin", {"mlops/t": base})
        with pytest.raises(GitError, match="refs/tags/mlops/t is there already"):
            gitops.publish(done.commit, {PIN: b"2\n"}, "pin", {"mlops/t": done.commit})
        assert _head(sandbox, where) == done.commit
        again = gitops.publish(done.commit, {PIN: b"1\n"}, "pin", {"mlops/t": base, "u": base})
        assert again == done
        assert sandbox.git(where, "rev-parse", "u") == base.sha

    def test_a_rebase_under_way(self, sandbox, where):
        sandbox.git(where, "switch", "-qc", "side")
        sandbox.commit(where, "side", {"b": "side"})
        sandbox.git(where, "switch", "-q", "main")
        sandbox.commit(where, "main", {"b": "main"})
        sandbox.git(where, "rebase", "-q", "side", code=1)
        gitops = sandbox.gitops(where, remote=None)
        with pytest.raises(RefusedError, match="being rebased"):
            gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
        sandbox.git(where, "rebase", "--abort")
        assert isinstance(gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin"), Published)

    def test_another_git_at_work(self, sandbox, where):
        (where / ".git" / "index.lock").write_text("")
        gitops = sandbox.gitops(where, remote=None)
        base = gitops.refresh()
        with pytest.raises(GitError, match="another git process") as raised:
            gitops.publish(base, {PIN: b"1\n"}, "pin")
        assert raised.value.retryable
        assert (where / ".git" / "index.lock").exists()
        assert gitops.tip() == base
        (where / ".git" / "index.lock").unlink()
        assert isinstance(gitops.publish(base, {PIN: b"1\n"}, "pin"), Published)

    def test_a_disk_that_fails_at_every_sync(self, sandbox, where, monkeypatch):
        """Before the branch moves a failure leaves the old state; after it, it is finished."""
        template = where.rename(sandbox.directory / "template")
        sync, moved = os.fsync, []
        for number in count():
            shutil.copytree(template, where, symlinks=True)
            gitops = sandbox.gitops(where, remote=None)
            base, left = gitops.refresh(), iter(range(number))

            def failing(descriptor, left=left):
                if next(left, None) is None:
                    raise OSError(28, "No space left on device")
                sync(descriptor)

            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", failing)
                try:
                    gitops.publish(base, {PIN: b"1\n", HOLDS: None, RECORD: b"{}"}, "pin")
                except GitError as exc:
                    said = str(exc)
                else:
                    break
            assert "No space left" in said
            new = gitops.refresh() != base
            moved.append(new)
            assert sandbox.git(where, "status", "--porcelain", "--ignored") == ""
            assert (where / PIN).read_text() == ("1\n" if new else "0\n")
            assert (where / HOLDS).exists() is not new
            assert (where / RECORD).exists() is new
            assert _left(where) == ["lock"]
            assert not (where / ".git" / "index.lock").exists()
            shutil.rmtree(where)
        assert set(moved) == {False, True}

    def test_a_damaged_intent(self, sandbox, where):
        (where / ".git" / "mlops").mkdir()
        (where / ".git" / "mlops" / "intent.json").write_text("{")
        with pytest.raises(GitError, match="cannot be read"):
            sandbox.gitops(where, remote=None)


class TestLock:
    def test_it_names_its_holder(self, tmp_path):
        path = tmp_path / "state" / "lock"
        with (
            held(path, doing="one thing"),
            pytest.raises(
                GitError, match=f"process {os.getpid()} on .* needed for another"
            ) as raised,
            held(path, doing="another", patience=0.0),
        ):
            pass
        assert raised.value.retryable
        assert set(json.loads(path.read_text())) == {"pid", "host", "boot", "since"}
        with held(path, doing="again", patience=0.0):
            pass

    def test_a_dead_holder_keeps_nothing(self, tmp_path):
        code = (
            "import os, signal, subprocess, sys; from pathlib import Path\n"
            "from mlops.adapters.git.lock import held\n"
            "with held(Path(sys.argv[1]), doing='x'):\n"
            "    child = subprocess.Popen(['sleep', '60'], stdout=-3, stderr=-3, start_new_session=True)\n"
            "    print(child.pid, flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "lock")], capture_output=True, check=False
        )
        assert done.returncode == -9
        try:
            with held(tmp_path / "lock", doing="next", patience=0.0):
                pass
        finally:
            os.kill(int(done.stdout), 9)
