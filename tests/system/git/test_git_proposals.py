"""Proposals on real git: branches that wait for a pull request."""

import subprocess
import sys

import pytest

from mlops.adapters.git import gitops as module
from mlops.errors import GitError, UsageError
from mlops.ports import LostRace, Proposed

FILE = "environments/dev/kustomization.yaml"
BRANCH = "mlops/promote/dev/spam"
OURS = "Promote\n\nMlops-Action: promote\n"


def there(sandbox, ref=BRANCH, path=FILE):
    return sandbox.git(sandbox.remote, "show", f"refs/heads/{ref}:{path}")


def propose(gitops, content, message=OURS):
    return gitops.propose(gitops.refresh(), {FILE: content}, message, "promote/dev/spam")


def test_a_branch_of_its_own_and_main_stays(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    main = gitops.refresh()
    proposed = propose(gitops, b"one\n")
    assert isinstance(proposed, Proposed)
    assert (proposed.branch, proposed.url) == (BRANCH, "")
    assert there(sandbox) == "one"
    assert sandbox.git(sandbox.remote, "rev-parse", "main") == main.sha == gitops.refresh().sha


def test_it_is_updated_and_never_doubled(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    first = propose(gitops, b"one\n")
    assert propose(gitops, b"one\n") == first, "the same proposal stands"
    other = sandbox.gitops(sandbox.clone("b"))
    assert propose(other, b"one\n") == first, "from another clone too"
    second = propose(other, b"two\n")
    assert second.commit != first.commit
    assert there(sandbox) == "two"
    where = sandbox.clone("c")
    sandbox.commit(where, "work", {"src/x.py": "1\n"})
    sandbox.git(where, "push", "-q", "origin", "HEAD:main")
    third = propose(gitops, b"two\n")
    assert third.commit != second.commit, "made anew on the tip that moved"
    parents = sandbox.git(sandbox.remote, "log", "-1", "--format=%P", BRANCH)
    assert parents == sandbox.git(sandbox.remote, "rev-parse", "main")


def test_what_somebody_else_committed_there_is_left_alone(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    propose(gitops, b"one\n")
    where = sandbox.clone("b")
    sandbox.git(where, "switch", "-q", BRANCH)
    sandbox.commit(where, "by hand", {"notes.md": "mine\n"})
    sandbox.git(where, "push", "-q", "origin", BRANCH)
    with pytest.raises(GitError, match="somebody else committed to") as raised:
        propose(gitops, b"two\n")
    assert f"--delete {BRANCH}" in raised.value.hint
    assert there(sandbox, path="notes.md") == "mine"


def test_who_moved_the_branch_in_between_wins(sandbox, monkeypatch):
    gitops, rival = sandbox.gitops(sandbox.clone("a")), sandbox.gitops(sandbox.clone("b"))
    push = type(gitops._remote).push

    def late(self, updates, **more):
        monkeypatch.setattr(type(gitops._remote), "push", push)
        propose(rival, b"rival\n")
        return push(self, updates, **more)

    monkeypatch.setattr(type(gitops._remote), "push", late)
    assert isinstance(propose(gitops, b"mine\n"), LostRace)
    assert there(sandbox) == "rival"


def test_a_protected_prefix_is_told(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    sandbox.script(sandbox.remote / "hooks" / "update", "echo not here; exit 1")
    with pytest.raises(GitError, match=r"declined.*not here"):
        propose(gitops, b"one\n")


def test_without_a_remote(sandbox):
    where = sandbox.new("alone")
    sandbox.commit(where, "first", {FILE: "zero\n"})
    with pytest.raises(UsageError, match="needs a remote"):
        propose(sandbox.gitops(where, remote=None), b"one\n")


def test_turns_wait_for_the_living_and_not_for_the_dead(sandbox, monkeypatch):
    where = sandbox.clone("a")
    gitops = sandbox.gitops(where)
    lock = gitops.repository.common_dir / "mlops" / "turn"
    script = (
        "import sys; from pathlib import Path; from mlops.adapters.git.lock import held\n"
        f"with held(Path({str(lock)!r}), doing='x'):\n"
        " print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        monkeypatch.setattr(module, "_TURN", 0.1)
        with gitops.turn():
            assert str(holder.pid) in lock.read_text(), "went on without, and took nothing"
        holder.kill()
    with gitops.turn():
        assert str(holder.pid) not in lock.read_text(), "the dead one's turn is over"


def test_what_waits_is_seen_from_any_clone_until_it_is_merged(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    proposed = propose(gitops, b"one\n")
    other = sandbox.gitops(sandbox.clone("b"))
    base = other.refresh()
    (waiting,) = other.proposed()
    assert (waiting.branch, waiting.commit, waiting.base) == (BRANCH, proposed.commit, base)
    assert waiting.message == OURS
    sandbox.git(sandbox.remote, "update-ref", "refs/heads/main", proposed.commit.sha)
    other.refresh()
    assert other.proposed() == ()


def test_upkeep_that_is_signed_and_names_no_action_waits_too(sandbox):
    gitops = sandbox.gitops(sandbox.clone("a"))
    signed = "Upgrade the locks\n\nMlops-Actor: Ada\n"
    proposed = propose(gitops, b"one\n", signed)
    (waiting,) = gitops.proposed()
    assert (waiting.commit, waiting.message) == (proposed.commit, signed)


def test_branches_of_others_below_our_prefix_do_not_wait(sandbox):
    where = sandbox.clone("a")
    sandbox.commit(where, "work of a person", {"src/x.py": "1\n"})
    sandbox.git(where, "push", "-q", "origin", "HEAD:mlops/mine")
    gitops = sandbox.gitops(where)
    gitops.refresh()
    assert gitops.proposed() == ()
    propose(gitops, b"one\n")
    sandbox.git(where, "fetch", "-q", "origin", BRANCH)
    sandbox.git(where, "checkout", "-q", "FETCH_HEAD")
    sandbox.commit(where, "somebody adds to it", {"src/y.py": "1\n"})
    sandbox.git(where, "push", "-q", "origin", f"HEAD:{BRANCH}")
    assert gitops.proposed() == ()


def test_without_a_remote_nothing_waits(sandbox):
    assert sandbox.gitops(sandbox.clone("a"), remote=None).proposed() == ()
