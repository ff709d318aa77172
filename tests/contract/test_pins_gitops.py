"""The same tests on the branch in memory and on real git: what tests of pins rely on is true."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops.adapters.git.command import discover
from mlops.adapters.git.gitops import GitOpsBranch
from mlops.adapters.git.repository import Repository
from mlops.domain.message import compose
from mlops.domain.reference import Instant
from mlops.domain.source import Commit
from mlops.engine.hold import HoldOrder, hold
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.errors import RefusedError
from mlops.ports import LostRace, Published
from tests.fakes.estate import Estate, digest, release
from tests.fakes.gitops import Clock, MemoryGitOps
from tests.fakes.sources import MemorySources

PATH = "environments/prod/kustomization.yaml"


class RealGitOps(GitOpsBranch):
    """The real branch, with the few words that the fake has more: a clock, and somebody else."""

    def __init__(self, clone: Path, other: Path) -> None:
        super().__init__(Repository(discover(clone)), "main", "environments", "origin")
        self.clock = Clock()
        self.before_push: Callable[[], None] | None = None
        self.pushes = 0
        self._other = GitOpsBranch(Repository(discover(other)), "main", "environments", "origin")

    def publish(self, base, changes, message, refs: Mapping[str, Commit] | None = None):
        if self.before_push is not None:
            act, self.before_push = self.before_push, None
            act()
        self._dated()
        self.pushes += 1
        return super().publish(base, changes, message, refs or {})

    def edit(self, changes, message: str = "edit by hand") -> Commit:
        self._dated()
        done = self._other.publish(self._other.refresh(), changes, message)
        assert isinstance(done, Published)
        self.refresh()
        return done.commit

    def _dated(self) -> None:
        os.environ["GIT_COMMITTER_DATE"] = os.environ["GIT_AUTHOR_DATE"] = self.clock().isoformat()

    def close(self) -> None:
        self.repository.close()
        self._other.repository.close()


def git(*args: str, cwd: Path) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealGitOps]:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.com")
        monkeypatch.setenv(f"GIT_{who}_DATE", "2024-01-01T00:00:00+00:00")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git("init", "-q", "--bare", "-b", "main", "remote.git", cwd=tmp_path)
    for clone in ("mine", "theirs"):
        git("clone", "-q", "remote.git", clone, cwd=tmp_path)
        git("symbolic-ref", "HEAD", "refs/heads/main", cwd=tmp_path / clone)
    branch = RealGitOps(tmp_path / "mine", tmp_path / "theirs")
    yield branch
    branch.close()


@pytest.fixture(params=["memory", "real"])
def gitops(request: pytest.FixtureRequest):
    return MemoryGitOps() if request.param == "memory" else request.getfixturevalue("real")


@pytest.fixture
def estate(gitops) -> Estate:
    return Estate(gitops)


def published(gitops, base, changes, message="m") -> Commit:
    done = gitops.publish(base, changes, message)
    assert isinstance(done, Published)
    return done.commit


def test_a_branch_begins_with_the_first_publish(gitops):
    assert gitops.refresh() is None
    tip = published(gitops, None, {"environments/x": b"1"})
    assert gitops.refresh() == gitops.tip() == tip
    assert gitops.read(tip, "environments/x") == b"1"
    assert gitops.read(tip, "environments/y") is None
    assert gitops.read(tip, "environments") is None


def test_publishing_on_an_old_tip_loses_the_race_and_changes_nothing(gitops):
    base = published(gitops, None, {"a": b"1"})
    tip = gitops.edit({"b": b"2"})
    lost = gitops.publish(base, {"a": b"3"}, "m")
    assert lost == LostRace(tip)
    assert gitops.read(gitops.refresh(), "a") == b"1"


def test_somebody_elses_push_between_fetch_and_push_wins(gitops):
    base = published(gitops, None, {"a": b"1"})
    gitops.before_push = lambda: gitops.edit({"a": b"theirs"})
    assert isinstance(gitops.publish(base, {"a": b"mine"}, "m"), LostRace)
    assert gitops.read(gitops.refresh(), "a") == b"theirs"


def test_files_that_stand_already_make_no_commit(gitops):
    tip = published(gitops, None, {"a": b"1"})
    assert published(gitops, tip, {"a": b"1"}) == tip
    assert published(gitops, tip, {}) == tip


def test_none_removes_a_file(gitops):
    tip = published(gitops, None, {"a": b"1", "b/c": b"2"})
    tip = published(gitops, tip, {"b/c": None})
    assert [entry.path for entry in gitops.files(tip)] == ["a"]


def test_files_below_a_prefix(gitops):
    tip = published(gitops, None, {"a/b": b"1", "a/c/d": b"2", "ab": b"3"})
    assert [entry.path for entry in gitops.files(tip, "a")] == ["a/b", "a/c/d"]
    assert gitops.files(tip, "nothing") == ()
    (entry,) = gitops.files(tip, "a/c")
    assert (gitops.blob(entry.blob), entry.mode) == (b"2", "100644")


def test_the_line_is_newest_first_with_both_blobs_and_trailers(gitops):
    trailers = [("Mlops-Action", "promote"), ("Mlops-Model", "a@sha256:1"), ("Mlops-Model", "b")]
    first = published(gitops, None, {PATH: b"1", "other": b"1"})
    gitops.clock.pass_time(minutes=1)
    second = published(gitops, first, {PATH: b"2"}, compose("subject", trailers, "body: text"))
    third = gitops.edit({"other": b"2"})
    fourth = gitops.edit({PATH: None})
    changes = list(gitops.line(gitops.tip(), PATH))
    assert [change.info.commit for change in changes] == [fourth, second, first]
    assert third not in [change.info.commit for change in changes]
    told = [tuple(_content(gitops, blob) for blob in change.files[PATH]) for change in changes]
    assert told == [(b"2", None), (b"1", b"2"), (None, b"1")]
    info = changes[1].info
    assert (info.subject, info.all("Mlops-Model")) == ("subject", ("a@sha256:1", "b"))
    assert info.trailer("Mlops-Action") == "promote"
    assert info.committed == datetime(2024, 1, 1, 0, 1, tzinfo=UTC)
    assert info.committed.utcoffset() == timedelta()
    assert "Ada" in info.author
    assert not any(change.cut for change in changes)


def _content(gitops, blob):
    return None if blob is None else gitops.blob(blob)


def test_the_line_is_lazy(gitops):
    tip = published(gitops, None, {PATH: b"0"})
    for number in range(1, 5):
        tip = published(gitops, tip, {PATH: b"%d" % number})
    walk = gitops.line(tip, PATH)
    assert next(walk).info.commit == tip
    walk.close()


def test_a_diff_is_what_git_would_show(gitops):
    tip = published(gitops, None, {"a": b"1\n2\n3\n"})
    diff = gitops.diff(tip, {"a": b"1\ntwo\n3\n", "b": b"new\n"})
    assert [line for line in diff.splitlines() if line[:1] in "+-"] == [
        *("--- a/a", "+++ b/a", "-2", "+two"),
        *("--- /dev/null", "+++ b/b", "+new"),
    ]
    assert gitops.diff(tip, {"a": b"1\n2\n3\n"}) == ""


def test_the_story_of_an_incident(estate):
    estate.released("A", to=("dev",))
    promoter = Promoter(estate.publisher, MemorySources("ABC"))
    for environment in ("staging", "prod"):
        promoter.promote(PromoteOrder((str(release("A")),), environment))
    estate.released("B", to=("dev", "staging"))
    estate.gitops.clock.pass_time(days=1)
    before = estate.gitops.clock()
    estate.gitops.clock.pass_time(days=1)
    promoter.promote(PromoteOrder(("spam@staging",)))
    estate.gitops.clock.pass_time(minutes=1)
    order = RollbackOrder("prod", reason="bad", incident="INC-7")
    Roller(estate.publisher, Preflight()).roll_back(order)
    assert estate.pins("prod") == {"spam": digest("A")}
    with pytest.raises(RefusedError, match="held by Ada: bad"):
        promoter.promote(PromoteOrder(("spam@staging",)))
    past = estate.environments().history("prod")
    assert [(row.digest, row.action) for row in past.rows()] == [
        (digest("A"), "rollback"),
        (digest("B"), "promote"),
        (digest("A"), "promote"),
    ]
    (row,) = past.at(Instant(before))
    assert row.digest == digest("A")


def test_a_rollback_during_which_a_hold_lands_keeps_both(estate):
    estate.released("A", "B", to=("prod",))
    estate.gitops.before_push = lambda: hold(estate.publisher, HoldOrder("prod", "eggs", "freeze"))
    Roller(estate.publisher, Preflight()).roll_back(RollbackOrder("prod", reason="bad"))
    assert estate.pins("prod") == {"spam": digest("A")}
    assert [h.model for h in estate.environments().state("prod").holds] == ["eggs", "spam"]


def test_a_shallow_clone_says_where_history_is_cut_off(real, tmp_path):
    estate = Estate(real)
    estate.released("A", "B", "C", to=("prod",))
    url = (tmp_path / "remote.git").as_uri()
    git("clone", "-q", "--depth", "1", url, "shallow", cwd=tmp_path)
    with Repository(discover(tmp_path / "shallow")) as repository:
        shallow = Estate(GitOpsBranch(repository, "main", "environments", "origin"))
        shallow.gitops.clock = real.clock
        (row,) = shallow.environments().history("prod").rows()
        assert (row.cut, row.digest) == (True, digest("C"))
        with pytest.raises(RefusedError, match=r"cut off.*--unshallow"):
            Roller(shallow.publisher, Preflight()).roll_back(RollbackOrder("prod", reason="bad"))


def test_a_colleagues_pull_without_rebase_loses_no_pin(real, tmp_path):
    """`git pull --no-rebase` makes a merge whose first parent is the colleague's own commit."""
    estate = Estate(real)
    theirs = tmp_path / "theirs"
    git("pull", "-q", "origin", "main", cwd=theirs)
    (theirs / "notes.txt").write_text("mine\n")
    git("add", "notes.txt", cwd=theirs)
    git("commit", "-q", "-m", "a colleague's own work", cwd=theirs)
    order = PromoteOrder((str(estate.record("A")),), "prod")
    files = {"environments/prod/environment.yaml": b"apiVersion: mlops/v1\nkind: Environment\n"}
    real.edit(files)
    Promoter(estate.publisher, MemorySources("A")).promote(order)
    git("pull", "-q", "--no-rebase", "--no-edit", "origin", "main", cwd=theirs)
    git("push", "-q", "origin", "HEAD:main", cwd=theirs)
    (row,) = estate.environments().history("prod").rows()
    assert (row.digest, row.action) == (digest("A"), "promote")


