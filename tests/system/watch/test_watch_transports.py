"""A watcher over http and ssh, in shallow clones, and of refs that move while they are fetched."""

from __future__ import annotations

from mlops.adapters.git.remote import Remote
from mlops.domain.watching import Tracked
from tests.system.git import servers
from tests.system.watch.watching import claims


def over(url, watched, user, sandbox):
    one = watched("a", each="commit")
    sandbox.git(one.where, "remote", "set-url", "origin", url)
    first = sandbox.git(user, "rev-parse", "HEAD")
    assert one.decided() == [("spam", first, "queued")]
    new = [sandbox.commit(user, name, {"train.py": name}) for name in "12"]
    sandbox.git(user, "push", "-q", "origin", "main")
    assert [sha for _, sha, _ in one.decided()] == new
    one.finish(first)
    assert one.decided() == []
    assert one.waiting() == new
    assert len(claims(sandbox)) == 3


def test_over_http(watched, user, sandbox):
    sandbox.git(sandbox.remote, "config", "http.receivepack", "true")
    with servers.http(sandbox.directory) as server:
        over(server.url(sandbox.remote), watched, user, sandbox)


def test_over_ssh(watched, user, sandbox, tmp_path, monkeypatch):
    with servers.sshd(tmp_path / "ssh") as server:
        monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F {server.config}")
        over(server.url(sandbox.remote), watched, user, sandbox)


def test_a_shallow_clone_says_what_it_cannot_tell(watched, user, sandbox):
    sandbox.git(sandbox.directory, "clone", "-q", "--depth=1", f"file://{sandbox.remote}", "a")
    one = watched("a", clone=False)
    (seen,) = one.look()
    assert "the history is cut off here (a shallow clone)" in seen.trouble
    tip = sandbox.commit(user, "1", {"train.py": "1"})
    sandbox.git(user, "push", "-q", "origin", "main")
    assert one.decided() == [("spam", tip, "queued")]


def test_a_shallow_remote_is_watched_where_it_has_what_is_new(watched, user, sandbox):
    tip = sandbox.git(user, "rev-parse", "HEAD")
    sandbox.git(
        sandbox.directory, "clone", "-q", "--bare", "--depth=1", f"file://{sandbox.remote}", "s.git"
    )
    sandbox.git(sandbox.directory, "clone", "-q", str(sandbox.directory / "s.git"), "a")
    one = watched("a", clone=False)
    (seen,) = one.look()
    assert "the history is cut off here" in seen.trouble
    sandbox.git(user, "remote", "add", "s", str(sandbox.directory / "s.git"))
    new = sandbox.commit(user, "1", {"train.py": "1"})
    sandbox.git(user, "push", "-q", "s", "main")
    assert one.decided() == [("spam", new, "queued")]
    assert tip not in one.waiting()


def test_a_tip_that_vanishes_before_it_is_fetched(watched, user, sandbox, monkeypatch):
    one = watched("a", tracked=Tracked(("*",)))
    one.look()
    gone = sandbox.commit(user, "1", {"train.py": "1"})
    sandbox.git(user, "push", "-q", "origin", "HEAD:topic")
    fetch = Remote.fetch

    def late(remote, specs, *, doing):
        if "refs/heads/topic" in sandbox.git(sandbox.remote, "for-each-ref"):
            sandbox.git(sandbox.remote, "update-ref", "-d", "refs/heads/topic")
        return fetch(remote, specs, doing=doing)

    monkeypatch.setattr(Remote, "fetch", late)
    assert [seen.tip.name for seen in one.look()] == ["main"]
    assert gone not in one.waiting()


def test_a_branch_in_the_way_of_another(watched, user, sandbox):
    one = watched("a", tracked=Tracked(("*",)))
    first = sandbox.commit(user, "1", {"train.py": "1"})
    sandbox.git(user, "push", "-q", "origin", "HEAD:a")
    assert ("spam", first, "queued") in one.decided()
    second = sandbox.commit(user, "2", {"train.py": "2"})
    sandbox.git(user, "push", "-q", "origin", ":a")
    sandbox.git(user, "push", "-q", "origin", "HEAD:a/b")
    assert one.decided() == [("spam", second, "queued")]


def test_a_thousand_branches_at_one_commit_are_one_decision(watched, user, sandbox):
    tip = sandbox.git(user, "rev-parse", "HEAD")
    lines = "".join(f"create refs/heads/b{number} {tip}\n" for number in range(1000))
    file = sandbox.directory / "refs"
    file.write_text(lines)
    sandbox.git(sandbox.remote, "config", "alias.many", f"!git update-ref --stdin < {file}")
    sandbox.git(sandbox.remote, "many")
    one = watched("a", tracked=Tracked(("*",)))
    seen = one.look()
    assert len(seen) == 1001
    assert len(claims(sandbox)) == 1
