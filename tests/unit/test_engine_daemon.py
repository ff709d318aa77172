"""The watcher's loop, with repositories and processes in memory."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from mlops.domain.lineup import Limits, Queued
from mlops.domain.source import Commit
from mlops.engine import daemon
from mlops.engine.daemon import Daemon, Looked
from mlops.engine.outcome import Outcome
from mlops.errors import GitError, MlopsError

WAIT = 60.0  # seconds until a test gives up; nothing takes that long


def queued(project: str, number: int) -> Queued:
    source = Commit.parse(f"{number:040x}")
    return Queued(
        project, f"{project}-{number}", "spam", source, "", datetime.fromtimestamp(number, UTC)
    )


@dataclass
class Process:
    """A child that ends when it is told to."""

    pid: int = 1
    log: Path = Path("log")
    code: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> int:
        assert self.over.wait(WAIT)
        return self.code

    def answer(self) -> str:
        return ""

    def end(self, code: int = 0) -> None:
        self.code = code
        self.over.set()


@dataclass
class Project:
    """A project in memory: `decided` are open until a child that succeeds takes them out."""

    name: str
    interval: float = 1000.0
    decided: list[Queued] = field(default_factory=list)
    limits: Limits = Limits()  # noqa: RUF009
    leader: str = ""
    fault: MlopsError | None = None
    hangs: threading.Event | None = None
    looks: int = 0
    at_once: int = 0
    most: int = 0
    children: dict[str, Process] = field(default_factory=dict)
    began: list[str] = field(default_factory=list)
    quick: bool = False  # children end at once

    def look(self) -> Looked:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            self.looks += 1
            decided = tuple(self.decided)
            if self.hangs is not None:
                assert self.hangs.wait(WAIT)
            if self.fault is not None:
                raise self.fault
            return Looked(decided, limits=self.limits, leader=self.leader)
        finally:
            self.at_once -= 1

    def begin(self, queued: Queued) -> Process:
        child = self.children[queued.run] = Process()
        self.began.append(queued.run)
        if self.quick:
            self.decided.remove(queued)
            child.end()
        return child

    def outcome(self, queued: Queued, code: int, child: Process) -> Outcome:
        return Outcome(queued.model, queued.run, "", "", failed=code != 0)


@dataclass
class Told:
    """What was told, and a way to wait for it."""

    events: list[tuple] = field(default_factory=list)
    stood: list[tuple[int, int]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def _add(self, *event) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def looked(self, name, found, seconds) -> None:
        self._add("looked", name, "fault" if isinstance(found, MlopsError) else "fine")

    def began(self, queued, child) -> None:
        self._add("began", queued.run)

    def ended(self, queued, outcome) -> None:
        self._add("ended", queued.run, outcome.failed)

    def stands(self, waiting, working) -> None:
        self.stood.append((waiting, working))

    def wait(self, *event, times: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.events.count(event) >= times, WAIT), (
                self.events
            )


class Running:
    """A daemon in a thread of its own, for a test."""

    def __init__(self, *projects: Project, total: int = 0) -> None:
        self.told = Told()
        self.daemon = Daemon(projects, self.told, total)
        self.left: tuple[Queued, ...] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.left = self.daemon.run()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.daemon.stop()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


def test_runs_of_one_project_go_one_after_the_other_in_the_order_of_their_decisions():
    project = Project("a", decided=[queued("a", 2), queued("a", 1)])
    with Running(project) as running:
        running.told.wait("began", "a-1")
        assert project.began == ["a-1"]
        del project.decided[1]
        project.children["a-1"].end()
        running.told.wait("began", "a-2")
    assert project.began == ["a-1", "a-2"]
    assert [each.run for each in running.left] == ["a-2"]


def test_the_limit_over_all_projects_holds_and_a_full_project_does_not_block_others():
    one = Project("a", decided=[queued("a", 1), queued("a", 2)], limits=Limits(5))
    other = Project("b", decided=[queued("b", 3)], limits=Limits(5))
    with Running(one, other, total=2) as running:
        running.told.wait("looked", "a", "fine")
        running.told.wait("looked", "b", "fine")
        running.told.wait("began", "a-1")
        assert len(one.began + other.began) == 2
        assert max(working for _, working in running.told.stood) == 2
    assert {working for _, working in running.told.stood} <= {0, 1, 2}


def test_a_child_that_leaves_its_claim_as_it_was_is_not_begun_again_and_again():
    project = Project("a", decided=[queued("a", 1)])
    with Running(project) as running:
        running.told.wait("began", "a-1")
        project.children["a-1"].end(2)
        running.told.wait("looked", "a", "fine", times=2)
        running.daemon.ask("a")
        running.told.wait("looked", "a", "fine", times=3)
    assert project.began == ["a-1"]


def test_a_look_that_began_before_a_child_ended_does_not_begin_it_again():
    project = Project("a", decided=[queued("a", 1)], hangs=None)
    with Running(project) as running:
        running.told.wait("began", "a-1")
        project.hangs = threading.Event()
        running.daemon.ask("a")
        while project.looks < 2:
            time.sleep(0.001)
        project.children["a-1"].end()  # ended, and its claim settled, after the look saw it
        running.told.wait("ended", "a-1", False)
        project.decided.clear()
        project.hangs.set()
        running.told.wait("looked", "a", "fine", times=3)
    assert project.began == ["a-1"]


def test_one_hung_repository_does_not_hold_the_others(monkeypatch):
    monkeypatch.setattr(daemon, "SLOW", 0.05)
    hung = [Project(f"h{number}", hangs=threading.Event()) for number in range(2 * daemon.AT_ONCE)]
    well = [Project(f"w{number}", quick=True) for number in range(20)]
    for project in well:
        project.decided.append(queued(project.name, 1))
    for project in (*hung, *well):
        project.interval = 0.2
    with Running(*hung, *well) as running:
        for project in well:
            running.told.wait("ended", f"{project.name}-1", False)
        assert all(project.looks <= 1 for project in hung)
        for project in hung:
            project.hangs.set()


def test_no_project_is_looked_at_twice_at_once_and_who_asks_meanwhile_is_answered_by_a_later_look():
    project = Project("a", hangs=threading.Event())
    answered = []
    with Running(project) as running:
        while project.looks < 1:
            time.sleep(0.001)
        for number in range(10):
            running.daemon.ask(
                "a", lambda _, number=number: answered.append((number, project.looks))
            )
        project.hangs.set()
        running.told.wait("looked", "a", "fine", times=2)
        while len(answered) < 10:
            time.sleep(0.001)
    assert [number for number, _ in answered] == list(range(10))
    assert all(looks >= 2 for _, looks in answered)
    assert project.most == 1
    assert project.looks == 2  # ten that asked, one look


def test_who_asked_is_told_whether_the_look_succeeded():
    project = Project("a", fault=GitError("away", retryable=True))
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    with Running(project) as running:
        running.told.wait("looked", "a", "fault")
        running.daemon.ask("a", answers.put)
        assert answers.get(timeout=WAIT) is False
        project.fault = None
        running.daemon.ask("a", answers.put)
        assert answers.get(timeout=WAIT) is True


def test_who_does_not_lead_begins_nothing():
    project = Project("a", decided=[queued("a", 1)], leader="process 1 on host")
    with Running(project) as running:
        running.told.wait("looked", "a", "fine")
        running.daemon.ask("a")
        running.told.wait("looked", "a", "fine", times=2)
    assert project.began == []


def test_a_bug_in_one_look_is_told_and_stops_nobody():
    project = Project("a", interval=0.01)
    project.fault = ZeroDivisionError()
    with Running(project, Project("b")) as running:
        running.told.wait("looked", "a", "fault", times=2)
        running.told.wait("looked", "b", "fine")


def test_once_sees_its_runs_through_looks_for_what_came_meanwhile_and_ends():
    project = Project("a", decided=[queued("a", 1), queued("a", 2)], quick=True)
    faulty = Project("b", fault=GitError("away"))
    told = Told()
    assert Daemon([project, faulty], told).once() == ()
    assert project.began == ["a-1", "a-2"]
    assert faulty.looks == 1
    assert project.looks >= 2


def test_once_leaves_what_others_are_at_to_them():
    project = Project("a", decided=[queued("a", 1)], limits=Limits(0))
    assert Daemon([project], Told()).once() == ()
    assert project.began == []
