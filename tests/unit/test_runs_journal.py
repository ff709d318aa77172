"""The journal of a run: whole after a kill at any byte, small for many tasks, patient on a full disk."""

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlops.adapters.executors.local.record import journal
from mlops.adapters.executors.local.record.journal import Journal, Tail
from mlops.domain.run import Condition, Phase, RunResult, StepState, TaskState
from mlops.errors import ExecutorError

NOON = datetime(2019, 7, 16, 12, 0, 0, 123456, tzinfo=UTC)


def everything():
    step = StepState("s", Phase.FAILED, 0, NOON, NOON, "Error", "image@sha256:1", {"r": ("a", "b")})
    earlier = TaskState("a", Phase.FAILED, "Failed", "step s", NOON, NOON, 1, steps=(step,))
    task = TaskState(
        name="a-0", phase=Phase.SUCCEEDED, reason="Succeeded", message="m\n\u2028", started=NOON, finished=NOON,
        attempts=2, runtime="sandbox", network=False, results={"s": "x", "l": ("a",), "o": {"k": "v"}, "e": ()},
        steps=(step,), task="a", taskrun="r-a-0", uid="u", waits="w",
        when=(Condition("x", True, ("y",)),), earlier=(earlier,),
    )  # fmt: skip
    return RunResult(
        "r", Phase.RUNNING, "Running", "m", NOON, None, (task, TaskState("b", Phase.PENDING)),
        {"s": "x", "l": ("a",)}, {"k": "v"}, ("note",), "uid", NOON,
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "journal"
    Journal(path).end(everything())
    assert journal.read(path) == everything()
    assert [each.name for each in tmp_path.iterdir()] == ["journal"]


def test_there_is_no_moment_at_which_it_cannot_be_read(tmp_path):
    """Cut at every byte: what is read is the run as it stood after some change, never less or more."""
    path = tmp_path / "journal"
    run, writer = everything(), Journal(path)
    writer.begin(run)
    begun, stood = path.stat().st_size, [run]
    for number in range(3):
        task = replace(run.tasks[1], reason=f"r{number}")
        writer.task(task)
        stood.append(replace(run, tasks=(run.tasks[0], task)))
    writer.run(replace(run, reason="Stopping"))
    stood.append(replace(stood[-1], reason="Stopping"))
    writer.close()
    content = path.read_bytes()
    met = []
    for size in range(begun, len(content) + 1):
        path.write_bytes(content[:size])
        found = journal.read(path)
        assert found in stood
        met.append(stood.index(found))
    assert met == sorted(met)
    assert set(met) == set(range(len(stood)))


@pytest.mark.parametrize("at", [0, 5, 12, -3])
def test_a_line_that_was_spoiled_is_not_believed(tmp_path, at):
    path = tmp_path / "journal"
    writer = Journal(path)
    writer.begin(everything())
    begun = path.stat().st_size
    writer.task(TaskState("b", Phase.RUNNING))
    writer.close()
    content = bytearray(path.read_bytes())
    content[at if at < 0 else begun + at] ^= 1
    path.write_bytes(content)
    assert journal.read(path) == everything()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"00000000 {}\n", b"x", b"\xff" * 100, b"[" * 9999]
)
def test_what_is_no_journal_is_none(tmp_path, content):
    path = tmp_path / "journal"
    path.write_bytes(content)
    assert journal.read(path) is None
    assert journal.read(tmp_path / "absent") is None


def test_a_change_costs_a_line_and_the_file_stays_within_bounds(tmp_path):
    path = tmp_path / "journal"
    tasks = tuple(TaskState(f"task-{number}", Phase.PENDING) for number in range(2000))
    writer = Journal(path)
    writer.begin(RunResult("r", Phase.RUNNING, "", "", NOON, None, tasks))
    begun = path.stat().st_size
    writer.task(replace(tasks[7], phase=Phase.RUNNING))
    assert path.stat().st_size - begun < 200
    for number in range(100_000):
        writer.task(replace(tasks[number % 2000], reason=str(number)))
    assert path.stat().st_size < 2 << 20
    writer.close()
    assert journal.read(path).tasks[1999].reason == "99999"


def test_a_reader_goes_on_from_where_it_was(tmp_path):
    path, run = tmp_path / "journal", everything()
    tail = Tail(path)
    assert tail.read() is None
    writer = Journal(path)
    writer.begin(run)
    assert tail.read() == run
    writer.task(TaskState("b", Phase.RUNNING))
    assert tail.read().tasks[1].phase is Phase.RUNNING
    offset = tail._offset
    assert offset == path.stat().st_size
    writer.end(replace(run, phase=Phase.FAILED))
    assert tail.read().phase is Phase.FAILED


def test_a_full_disk_delays_changes_and_loses_none(tmp_path, monkeypatch):
    path, run = tmp_path / "journal", everything()
    writer, real, full = Journal(path), os.write, [True]
    writer.begin(run)

    def write(descriptor, content):
        if not full:
            return real(descriptor, content)
        if full[0] == "half":
            return real(descriptor, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    writer.task(TaskState("b", Phase.RUNNING))
    full[0] = "half"
    writer.task(TaskState("b", Phase.FAILED))
    with pytest.raises(ExecutorError, match="No space left"):
        writer.end(replace(run, phase=Phase.FAILED))
    assert journal.read(path) == run
    full.clear()
    writer.task(TaskState("c", Phase.PENDING))
    assert [task.phase for task in journal.read(path).tasks] == [
        Phase.SUCCEEDED,
        Phase.PENDING,
        Phase.PENDING,
    ]
    writer.close()


def test_another_fault_is_said(tmp_path):
    with pytest.raises(ExecutorError, match="No such file or directory"):
        Journal(tmp_path / "none" / "journal").begin(everything())