def test_a_git_revert_and_a_cherry_pick_count(real, tmp_path):
    estate = Estate(real)
    estate.released("A", "B", to=("prod",))
    theirs = tmp_path / "theirs"
    git("pull", "-q", "origin", "main", cwd=theirs)
    git("revert", "--no-edit", "HEAD", cwd=theirs)
    git("push", "-q", "origin", "HEAD:main", cwd=theirs)
    git("cherry-pick", "HEAD~1", cwd=theirs)
    git("push", "-q", "origin", "HEAD:main", cwd=theirs)
    rows = list(estate.environments().history("prod").rows())
    assert [row.digest for row in rows] == [digest(name) for name in "BABA"]
    assert [row.action for row in rows] == ["promote", "edit", "promote", "promote"]


def test_several_places_and_versions_are_read_at_once(gitops):
    first = published(gitops, None, {"environments/a/x": b"1", "environments/b/x": b"2"})
    second = published(gitops, first, {"environments/b/x": b"3"})
    tip = published(gitops, second, {"environments/c/x": b"4", "other": b"5"})
    changes = list(gitops.line(tip, "environments/a", "environments/b/x"))
    assert [change.info.commit for change in changes] == [second, first]
    assert set(changes[1].files) == {"environments/a/x", "environments/b/x"}
    assert len(list(gitops.line(tip))) == 3
    blobs = [*changes[0].files["environments/b/x"], changes[1].files["environments/a/x"][1]]
    assert gitops.blobs(blobs) == (b"2", b"3", b"1")
    assert gitops.blobs([]) == ()
    assert gitops.directories(tip, "environments") == ("a", "b", "c")
    assert gitops.overwritten(tip) is None
