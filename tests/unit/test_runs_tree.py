"""The tree of a run: what is said, in how many columns, and in how many lines while it lives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops.cli import livetree, terminal, tree
from mlops.domain.run import Condition, Phase, StepState, TaskState

NOON = datetime(2019, 7, 16, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=90)


def done(name, seconds=2.0, phase=Phase.SUCCEEDED, **fields):
    return TaskState(
        name, phase, started=NOON, finished=NOON + timedelta(seconds=seconds), **fields
    )


STEPS = (
    StepState("prepare", Phase.SUCCEEDED, 0, NOON, NOON + timedelta(seconds=0.5), "Completed"),
    StepState("main", Phase.FAILED, 3, NOON, NOON + timedelta(seconds=1.5), "OOMKilled"),
    StepState("rest", Phase.SKIPPED),
)
TASKS = [
    done("fetch", 0.4),
    done("train.0", task="train", combination={"lr": "0.1"}),
    done("train.1", 3.0, Phase.FAILED, task="train", combination={"lr": "1"}, message="it broke",
         steps=STEPS, attempts=3),
    TaskState("lint", Phase.RUNNING, started=NOON),
    TaskState("deploy", Phase.SKIPPED, "When Expressions evaluated to false", when=(Condition("dev", False, ("prod",)),)),
    TaskState("queue", Phase.PENDING, waits="2 tasks of this run work already"),
]  # fmt: skip


def drawn(tasks, room=200, *, steps=True, **options):
    return list(
        tree.lines(list(tree.rows(tasks, LATER, steps=steps, **options)), room, paint=False)
    )


def test_the_whole_tree():
    assert drawn(TASKS, last={"lint": "checking"}) == [
        "├─ ✓ fetch          Succeeded       0.4 s",
        "├─ ✗ train          Failed                 2 combinations",
        "│  ├─ ✓ train.0     Succeeded       2.0 s  lr=0.1",
        "│  └─ ✗ train.1     Failed          3.0 s  lr=1; attempt 3; it broke",
        "│     ├─ ✓ prepare  Succeeded       0.5 s",
        "│     ├─ ✗ main     Failed          1.5 s  exit code 3, OOMKilled",
        "│     └─ - rest     Skipped                not run",
        "├─ ▶ lint           Running    1 min 30 s  checking",
        '├─ - deploy         Skipped                When Expressions evaluated to false ("dev" in [prod])',
        "└─ · queue          Pending                waits: 2 tasks of this run work already",
    ]


@pytest.mark.parametrize("room", [20, 30, 40, 60, 79, 80, 120])
def test_no_line_is_wider_than_the_terminal(room):
    wide = [*TASKS, replace(TASKS[0], name="x" * 63), replace(TASKS[3], name="模型" * 20)]
    for line in drawn(wide, room, last={"lint": "y" * 500}):
        assert terminal.width(line) <= max(room, 30)
    assert any("fetch" in line and "Succeeded" in line for line in drawn(wide, room))


def test_nothing_that_a_terminal_obeys_comes_through():
    hostile = replace(TASKS[2], message="\x1b[2J\u202e\nnext", name="a\x1bb")
    text = "".join(drawn([hostile], last={}))
    assert not {"\x1b", "\u202e", "\n"} & set(text)


def test_colours_only_where_asked_for():
    found = list(tree.lines(list(tree.rows(TASKS, LATER, steps=False)), 80, paint=True))
    assert all("\x1b[" in line for line in found)


@pytest.mark.parametrize("height", [4, 10, 24])
def test_a_picture_fits_the_screen_and_shows_what_runs(height):
    tasks = [done(f"t{at}") for at in range(500)]
    tasks[400] = TaskState("runs", Phase.RUNNING, started=NOON)
    tasks[300] = done("broke", phase=Phase.FAILED)
    lines = livetree.frame("r", tasks, {}, NOON, 80, height, LATER)
    assert len(lines) <= height
    assert lines[0].startswith("r  1 min 30 s  1 running, 498 succeeded, 1 failed")
    assert lines[-1].startswith("└─ and ")
    text = "\n".join(lines)
    assert "runs" in text
    assert ("broke" in text) == (height > 4)


def test_all_are_shown_where_there_is_room():
    lines = livetree.frame("r", TASKS[:1], {}, NOON, 80, 24, LATER)
    assert lines[1].startswith("└─ ✓ fetch")


def test_plain_lines(capsys):
    seen = livetree.PlainLines(logs=True)
    seen.task(TaskState("a", Phase.RUNNING, started=NOON))
    seen.task(TaskState("a", Phase.RUNNING, started=NOON))
    seen.log("a", "main", "hello\x1b[8m")
    seen.task(done("a", 2.1))
    seen.task(done("b", 1.0, Phase.FAILED, message="why"))
    seen.task(TASKS[4])
    seen.task(TASKS[5])
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "a/main | hello\\x1b[8m"
    assert [line[9:] for at, line in enumerate(lines) if at != 1] == [
        "a: Running", "a: Succeeded in 2.1 s", "b: Failed in 1.0 s: why",
        "deploy: Skipped: When Expressions evaluated to false", "queue: waits: 2 tasks of this run work already",
    ]  # fmt: skip
