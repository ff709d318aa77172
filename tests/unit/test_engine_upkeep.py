"""Upkeep: one commit of one change, whoever looks, and wherever one died."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops.config.project import parse_project
from mlops.domain.source import Commit
from mlops.domain.watching import Tip
from mlops.engine.claiming import Holder
from mlops.engine.marking import Marks
from mlops.engine.triggers import Trunk
from mlops.engine.upkeep import Upkeep
from mlops.errors import DvcError, GitError, RegistryError
from mlops.ports import Claim, LostRace, Proposed, Published
from mlops.ports.upstream import Compared

YAML = """
apiVersion: mlops/v1
kind: Project
name: shop
{updates}
models:
  spam:
    triggers: [{data}]
"""
TRUNK = Trunk(Tip("refs/heads/main", Commit("2" * 40)), Commit("2" * 40))
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def project(data="{data: data/raw, settle: 10m, cool-down: 1h}", updates=""):
    return parse_project(YAML.format(data=data, updates=updates).encode())


DATA = project()
LOCKS = project(data="", updates='updates: {cron: "0 3 * * *"}')


@dataclass
class World:
    """Marks, a source, locks and a branch in memory, and their clock; `living` are holders that live."""

    kept: dict[str, Claim] = field(default_factory=dict)
    time: datetime = START
    upstream: str = "a"
    committed: str = "a"
    living: set[int] = field(default_factory=set)
    fails: Exception | None = None
    lost: int = 0
    resolved: int = 0
    brought: list[str] = field(default_factory=list)
    commits: list[tuple[str, dict, str]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def list(self, prefix=""):
        return tuple(claim for run, claim in self.kept.items() if run.startswith(prefix))

    def put(self, run, document, previous):
        if self.kept.get(run) != previous:
            return None
        count = str(len(self.brought) + int(previous.object_id if previous else 0) + 1)
        self.kept[run] = Claim(f"refs/mlops/runs/{run}", count, dict(document))
        return self.kept[run]

    def compare(self, commit, source):
        if self.fails:
            raise self.fails
        return Compared("data/raw.dvc", self.committed, self.upstream)

    def bring(self, commit, path):
        if self.fails:
            raise self.fails
        self.brought.append(self.upstream)
        return self.upstream.encode(), self.upstream

    def resolve(self, commit, wanted):
        self.resolved += 1
        if self.fails:
            raise self.fails
        return self.files, tuple(f"{name}: x 1 → 2" for name in self.files)

    def propose(self, base, changes, message, topic):
        if self.lost:
            self.lost -= 1
            return LostRace(None)
        self.commits.append((topic, dict(changes), message))
        return Proposed(f"mlops/{topic}", Commit("3" * 40))

    def publish(self, base, changes, message):
        self.commits.append(("", dict(changes), message))
        return Published(Commit("3" * 40))

    def upkeep(self, pid=1):
        holder = Holder(lambda: {"pid": pid}, lambda held: held.get("pid") not in self.living)
        marks = Marks(self, lambda: self.time)
        return Upkeep(marks, self, self, self, holder, "rosa")

    def look(self, wanted=DATA, pid=1, minutes=0):
        self.time += timedelta(minutes=minutes)
        return self.upkeep(pid).look(wanted, TRUNK)


@pytest.fixture
def world():
    found = World()
    assert found.look() == ()
    return found


def test_a_change_that_stands_still_becomes_one_proposal(world):
    assert world.look() == ()
    world.upstream = "b"
    (seen,) = world.look()
    assert (seen.failed, "once it stands still" in seen.note) == (False, True)
    assert world.look(minutes=9) == ()
    (asked,) = world.look(minutes=1)
    assert asked.note == "data data/raw changed: data/raw.dvc is brought in by mlops/data/spam"
    ((topic, files, message),) = world.commits
    assert (topic, files) == ("data/spam", {"data/raw.dvc": b"b"})
    assert "Mlops-Reason: data data/raw\nMlops-Actor: rosa" in message
    assert "Mlops-Action" not in message
    assert world.look(minutes=600) == ()
    assert world.brought == ["b"]


def test_commit_push_goes_to_the_branch_itself(world):
    wanted = project("{data: data/raw, settle: 0s, commit: push}")
    world.upstream = "b"
    for _ in range(3):
        world.look(wanted, minutes=1)
    ((topic, _, _),) = world.commits
    assert topic == ""


def test_the_next_change_waits_for_the_cool_down(world):
    world.upstream = "b"
    world.look()
    world.look(minutes=10)
    world.upstream = "c"
    world.look(minutes=1)
    assert world.look(minutes=20) == ()
    assert len(world.look(minutes=39)) == 1
    assert world.brought == ["b", "c"]


def test_a_source_that_cannot_be_asked_is_told_and_asked_again(world):
    world.fails = DvcError("no credentials")
    (asked,) = world.look()
    assert (asked.failed, asked.note) == (True, "data data/raw: no credentials")
    world.fails, world.upstream = None, "b"
    world.look()
    world.look(minutes=10)
    assert world.brought == ["b"]


def test_what_fails_while_it_is_brought_in_is_left_for_the_next_look(world):
    world.upstream = "b"
    world.look()
    world.time += timedelta(minutes=10)
    world.living.add(1)
    bring = world.upkeep()
    failing = replace(bring, upstream=_Failing(world))
    (asked,) = failing.look(DATA, TRUNK)
    assert asked.failed
    assert asked.note.startswith("data data/raw: connection reset. The next attempt is due 2026-")
    assert world.look() == (asked,), "it is told, and not done"
    assert world.brought == []
    assert len(world.look(minutes=2)) == 1
    assert world.brought == ["b"]


@dataclass
class _Failing:
    world: World

    def compare(self, commit, source):
        return self.world.compare(commit, source)

    def bring(self, commit, path):
        raise DvcError("connection reset")


def test_who_is_at_it_is_left_alone_until_they_die(world):
    world.upstream = "b"
    world.look()
    world.time += timedelta(minutes=10)
    others = []

    @dataclass
    class Slow:
        def compare(self, commit, source):
            return world.compare(commit, source)

        def bring(self, commit, path):
            world.living.add(7)
            others.append(world.look(pid=8))
            return world.bring(commit, path)

    replace(world.upkeep(7), upstream=Slow()).look(DATA, TRUNK)
    assert others == [()]
    assert world.brought == ["b"]


@pytest.mark.parametrize("waits", [0, 7])
def test_one_that_died_is_taken_over(world, waits):
    """At once where it is known to be dead; after six hours where nobody can tell."""
    world.upstream = "b"
    world.look()
    world.time += timedelta(minutes=10)

    class Kill(BaseException):
        pass

    class Dies:
        compare = staticmethod(world.compare)

        def bring(self, commit, path):
            raise Kill

    with pytest.raises(Kill):
        replace(world.upkeep(7), upstream=Dies()).look(DATA, TRUNK)
    if waits:
        world.living.add(7)
        assert world.look(pid=8) == ()
    assert len(world.look(pid=8, minutes=60 * waits)) == 1
    assert world.brought == ["b"]


def test_a_branch_that_moved_is_tried_again(world):
    world.upstream, world.lost = "b", 1
    world.look()
    assert world.look(minutes=10) == ()
    assert len(world.look()) == 1
    assert len(world.commits) == 1


def test_new_locks_are_proposed_when_their_moment_comes():
    world = World(files={"requirements.lock": b"x"})
    assert world.look(LOCKS) == ()
    assert world.look(LOCKS, minutes=60) == ()
    (asked,) = world.look(LOCKS, minutes=15 * 60)
    assert asked.note == "updates cron 0 3 * * *: new locks are proposed on mlops/lock"
    ((topic, files, message),) = world.commits
    assert (topic, files) == ("lock", {"requirements.lock": b"x"})
    assert "requirements.lock: x 1 → 2" in message
    assert world.look(LOCKS, minutes=60) == ()
    world.files = {}
    (asked,) = world.look(LOCKS, minutes=24 * 60)
    assert asked.note.endswith("nothing is new")
    assert len(world.commits) == 1


def test_locks_that_cannot_be_resolved_are_tried_at_the_next_look():
    world = World(files={"requirements.lock": b"x"})
    world.look(LOCKS)
    world.fails = RegistryError("503")
    (asked,) = world.look(LOCKS, minutes=24 * 60)
    assert asked.failed
    assert world.look(LOCKS) == (asked,)
    world.fails = None
    assert len(world.look(LOCKS, minutes=5)) == 1
    assert world.look(LOCKS, minutes=5) == ()


def test_what_does_not_heal_is_tried_later_and_later_and_a_success_forgets_it():
    world = World(files={"requirements.lock": b"x"})
    world.look(LOCKS)
    world.fails = GitError("somebody else committed to mlops/lock")
    world.look(LOCKS, minutes=24 * 60)
    for _ in range(12 * 24):
        assert [each.failed for each in world.look(LOCKS, minutes=5)] == [True]
    assert 20 <= world.resolved <= 40, "a day of looks, five minutes apart"
    world.fails = None
    (asked,) = world.look(LOCKS, minutes=76)
    assert not asked.failed
    world.fails = GitError("again")
    world.look(LOCKS, minutes=24 * 60)
    tried = world.resolved
    world.look(LOCKS, minutes=2)
    assert world.resolved == tried + 1


@pytest.mark.parametrize("after", ["never", 7, "2026-01-01", "2999-01-01T00:00:00+00:00"])
def test_a_mark_whose_next_attempt_is_nonsense_holds_nothing(after):
    world = World(files={"requirements.lock": b"x"})
    world.look(LOCKS)
    ((run, claim),) = world.kept.items()
    document = {**claim.document, "after": after, "failures": "many"}
    world.kept[run] = replace(claim, document=document)
    (asked,) = world.look(LOCKS, minutes=24 * 60)
    assert not asked.failed


def test_each_version_of_data_has_words_of_its_own(world):
    """By which a pull request for it is told from that for another."""
    for version in "bc":
        world.upstream = version
        world.look(minutes=600)
        world.look(minutes=10)
    (_, _, first), (_, _, second) = world.commits
    assert "Fingerprint of the source: a → b" in first
    assert "Fingerprint of the source: a → c" in second
