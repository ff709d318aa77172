"""Runs read from the objects that a cluster keeps."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.run import Condition, Phase, RunResult, StepState, TaskState
from mlops.tekton import observed, status

WHEN = datetime(2026, 11, 28, 10, 0, tzinfo=UTC)
DONE = st.sampled_from([Phase.SUCCEEDED, Phase.FAILED])
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
VALUES = st.one_of(
    TEXT, st.lists(TEXT, min_size=1).map(tuple), st.dictionaries(TEXT, TEXT, min_size=1)
)


def _documents(names: list[str]) -> list[dict]:
    tasks = [{"name": name, "taskSpec": {"steps": [{"image": "x"}]}} for name in names]
    return [
        {
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "metadata": {"name": "r"},
            "spec": {"pipelineSpec": {"tasks": tasks}},
        }
    ]


@st.composite
def runs(draw) -> RunResult:
    tasks = []
    for number in range(draw(st.integers(1, 4))):
        phase = draw(st.one_of(DONE, st.just(Phase.SKIPPED)))
        if phase is Phase.SKIPPED:
            when = draw(
                st.lists(st.builds(Condition, TEXT, st.booleans(), st.tuples(TEXT)), max_size=2)
            )
            tasks.append(
                TaskState(
                    f"t{number}", phase, "When Expressions evaluated to false", when=tuple(when)
                )
            )
            continue
        code = 0 if phase is Phase.SUCCEEDED else draw(st.integers(1, 255))
        step = StepState("s", phase, code, WHEN, WHEN, image="img@sha256:1")
        results = draw(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=2))
        tasks.append(
            TaskState(
                f"t{number}",
                phase,
                "Succeeded" if code == 0 else "Failed",
                draw(TEXT),
                WHEN,
                WHEN,
                results=results,
                steps=(step,),
                taskrun=f"r-t{number}",
                uid=f"u{number}",
            )
        )
    phase = draw(DONE)
    return RunResult("r", phase, str(phase), draw(TEXT), WHEN, WHEN, tuple(tasks), uid="u")


@given(runs())
def test_what_status_prints_is_read_as_it_was(run: RunResult) -> None:
    documents = _documents([task.name for task in run.tasks])
    listed = status.of_runs([(documents, run)], with_taskruns=True)["items"]

    found = observed.run(listed[0], listed[1:])

    assert (found.name, found.phase, found.message) == (run.name, run.phase, run.message)
    assert len(found.tasks) == len(run.tasks)
    for one, other in zip(found.tasks, run.tasks, strict=True):
        assert (one.name, one.phase, one.reason, one.message) == (
            other.name,
            other.phase,
            other.reason,
            other.message,
        )
        assert one.results == other.results
        assert one.when == other.when
        assert [(s.name, s.phase, s.exit_code) for s in one.steps] == [
            (s.name, s.phase, s.exit_code) for s in other.steps
        ]


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), TEXT),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    [
                        "status",
                        "metadata",
                        "spec",
                        "conditions",
                        "steps",
                        "tasks",
                        "name",
                        "childReferences",
                    ]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=40,
    )
)
def test_nothing_that_an_object_may_hold_breaks_the_reading(value) -> None:
    whole = value if isinstance(value, dict) else {"status": value}
    observed.run({"kind": "PipelineRun", **whole}, [whole])
    observed.run({"kind": "TaskRun", **whole})


def _run(task: dict, child: dict, **spec) -> RunResult:
    found = {
        "kind": "PipelineRun",
        "metadata": {"name": "r"},
        "spec": spec,
        "status": {
            "pipelineSpec": {"tasks": [task]},
            "childReferences": [
                {"name": child["metadata"]["name"], "pipelineTaskName": task["name"]}
            ],
        },
    }
    return observed.run(found, [child])


def _child(name: str, *, reason: str = "Failed", truth: str = "False", **state) -> dict:
    return {
        "kind": "TaskRun",
        "metadata": {"name": name},
        "status": {
            "conditions": [
                {"type": "Succeeded", "status": truth, "reason": reason, "message": "m"}
            ],
            **state,
        },
    }


def test_a_step_that_ran_out_of_memory_says_so() -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    child = _child("r-t", steps=[{"name": "s", "terminated": ended, "terminationReason": "Error"}])

    (task,) = _run({"name": "t"}, child).tasks

    assert task.steps[0].reason == "OOMKilled"
    assert task.steps[0].exit_code == 137


def test_combinations_of_a_matrix_have_names_of_their_own() -> None:
    task = {"name": "t", "matrix": {"params": [{"name": "os", "value": ["a", "b"]}]}}
    child = _child("r-t-1", reason="Succeeded", truth="True")
    child["spec"] = {"params": [{"name": "os", "value": "b"}, {"name": "other", "value": "x"}]}

    (found,) = _run(task, child).tasks

    assert (found.name, found.of, found.combination) == ("t.1", "t", {"os": "b"})


def test_the_only_combination_of_a_matrix_is_the_first_whatever_its_task_is_named() -> None:
    task = {"name": "t-5", "matrix": {"params": [{"name": "os", "value": ["a"]}]}}

    (found,) = _run(task, _child("r-t-5")).tasks

    assert found.name == "t-5.0"


def test_a_task_whose_pod_waits_says_for_what() -> None:
    child = _child("r-t", reason="Pending", truth="Unknown")

    (task,) = _run({"name": "t"}, child).tasks

    assert (task.phase, task.waits) == (Phase.RUNNING, "m")


def test_an_ignored_failure_is_marked() -> None:
    (task,) = _run({"name": "t", "onError": "continue"}, _child("r-t")).tasks

    assert task.ignored


def test_a_run_that_was_removed_before_its_end_failed() -> None:
    before = _run({"name": "t"}, _child("r-t", truth="Unknown", reason="Running"))

    after = observed.gone(before)

    assert (after.phase, after.reason) == (Phase.FAILED, "Deleted")


def test_a_run_that_was_removed_after_its_end_stays_as_it_ended() -> None:
    run = RunResult("r", Phase.SUCCEEDED, "Succeeded", "", WHEN, WHEN)

    assert observed.gone(run) is run
