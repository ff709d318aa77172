"""Triggers: one run for each moment, whoever asks, however often, and wherever one died."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.config.project import parse_project
from mlops.domain.source import Commit
from mlops.domain.watching import Tip
from mlops.engine import claiming
from mlops.engine.triggers import MARK, Triggers, Trunk
from mlops.errors import GitError
from mlops.ports import Claim

YAML = b"""
apiVersion: mlops/v1
kind: Project
name: shop
models:
  spam:
    triggers: [{cron: "0 3 * * *", timezone: Europe/Berlin}]
"""
PROJECT = parse_project(YAML)
SOURCE = Commit("1" * 40)
TRUNK = Trunk(Tip("refs/heads/main", Commit("2" * 40)), SOURCE)
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
DUE = datetime(2026, 1, 2, 2, tzinfo=UTC)  # 03:00 in Berlin


class DiedError(Exception):
    """A kill, at the exchange at which it came."""


@dataclass
class Refs:
    """Create-only refs in memory, moved by compare-and-swap; `dies` counts down the writes until a kill."""

    kept: dict[str, Claim] = field(default_factory=dict)
    count: int = 0
    dies: int = -1
    fails: GitError | None = None

    def read(self, run):
        return self.kept.get(run)

    def list(self, prefix=""):
        if self.fails:
            raise self.fails
        return tuple(claim for run, claim in self.kept.items() if run.startswith(prefix))

    def put(self, run, document, previous):
        if self.dies == 0:
            raise DiedError
        self.dies -= 1
        if self.kept.get(run) != previous:
            return None
        self.count += 1
        claim = Claim(f"refs/mlops/runs/{run}", str(self.count), dict(document))
        self.kept[run] = claim
        return claim

    @property
    def runs(self):
        return sorted(run for run in self.kept if not run.startswith(MARK))

    def settle(self, run, outcome="succeeded"):
        document = {**self.kept[run].document, "state": "outcome", "outcome": outcome}
        self.kept[run] = replace(self.kept[run], document=document)


@dataclass
class Clock:
    time: datetime = START

    def __call__(self):
        return self.time


@pytest.fixture
def refs():
    return Refs()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def triggers(refs, clock):
    """Seen once already, at START."""
    made = Triggers(refs, clock, "rosa")
    assert made.look(PROJECT, TRUNK) == ()
    return made


def ran(refs, attempt=1, outcome="succeeded"):
    """What a push made before."""
    document = claiming.queue("spam", SOURCE, TRUNK.tip, "a push", "rosa", START, attempt)
    name = document["run"]
    refs.put(name, document, None)
    refs.settle(name, outcome)
    return name


def test_a_moment_queues_the_next_attempt_once(triggers, refs, clock):
    ran(refs)
    clock.time = DUE - timedelta(seconds=1)
    assert triggers.look(PROJECT, TRUNK) == ()
    clock.time = DUE
    (asked,) = triggers.look(PROJECT, TRUNK)
    why = "cron 0 3 * * * (Europe/Berlin): due 2026-01-02 03:00 CET"
    assert (asked.run, asked.failed) == (f"spam-{SOURCE.sha[:12]}-2", False)
    assert asked.note == f"{why}; {asked.run} is queued"
    document = refs.kept[asked.run].document
    assert (document["state"], document["trigger"], document["why"]) == ("queued", why, why)
    assert (document["ref"], document["tip"]) == ("refs/heads/main", "2" * 40)
    assert triggers.look(PROJECT, TRUNK) == ()
    assert len(refs.runs) == 2


def test_what_was_missed_is_made_up_by_one_run(triggers, refs, clock):
    ran(refs)
    clock.time = DUE + timedelta(days=40)
    assert len(triggers.look(PROJECT, TRUNK)) == 1
    assert triggers.look(PROJECT, TRUNK) == ()
    assert len(refs.runs) == 2


def test_what_is_under_way_answers_the_moment(triggers, refs, clock):
    document = claiming.queue("spam", SOURCE, TRUNK.tip, "a push", "rosa", START)
    name = document["run"]
    refs.put(name, document, None)
    clock.time = DUE
    (asked,) = triggers.look(PROJECT, TRUNK)
    assert asked.note.endswith(f"{name} is under way already")
    assert refs.runs == [name]
    refs.settle(name)
    assert triggers.look(PROJECT, TRUNK) == ()


def test_what_was_given_up_is_tried_again_at_the_next_moment(triggers, refs, clock):
    ran(refs, outcome="given up")
    clock.time = DUE
    (asked,) = triggers.look(PROJECT, TRUNK)
    assert asked.run.endswith("-2")


def test_the_tip_that_moved_between_claim_and_queue_changes_nothing(triggers, refs, clock):
    clock.time, refs.dies = DUE, 1  # the moment is claimed, the run is not queued
    with pytest.raises(DiedError):
        triggers.look(PROJECT, TRUNK)
    refs.dies = -1
    moved = Trunk(Tip("refs/heads/main", Commit("3" * 40)), Commit("3" * 40))
    (asked,) = triggers.look(PROJECT, moved)
    assert asked.run == f"spam-{SOURCE.sha[:12]}-1"
    assert triggers.look(PROJECT, moved) == ()


@pytest.mark.parametrize("document", [{}, {"state": "claimed"}, {"state": "watched", "since": "x"}])
def test_a_claim_that_says_nothing_begins_anew(refs, clock, document):
    triggers = Triggers(refs, clock)
    triggers.look(PROJECT, TRUNK)
    (name,) = refs.kept
    refs.kept[name] = replace(refs.kept[name], document=document)
    clock.time = DUE
    assert triggers.look(PROJECT, TRUNK) == ()
    clock.time += timedelta(days=1)
    assert len(triggers.look(PROJECT, TRUNK)) == 1


def test_a_claim_without_a_moment_begins_anew(triggers, refs, clock):
    (name,) = refs.kept
    document = {**refs.kept[name].document, "state": "claimed"}
    refs.kept[name] = replace(refs.kept[name], document=document)
    assert triggers.look(PROJECT, TRUNK) == ()
    clock.time = DUE
    assert len(triggers.look(PROJECT, TRUNK)) == 1


def test_what_cannot_be_read_is_told_and_raises_nothing(triggers, refs, clock):
    refs.fails = GitError("no route to host", retryable=True)
    (asked,) = triggers.look(PROJECT, TRUNK)
    assert asked.failed
    assert asked.note == "no trigger is looked at: no route to host"


def test_a_clock_that_goes_back_asks_for_nothing_again(triggers, refs, clock):
    clock.time = DUE
    (asked,) = triggers.look(PROJECT, TRUNK)
    refs.settle(asked.run)
    for hours in (1, 30, 500):
        clock.time = DUE - timedelta(hours=hours)
        assert triggers.look(PROJECT, TRUNK) == ()
    clock.time = DUE
    assert triggers.look(PROJECT, TRUNK) == ()


def test_they_stand_as_they_are_told(refs, clock):
    triggers = Triggers(refs, clock)
    (new,) = triggers.standing(PROJECT)
    assert (new.state, new.last, new.next) == ("new", None, DUE)
    triggers.look(PROJECT, TRUNK)
    assert triggers.standing(PROJECT)[0].state == "waiting"
    clock.time = DUE
    assert triggers.standing(PROJECT)[0].state == "due"
    triggers.look(PROJECT, TRUNK)
    (done,) = triggers.standing(PROJECT)
    assert (done.state, done.last, done.next) == ("waiting", DUE, DUE + timedelta(days=1))
    assert done.run == f"spam-{SOURCE.sha[:12]}-1"
    clock.time = START - timedelta(days=5)
    assert triggers.standing(PROJECT)[0].state == "ahead"


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 3), st.integers(-3, 30)), max_size=25),
    st.booleans(),
)
def test_every_moment_has_at_most_one_run_and_the_last_has_one(steps, settles):
    """Three watchers look, die after so many writes, and have clocks that jump by hours."""
    refs, clock = Refs(), Clock()
    watchers = [Triggers(refs, clock) for _ in range(3)]
    watchers[0].look(PROJECT, TRUNK)
    for who, dies, hours in steps:
        clock.time += timedelta(hours=hours)
        refs.dies = dies
        with contextlib.suppress(DiedError):
            watchers[who].look(PROJECT, TRUNK)
        refs.dies = -1
        if settles:
            for run in refs.runs:
                refs.settle(run)
    clock.time += timedelta(days=1)
    for _ in range(2):
        watchers[0].look(PROJECT, TRUNK)
    whys = [refs.kept[run].document["trigger"] for run in refs.runs]
    assert len(whys) == len(set(whys)), whys
    (standing,) = watchers[1].standing(PROJECT)
    assert standing.state == "waiting"
    assert standing.run in refs.runs
    for first, second in itertools.pairwise(sorted(whys)):
        assert first < second
