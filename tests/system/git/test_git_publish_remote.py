"""Publishing through a real bare remote: the push is the commit point."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mlops.adapters.git import remote
from mlops.domain.source import Commit
from mlops.errors import GitError, UsageError
from mlops.ports import GitOps, LostRace, Published

PIN = "environments/dev/kustomization.yaml"


def _tip(sandbox, branch="main"):
    return sandbox.git(sandbox.remote, "rev-parse", f"refs/heads/{branch}")


def test_one_commit_on_the_remote_and_nothing_of_mine_moves(sandbox):
    where = sandbox.clone("a")
    (where / "mine").write_text("staged")
    sandbox.git(where, "add", "mine")
    (where / "train.py").write_text("dirty")
    before = sandbox.git(where, "status", "--porcelain"), sandbox.git(where, "rev-parse", "HEAD")
    gitops: GitOps = sandbox.gitops(where)
    base = gitops.refresh()
    done = gitops.publish(base, {PIN: b"1\n"}, "pin\n\nMlops-Action: promote")
    assert isinstance(done, Published)
    assert _tip(sandbox) == done.commit.sha
    assert gitops.tip() == done.commit
    assert gitops.read(done.commit, PIN) == b"1\n"
    assert gitops.read(done.commit, "train.py") == b"print(1)\n"
    after = sandbox.git(where, "status", "--porcelain"), sandbox.git(where, "rev-parse", "HEAD")
    assert after == before
    assert not (where / "environments").exists()


def test_files_that_stand_make_no_commit(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    first = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
    again = gitops.publish(first.commit, {PIN: b"1\n", "environments/none": None}, "pin")
    assert again == first
    assert _tip(sandbox) == first.commit.sha


def test_files_that_stood_on_an_old_tip_are_a_lost_race(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    first = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
    other = sandbox.gitops(sandbox.clone("b"))
    second = other.publish(other.refresh(), {PIN: b"2\n"}, "pin")
    assert gitops.publish(first.commit, {PIN: b"1\n"}, "pin") == LostRace(second.commit)


def test_a_file_is_removed(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    first = gitops.publish(gitops.refresh(), {PIN: b"1\n", "environments/x": b"x"}, "pin")
    second = gitops.publish(first.commit, {PIN: None}, "unpin")
    paths = [file.path for file in gitops.files(second.commit, "environments")]
    assert paths == ["environments/x"]


def test_a_lost_race_names_the_new_tip_and_forces_nothing(sandbox):
    one, two = sandbox.gitops(sandbox.clone("a")), sandbox.gitops(sandbox.clone("b"))
    base = one.refresh()
    assert two.refresh() == base
    won = one.publish(base, {PIN: b"1\n"}, "pin")
    assert two.publish(base, {"environments/other": b"2\n"}, "pin") == LostRace(won.commit)
    assert _tip(sandbox) == won.commit.sha
    assert two.tip() == won.commit
    again = two.publish(won.commit, {"environments/other": b"2\n"}, "pin")
    assert isinstance(again, Published)
    assert two.repository.is_ancestor(won.commit, again.commit)


def test_a_branch_of_its_own_begins_without_history(sandbox):
    where = sandbox.clone("a")
    gitops = sandbox.gitops(where, branch="mlops-environments")
    assert gitops.refresh() is None
    assert gitops.tip() is None
    done = gitops.publish(None, {PIN: b"1\n"}, "pin")
    assert _tip(sandbox, "mlops-environments") == done.commit.sha
    assert gitops.repository.commit(done.commit).parents == ()
    other = sandbox.gitops(sandbox.clone("b"), branch="mlops-environments")
    assert other.publish(None, {PIN: b"2\n"}, "pin") == LostRace(done.commit)
    with pytest.raises(UsageError, match="nothing to publish"):
        gitops.publish(None, {}, "nothing")


def test_a_branch_that_went_away_is_forgotten(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"), branch="env")
    gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
    sandbox.git(sandbox.remote, "update-ref", "-d", "refs/heads/env")
    assert gitops.refresh() is None
    assert gitops.tip() is None


def test_an_empty_remote(sandbox):
    sandbox.new("remote.git", "--bare")
    where = sandbox.new("a")
    sandbox.git(where, "remote", "add", "origin", str(sandbox.remote))
    gitops = sandbox.gitops(where)
    assert gitops.refresh() is None
    done = gitops.publish(None, {PIN: b"1\n"}, "pin")
    assert _tip(sandbox) == done.commit.sha


class TestExtraRefs:
    def test_they_land_with_the_commit(self, sandbox):
        where = sandbox.clone("a")
        gitops = sandbox.gitops(where)
        base = gitops.refresh()
        child = gitops.repository.write_commit(base, {"dvc.lock": b"x"}, "lock")
        refs = {"mlops/spam/abc": child, "refs/mlops/x": child}
        done = gitops.publish(base, {PIN: b"1\n"}, "pin", refs)
        assert isinstance(done, Published)
        for ref in ("refs/tags/mlops/spam/abc", "refs/mlops/x"):
            assert sandbox.git(sandbox.remote, "rev-parse", ref) == child.sha
        again = gitops.publish(done.commit, {PIN: b"2\n"}, "pin", refs)
        assert isinstance(again, Published)
        third = {**refs, "mlops/spam/def": child}
        assert gitops.publish(again.commit, {PIN: b"2\n"}, "pin", third) == again
        assert sandbox.git(sandbox.remote, "rev-parse", "refs/tags/mlops/spam/def") == child.sha

    def test_another_target_stops_everything(self, sandbox):
        where = sandbox.clone("a")
        gitops = sandbox.gitops(where)
        base = gitops.refresh()
        child = gitops.repository.write_commit(base, {"dvc.lock": b"x"}, "lock")
        done = gitops.publish(base, {PIN: b"1\n"}, "pin", {"mlops/t": child})
        with pytest.raises(GitError, match="refs/tags/mlops/t is on origin already"):
            gitops.publish(done.commit, {PIN: b"2\n"}, "pin", {"mlops/t": base})
        assert _tip(sandbox) == done.commit.sha
        assert sandbox.git(sandbox.remote, "rev-parse", "refs/tags/mlops/t") == child.sha

    def test_none_lands_where_the_race_is_lost(self, sandbox):
        one, two = sandbox.gitops(sandbox.clone("a")), sandbox.gitops(sandbox.clone("b"))
        base = one.refresh()
        two.refresh()
        won = one.publish(base, {PIN: b"1\n"}, "pin")
        lost = two.publish(base, {PIN: b"2\n"}, "pin", {"mlops/t": base})
        assert lost == LostRace(won.commit)
        assert not sandbox.git(sandbox.remote, "tag")


class TestRefusals:
    def test_a_hook_on_the_remote(self, sandbox):
        gitops = sandbox.gitops(sandbox.clone("a"))
        sandbox.script(sandbox.remote / "hooks" / "pre-receive", "echo no pins on Friday; exit 1")
        base = gitops.refresh()
        with pytest.raises(GitError, match=r"declined.*no pins on Friday") as raised:
            gitops.publish(base, {PIN: b"1\n"}, "pin")
        assert not raised.value.retryable
        assert gitops.tip() == base

    def test_a_protected_branch(self, sandbox):
        gitops = sandbox.gitops(sandbox.clone("a"))
        sandbox.script(
            sandbox.remote / "hooks" / "update",
            "echo GH006: Protected branch update failed; exit 1",
        )
        with pytest.raises(GitError, match="protects this branch") as raised:
            gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
        assert "pull-request" in raised.value.hint

    def test_no_such_remote(self, sandbox):
        where = sandbox.clone("a")
        with pytest.raises(GitError, match="no such remote"):
            sandbox.gitops(where, remote="nowhere").refresh()
        sandbox.git(where, "remote", "set-url", "origin", str(sandbox.directory / "gone.git"))
        with pytest.raises(GitError, match="no such remote"):
            sandbox.gitops(where).refresh()

    def test_credentials(self, sandbox):
        where = sandbox.clone("a")

        class Refuses(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Refuses)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://me:hunter2@127.0.0.1:{server.server_port}/a.git"
            sandbox.git(where, "remote", "set-url", "origin", url)
            with pytest.raises(GitError, match="credentials") as raised:
                sandbox.gitops(where).refresh()
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        assert not raised.value.retryable
        assert "hunter2" not in str(raised.value)

    def test_nobody_listens(self, sandbox):
        where = sandbox.clone("a")
        server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        server.server_close()
        url = f"http://127.0.0.1:{server.server_port}/a.git"
        sandbox.git(where, "remote", "set-url", "origin", url)
        with pytest.raises(GitError, match="cannot be reached") as raised:
            sandbox.gitops(where).refresh()
        assert raised.value.retryable

    def test_a_remote_that_hangs(self, sandbox, monkeypatch):
        where = sandbox.clone("a")
        gitops = sandbox.gitops(where)
        base = gitops.refresh()
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/a.git"
            sandbox.git(where, "remote", "set-url", "origin", url)
            monkeypatch.setattr(remote, "_TIMEOUT", 0.3)
            monkeypatch.setattr(remote, "_PATIENCE", 0.0)
            with pytest.raises(GitError, match=r"took over 0\.3 s while fetching") as raised:
                gitops.refresh()
            assert raised.value.retryable
            with pytest.raises(GitError, match=r"took over 0\.3 s while pushing"):
                gitops.publish(base, {PIN: b"1\n"}, "pin")

    def test_a_protocol_that_runs_programs(self, sandbox):
        where = sandbox.clone("a")
        mark = sandbox.directory / "ran"
        sandbox.git(where, "remote", "set-url", "origin", f"ext::sh -c touch% {mark}")
        sandbox.git(where, "config", "protocol.ext.allow", "always")
        with pytest.raises(GitError, match="not allowed"):
            sandbox.gitops(where).refresh()
        assert not mark.exists()

    @pytest.mark.parametrize("branch", ["-x", "a..b", "a b", "x.lock", "", "a\nb", "@{u}", "/a"])
    def test_names_of_branches(self, sandbox, branch):
        where = sandbox.clone("a")
        with pytest.raises(UsageError, match="name of a branch"):
            sandbox.gitops(where, branch=branch)


def test_an_answer_that_is_lost_is_recognised(sandbox):
    """The remote takes the push, and dies before it says so."""
    gitops = sandbox.gitops(sandbox.clone("a"))
    base = gitops.refresh()
    sandbox.script(sandbox.remote / "hooks" / "post-receive", 'kill -9 "$PPID"')
    done = gitops.publish(base, {PIN: b"1\n"}, "pin", {"mlops/t": base})
    assert isinstance(done, Published)
    assert _tip(sandbox) == done.commit.sha
    assert gitops.tip() == done.commit


def test_a_push_that_dies_on_the_way_is_tried_again(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    base = gitops.refresh()
    once = sandbox.remote / "once"
    sandbox.script(
        sandbox.remote / "hooks" / "pre-receive",
        f'[ -e {once} ] || {{ touch {once}; kill -9 "$PPID"; }}',
    )
    done = gitops.publish(base, {PIN: b"1\n"}, "pin")
    assert isinstance(done, Published)
    assert _tip(sandbox) == done.commit.sha


def test_the_remote_tracking_ref_need_not_be_configured(sandbox):
    where = sandbox.clone("a", "--single-branch")
    sandbox.git(where, "config", "remote.origin.fetch", "+refs/heads/x*:refs/remotes/origin/x*")
    sandbox.git(where, "update-ref", "-d", "refs/remotes/origin/main")
    (where / ".git" / "FETCH_HEAD").write_text("mine\n")
    gitops = sandbox.gitops(where)
    assert gitops.tip() is None
    done = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
    assert gitops.tip() == done.commit
    assert (where / ".git" / "FETCH_HEAD").read_text() == "mine\n"


def test_tags_and_other_branches_stay_where_they_are(sandbox):
    where = sandbox.clone("a")
    other = sandbox.clone("b")
    sandbox.commit(other, "tagged", {"t": "1"})
    sandbox.git(other, "tag", "v9")
    sandbox.git(other, "push", "-q", "origin", "main", "v9", "main:refs/heads/feature")
    gitops = sandbox.gitops(where)
    assert gitops.refresh().sha == _tip(sandbox)
    assert not sandbox.git(where, "tag")
    assert "feature" not in sandbox.git(where, "branch", "-r")


def test_a_detached_shallow_clone_publishes(sandbox):
    first = sandbox.clone("a")
    sandbox.commit(first, "two", {"x": "1"})
    sandbox.git(first, "push", "-q")
    sandbox.git(sandbox.directory, "clone", "-q", "--depth=1", f"file://{sandbox.remote}", "s")
    where = sandbox.directory / "s"
    sandbox.git(where, "switch", "-q", "--detach")
    gitops = sandbox.gitops(where)
    done = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin")
    assert _tip(sandbox) == done.commit.sha
    assert sandbox.git(sandbox.remote, "rev-list", "--count", "main") == "3"


class TestDiff:
    def test_it_is_what_git_would_apply(self, sandbox):
        where = sandbox.clone("a")
        base = Commit(
            sandbox.commit(
                where,
                "x",
                {
                    "environments/a": "1\n2\n3\n",
                    "environments/gone": "x\n",
                    "environments/e": "é\f\x85",
                },
            )
        )
        changes = {
            "environments/a": b"1\nzwei\n3",
            "environments/gone": None,
            "environments/new": b"n\n",
            "environments/e": "è\f\x85\n".encode(),
            "environments/none": None,
        }
        gitops = sandbox.gitops(where)
        text = gitops.diff(base, changes)
        assert "+zwei\n" in text
        assert "\\ No newline at end of file\n" in text
        (where / "patch").write_bytes(text.encode())
        sandbox.git(where, "apply", "--index", "patch")
        wanted = gitops.repository.writer.tree(gitops.repository.commit(base).tree, changes)
        assert sandbox.git(where, "write-tree") == wanted

    def test_nothing_and_bytes(self, sandbox):
        where = sandbox.clone("a")
        gitops = sandbox.gitops(where)
        base = gitops.refresh()
        assert gitops.diff(base, {"train.py": b"print(1)\n"}) == ""
        assert "Binary files /dev/null and b/x differ" in gitops.diff(base, {"x": b"\xff\n"})
        assert "Binary files" in gitops.diff(None, {"x": b"a\0b"})


_RACER = """
import sys
from pathlib import Path
from mlops.adapters.git import GitOpsBranch, Repository, discover
from mlops.ports import Published
with Repository(discover(Path(sys.argv[1]))) as repository:
    gitops = GitOpsBranch(repository, "main", "environments", "origin")
    lost = 0
    for number in range(6):
        tip = gitops.refresh()
        print("ready", flush=True)
        if number == 0:
            sys.stdin.readline()
        while True:
            path = f"environments/{sys.argv[2]}-{number}"
            answer = gitops.publish(tip, {path: sys.argv[2].encode()}, f"pin {path}")
            if isinstance(answer, Published):
                break
            lost += 1
            tip = answer.tip
    print("lost", lost)
"""


def test_two_processes_at_once_both_land(sandbox):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(sandbox.clone(name)), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for name in ("a", "b")
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"  # both have seen the same tip
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate()[0].splitlines()[-1] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sum(int(line.split()[1]) for line in told) >= 1  # of the first two, one had to lose
    files = sandbox.git(sandbox.remote, "ls-tree", "-r", "--name-only", "main", "environments/")
    assert set(files.split()) == {f"environments/{n}-{i}" for n in "ab" for i in range(6)}
    assert sandbox.git(sandbox.remote, "rev-list", "--count", "--min-parents=2", "main") == "0"
    assert sandbox.git(sandbox.remote, "rev-list", "--count", "main") == "13"
