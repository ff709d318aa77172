"""Runs ended, started and gone on with from another process, and executors killed at every write."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlops.adapters.executors.local import LocalExecutor
from mlops.adapters.executors.local.carrying import Limits
from mlops.adapters.executors.local.places import Places
from mlops.adapters.executors.local.record import control, journal
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.adapters.executors.local.runtime.running import Stop
from mlops.domain.run import Ending, Phase
from mlops.errors import ExecutorError, RefusedError, UsageError

# Carries out, in a process of its own, the document on its stdin, or goes on with run-1 where there is
# none. Dies at the AT-th event that concerns the runs' directory: an open, a rename, a removal, or a
# line of the journal, of which only half is written then.
CARRY = """
import json, os, signal, sys
from pathlib import Path
from mlops.adapters.executors.local import LocalExecutor

root, store, cache, at = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
seen = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def count():
    global seen
    seen += 1
    return seen == at

def hook(event, args):
    if event not in ("os.rename", "os.remove", "os.mkdir", "open"):
        return
    if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR):
        return
    if isinstance(args[0], (str, os.PathLike)) and os.fspath(args[0]).startswith(root) and count():
        die()

real = os.write
def write(descriptor, content):
    if content[8:9] == b" " and content.endswith(b"}\\n") and count():
        real(descriptor, content[: len(content) // 2])
        die()
    return real(descriptor, content)

class Store:
    location = store
    def manifest(self, digest): return self.blob_path(digest).read_bytes()
    def blob_path(self, digest): return Path(store, digest.hex)

class Print:
    def task(self, state): print("task", state.name, state.phase, flush=True)
    def log(self, task, step, line): print("log", line, flush=True)

if "GRACE" in os.environ:  # seconds that a step has to end in
    from mlops.adapters.executors.local.runtime.running import GRACE, Running
    make = Running.__init__
    make.__defaults__ = tuple(float(os.environ["GRACE"]) if each == GRACE else each for each in make.__defaults__)

executor = LocalExecutor(Path(root), Store(), "sandbox", cache)
document = sys.stdin.read()
if at:
    sys.addaudithook(hook)
    os.write = write
if document:
    result = executor.run(json.loads(document), Print())
else:
    result = executor.retry("run-1", Print())
print("ended", result.phase, flush=True)
"""


@pytest.fixture
def carry(world):
    started = []

    def start(document=None, at=0):
        argv = [sys.executable, "-c", CARRY, str(world.path / "runs"), str(world.store.root)]
        process = subprocess.Popen(
            [*argv, str(world.cache), str(at)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        process.stdin.write("" if document is None else json.dumps(document))
        process.stdin.close()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"it ended without saying {text!r}")


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def counting(world, name, more="", **fields):
    """A task that counts in the workspace how often it ran."""
    spec = {"workspaces": [{"name": "w"}], "results": [{"name": "r"}], **fields.pop("spec", {})}
    script = f"echo x >> $(workspaces.w.path)/{name}; printf {name} > $(results.r.path); echo said {name}; {more}"
    return world.task(name, script, spec=spec, workspaces=[{"name": "w"}], **fields)


def with_workspace(doc, *tasks, **fields):
    pipeline = {"workspaces": [{"name": "w"}], **fields.pop("pipeline", {})}
    claim = [{"name": "w", "volumeClaimTemplate": {"spec": {}}}]
    return doc(*tasks, pipeline=pipeline, workspaces=claim, **fields)


def times(world, name):
    path = world.path / "runs/run-1/workspaces/w" / name
    return path.read_text().count("x") if path.exists() else 0


def three_tasks(world, doc):
    return with_workspace(
        doc,
        counting(world, "a"),
        counting(
            world,
            "b",
            "test $(params.p) = a",
            spec={"params": [{"name": "p"}]},
            params=[{"name": "p", "value": "$(tasks.a.results.r)"}],
        ),
        pipeline={
            "finally": [counting(world, "last")],
            "results": [{"name": "out", "value": "$(tasks.b.results.r)"}],
        },
    )


@pytest.mark.timeout(900)
def test_a_kill_at_any_write_leaves_a_run_to_go_on_with(world, doc, carry):
    """Every open, rename, removal and line in the runs' directory in turn; the next attempt always succeeds."""
    at, killed = 0, 0
    while True:
        at += 1
        process = carry(three_tasks(world, doc), at)
        said = process.stdout.read()
        code = process.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL, said
        killed += 1
        known = world.executor.status("run-1")
        listed = [run.name for run in world.executor.list()]
        if known is None:
            assert listed == []
            assert "task" not in said
            continue
        assert listed == ["run-1"]
        assert known.phase in (Phase.FAILED, Phase.SUCCEEDED)
        for line in world.executor.logs("run-1"):
            assert line.text == f"said {line.task}"
        done = {task.name for task in known.tasks if task.phase is Phase.SUCCEEDED} - {"last"}
        before = {name: times(world, name) for name in done}
        assert set(before.values()) <= {1}
        if known.phase is Phase.FAILED:
            assert known.reason == "ExecutorDied"
            result = world.executor.retry("run-1", world.observer)
            assert result.phase is Phase.SUCCEEDED, (at, result)
            assert result.results == {"out": "b"}
            assert {name: times(world, name) for name in done} == before
        for path in (world.path / "runs").iterdir():
            subprocess.run(["rm", "-rf", str(path)], check=True)
    assert killed > 30, "the run was killed often, or the hook has gone blind"


def test_what_succeeded_is_not_run_again_and_finally_is(world, doc):
    document = with_workspace(
        doc,
        counting(world, "a"),
        counting(world, "b", "test -e $(workspaces.w.path)/repaired", runAfter=["a"]),
        counting(world, "c", runAfter=["b"]),
        pipeline={"finally": [counting(world, "last")]},
    )
    assert world.run(document).phase is Phase.FAILED
    first = world.executor.status("run-1")
    (world.path / "runs/run-1/workspaces/w/repaired").touch()
    result = world.executor.retry("run-1", world.observer)
    assert result.phase is Phase.SUCCEEDED
    assert [times(world, name) for name in ("a", "b", "c", "last")] == [1, 2, 1, 2]
    assert result.uid == first.uid
    assert result.started == first.started
    assert result.tasks[0] == first.tasks[0]
    assert (world.path / "runs/run-1/logs/a/main.log").read_text() == "said a\n"
    with pytest.raises(RefusedError, match="run run-1 succeeded"):
        world.executor.retry("run-1", world.observer)


def test_a_run_is_cancelled_from_another_process(world, doc, carry):
    document = doc(
        world.task("a", "echo up; sleep 1000"), pipeline={"finally": [world.task("last", "true")]}
    )
    process = carry(document)
    wait_for(process, "log up")
    assert world.executor.cancel("run-1", Ending.CANCELLED)
    wait_for(process, "ended Cancelled")
    run = world.executor.status("run-1")
    assert (run.phase, run.reason) == (Phase.CANCELLED, "Cancelled")
    assert [(task.phase, task.reason) for task in run.tasks] == [
        (Phase.CANCELLED, "TaskRunCancelled"),
        (Phase.SKIPPED, "PipelineRun was stopping"),
    ]
    assert world.processes() == []
    assert not world.executor.cancel("run-1", Ending.CANCELLED), "twice is no fault"


@pytest.mark.parametrize(
    ("ending", "during", "phase", "skipped"),
    [
        (Ending.RUN_FINALLY, "CancelledRunningFinally", Phase.CANCELLED, "PipelineRun was gracefully cancelled"),
        (Ending.STOPPED, "StoppedRunningFinally", Phase.SUCCEEDED, "PipelineRun was gracefully stopped"),
    ],
)  # fmt: skip
def test_an_end_with_finally(world, doc, carry, ending, during, phase, skipped):
    wait = "while ! test -e $(workspaces.w.path)/go; do sleep 0.05; done"
    document = with_workspace(
        doc,
        counting(world, "a", wait),
        counting(world, "b", runAfter=["a"]),
        pipeline={"finally": [counting(world, "last", f"echo up; {wait}")]},
    )
    process = carry(document)
    wait_for(process, "log said a")
    assert world.executor.cancel("run-1", ending)
    until(lambda: world.executor.status("run-1").reason == during)
    if ending is Ending.RUN_FINALLY:
        wait_for(process, "log said last")
    (world.path / "runs/run-1/workspaces/w/go").touch()
    wait_for(process, "ended Cancelled")
    run = world.executor.status("run-1")
    assert (run.phase, run.reason) == (Phase.CANCELLED, "Cancelled")
    assert [task.phase for task in run.tasks] == [phase, Phase.SKIPPED, Phase.SUCCEEDED]
    assert run.tasks[1].reason == skipped
    assert run.finally_started is not None


def test_a_harder_end_prevails(world, doc, carry):
    document = doc(
        world.task("a", "echo up; sleep 1000"), pipeline={"finally": [world.task("last", "true")]}
    )
    process = carry(document)
    wait_for(process, "log up")
    assert world.executor.cancel("run-1", Ending.STOPPED)
    until(lambda: world.executor.status("run-1").reason == "StoppedRunningFinally")
    assert world.executor.cancel("run-1", Ending.CANCELLED)
    wait_for(process, "ended Cancelled")
    assert world.executor.status("run-1").tasks[1].phase is Phase.SKIPPED


def test_a_request_that_came_late_does_not_end_the_next_attempt(world, doc, carry):
    process = carry(doc(world.task("a", "echo up; sleep 1000")))
    wait_for(process, "log up")
    process.kill()
    process.wait()
    control.request(RunDirectory(world.path / "runs/run-1"), Ending.CANCELLED)
    assert world.run(doc(world.task("a", "true"))).phase is Phase.SUCCEEDED


def test_a_request_that_came_early_is_heeded(world, doc, tmp_path):
    directory, heard = RunDirectory(tmp_path / "r"), threading.Event()
    with directory.held() as token:
        control.request(directory, Ending.STOPPED)
        with control.listening(directory, token, lambda _: heard.set()):
            assert heard.wait(10)


def test_a_file_system_without_fifos_will_do(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "_fifo", lambda _: None)
    directory, heard = RunDirectory(tmp_path / "r"), threading.Event()
    with (
        directory.held() as token,
        control.listening(directory, token, lambda _: heard.set()),
    ):
        assert not heard.is_set()
        control.request(directory, Ending.STOPPED)
        assert heard.wait(10)


def test_a_run_whose_executor_is_dead_is_marked(world, doc, carry):
    process = carry(
        doc(world.task("a", "echo up; sleep 1000"), world.task("b", "true", runAfter=["a"]))
    )
    wait_for(process, "log up")
    process.kill()
    process.wait()
    assert not world.executor.cancel("run-1", Ending.CANCELLED)
    run = journal.read(world.path / "runs/run-1/journal")
    assert (run.phase, run.reason) == (Phase.CANCELLED, "Cancelled")
    assert f"process {process.pid}" in run.message
    assert [task.phase for task in run.tasks] == [Phase.CANCELLED, Phase.SKIPPED]
    assert run.finished >= run.started


def test_what_is_over_is_not_cancelled(world, doc):
    world.run(doc(world.task("a", "true")))
    with pytest.raises(RefusedError, match="run run-1 is over: Succeeded"):
        world.executor.cancel("run-1", Ending.CANCELLED)
    with pytest.raises(UsageError, match="no run 'run-2'"):
        world.executor.cancel("run-2", Ending.CANCELLED)


def test_a_pending_run_waits_to_be_started(world, doc):
    document = doc(world.task("a", "echo hello"), status="PipelineRunPending")
    result = world.run(document)
    assert (result.phase, result.reason) == (Phase.PENDING, "PipelineRunPending")
    assert world.executor.status("run-1") == result
    assert world.observer.said("a") == []
    assert world.executor.start("run-1", world.observer).phase is Phase.SUCCEEDED
    assert world.observer.said("a") == ["hello"]
    with pytest.raises(RefusedError, match="run-1 is not pending: Succeeded"):
        world.executor.start("run-1", world.observer)


def test_a_pending_run_is_cancelled_at_once(world, doc):
    world.run(doc(world.task("a", "true"), status="PipelineRunPending"))
    assert not world.executor.cancel("run-1", Ending.CANCELLED)
    assert world.executor.status("run-1").phase is Phase.CANCELLED


def test_a_run_under_way_is_not_gone_on_with(world, doc, carry):
    process = carry(doc(world.task("a", "echo up; sleep 1000")))
    wait_for(process, "log up")
    with pytest.raises(ExecutorError, match=f"carried out by process {process.pid}") as said:
        world.executor.retry("run-1", world.observer)
    assert "mlops runs cancel run-1" in said.value.hint


def test_the_second_interrupt_kills_at_once(world, doc, carry, monkeypatch):
    monkeypatch.setenv("GRACE", "1000")
    process = carry(doc(world.task("a", "trap '' TERM; echo up; while :; do sleep 0.1; done")))
    wait_for(process, "log up")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the step has a grace to end in, and a long one here"
    process.send_signal(signal.SIGINT)
    wait_for(process, "ended Cancelled")
    assert world.processes() == []


# how many tasks work at once


def most_at_once(result):
    """How many tasks worked at the same time, at most."""
    moments = [(task.started, 1) for run in result for task in run.tasks]
    moments += [(task.finished, -1) for run in result for task in run.tasks]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def sidecar(world):
    return {"sidecars": [{"name": "side", "image": str(world.shell), "script": "sleep 100"}]}


def test_only_so_many_tasks_of_a_run_work_at_once(world, doc):
    executor = LocalExecutor(world.path / "runs", world.store, "sandbox", world.cache, jobs=2)
    tasks = [world.task(f"t{n}", "sleep 0.2", spec=sidecar(world)) for n in range(6)]
    result = executor.run(doc(*tasks), world.observer)
    assert result.phase is Phase.SUCCEEDED
    assert most_at_once([result]) == 2
    waiting = {(state.name, state.waits) for state in world.observer.states if state.waits}
    queued = {name for name, why in waiting if "other runs" not in why}
    assert queued == {f"t{n}" for n in range(2, 6)}, waiting
    assert all(not task.waits for task in result.tasks)


def test_runs_share_the_places_of_a_machine(world, doc, tmp_path):
    results, threads = [], []

    def carry_out(name):
        executor = LocalExecutor(tmp_path / "runs", world.store, "sandbox", world.cache)
        executor._limits = Limits(2, Places(tmp_path / "places", 2))
        tasks = [world.task(f"t{n}", "sleep 0.2", spec=sidecar(world)) for n in range(4)]
        results.append(executor.run(doc(*tasks, name=name), world.observer))

    for name in ("run-1", "run-2", "run-3"):
        threads.append(threading.Thread(target=carry_out, args=(name,)))
        threads[-1].start()
    for thread in threads:
        thread.join(60)
    assert [result.phase for result in results] == [Phase.SUCCEEDED] * 3
    waited = {state.waits for state in world.observer.states}
    assert "other runs have all places of this machine" in waited


def test_a_task_that_waits_for_a_place_can_be_cancelled(world, doc, tmp_path):
    executor = LocalExecutor(tmp_path / "runs", world.store, "sandbox", world.cache)
    places = Places(tmp_path / "places", 1)
    executor._limits = Limits(1, places)
    results = []
    with places.taken(Stop(), lambda: None, lambda: None):
        thread = threading.Thread(
            target=lambda: results.append(
                executor.run(doc(world.task("a", "true")), world.observer)
            )
        )
        thread.start()
        until(lambda: any(state.waits for state in world.observer.states))
        assert executor.cancel("run-1", Ending.CANCELLED)
        thread.join(30)
    assert results[0].phase is Phase.CANCELLED
    assert world.observer.said("a") == []


def test_a_killed_process_gives_its_place_back(tmp_path):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from mlops.adapters.executors.local.places import Places\n"
        "from mlops.adapters.executors.local.runtime.running import Stop\n"
        "with Places(Path(sys.argv[1]), 1).taken(Stop(), int, int): print('has it', flush=True); time.sleep(1000)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    waited = []
    try:
        assert "has it" in process.stdout.readline()
        threading.Timer(0.3, process.kill).start()
        with Places(Path(tmp_path), 1).taken(Stop(), lambda: waited.append(1), lambda: None):
            assert process.wait(10) == -signal.SIGKILL
        assert waited == [1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_run_inside_a_task_takes_no_place_of_its_own(tmp_path, monkeypatch):
    never = pytest.fail
    with Places(tmp_path, 1).taken(Stop(), lambda: never("free"), int):
        monkeypatch.setenv("MLOPS_WARD", "a/run")
        with Places(tmp_path, 1).taken(Stop(), lambda: never("inside"), int):
            pass


# logs from another process


def test_logs_are_followed_across_tasks_to_the_end_of_the_run(world, doc, carry):
    wait = "while ! test -e $(workspaces.w.path)/go; do sleep 0.05; done; echo went on"
    document = with_workspace(doc, counting(world, "a", wait), counting(world, "b", runAfter=["a"]))
    process = carry(document)
    wait_for(process, "log said a")
    lines = world.executor.follow("run-1")
    first = next(lines)
    assert (first.task, first.step, first.text) == ("a", "main", "said a")
    (world.path / "runs/run-1/workspaces/w/go").touch()
    rest = list(lines)
    assert [(line.task, line.text) for line in rest] == [("a", "went on"), ("b", "said b")]
    assert first.time < rest[0].time < rest[1].time
    wait_for(process, "ended Succeeded")
    assert [line.text for line in world.executor.logs("run-1", "b", "main")] == ["said b"]
    assert list(world.executor.logs("run-1", "none")) == []


def test_following_ends_when_the_executor_is_killed(world, doc, carry):
    process = carry(doc(world.task("a", "echo up; sleep 1000")))
    wait_for(process, "log up")
    lines = world.executor.follow("run-1")
    assert next(lines).text == "up"
    process.kill()
    process.wait()
    with pytest.raises(ExecutorError, match="ended in the middle"):
        next(lines)


def test_states_are_watched_to_the_end(world, doc, carry):
    process = carry(
        doc(world.task("a", "echo up; sleep 0.5"), world.task("b", "true", runAfter=["a"]))
    )
    wait_for(process, "log up")
    seen = list(world.executor.watch("run-1"))
    assert seen[0].tasks[0].phase is Phase.RUNNING
    assert seen[-1].phase is Phase.SUCCEEDED
    assert seen[-1] == world.executor.status("run-1")


# what else can happen to a machine


def test_a_clock_set_back_in_the_middle_turns_no_time_round(world, doc, monkeypatch):
    """Each look at the machine's clock is an hour before the last."""
    hours = itertools.count()
    begun = time.time()
    monkeypatch.setattr(time, "time", lambda: begun - 3600 * next(hours))
    first = world.run(doc(world.task("a", "echo one"), world.task("b", "exit 1", runAfter=["a"])))
    again = world.executor.retry("run-1", world.observer)
    for run in (first, again):
        moments = [run.started]
        for task in run.tasks:
            moments += [task.started, *(step.started for step in task.steps), task.finished]
            assert all(step.finished >= step.started for step in task.steps)
        assert moments == sorted(moments)
        assert run.finished >= moments[-1]
    assert again.tasks[1].started >= first.finished
    lines = list(world.executor.logs("run-1"))
    assert [line.time for line in lines] == sorted(line.time for line in lines)


@pytest.mark.parametrize("content", [b"", b"\xff\x00 garbage", b"00000000 {}\n"])
def test_a_spoiled_journal_hides_no_run(world, doc, content):
    world.run(doc(world.task("a", "echo one")))
    (world.path / "runs/run-1/journal").write_bytes(content)
    run = world.executor.status("run-1")
    assert (run.phase, run.reason) == (Phase.FAILED, "ExecutorDied")
    assert world.executor.list() == (run,)
    assert world.executor.retry("run-1", world.observer).phase is Phase.SUCCEEDED


def test_what_is_no_run_is_not_listed(world, doc):
    world.run(doc(world.task("a", "true")))
    (world.path / "runs/empty").mkdir()
    (world.path / "runs/file").write_text("x")
    assert [run.name for run in world.executor.list()] == ["run-1"]
