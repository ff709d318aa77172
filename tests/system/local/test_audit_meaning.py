"""Where an audit held the executor against the source of Tekton 1.15."""

from __future__ import annotations

from mlops.domain.run import Phase

NEVER = [{"input": "a", "operator": "in", "values": ["b"]}]
MISSING = [{"name": "p", "value": "$(tasks.a.results.r)"}]


def phases(result):
    return {state.name: state.phase for state in result.tasks}


def test_a_matrix_of_results_has_no_more_combinations_than_allowed(world, doc):
    """Known only when the result is there: nothing of it starts, and `finally` runs."""
    script = "printf '[\"0\"' > $(results.l.path); for n in `seq 299`; do printf ',\"'$n'\"'; done >> $(results.l.path); printf ']' >> $(results.l.path)"
    many = world.task("a", script, spec={"results": [{"name": "l", "type": "array"}]})
    each = world.task(
        "b",
        "echo began",
        spec={"params": [{"name": "p"}]},
        matrix={"params": [{"name": "p", "value": "$(tasks.a.results.l[*])"}]},
    )
    result = world.run(doc(many, each, pipeline={"finally": [world.task("f", "true")]}))
    assert phases(result) == {"a": Phase.SUCCEEDED, "b": Phase.FAILED, "f": Phase.SUCCEEDED}
    assert "makes 300 combinations" in result.tasks[1].message
    assert world.observer.said("b") == []


def test_a_task_that_may_fail_is_skipped_without_its_results(world, doc):
    silent = world.task("a", "true", spec={"results": [{"name": "r"}]})
    needs = world.task(
        "b", "true", spec={"params": [{"name": "p"}]}, params=MISSING, onError="continue"
    )
    result = world.run(doc(silent, needs, world.task("c", "true", runAfter=["a"])))
    assert result.phase is Phase.SUCCEEDED
    assert phases(result) == {"a": Phase.SUCCEEDED, "b": Phase.SKIPPED, "c": Phase.SUCCEEDED}
    assert result.tasks[1].reason == "Results were missing"


def test_a_step_that_may_fail_may_not_take_too_long(world, doc):
    result = world.run(
        doc(world.task("a", "sleep 100", step={"timeout": "1s", "onError": "continue"}))
    )
    assert result.phase is Phase.FAILED
    assert result.tasks[0].steps[0].reason == "TimeoutExceeded"


def test_a_condition_that_does_not_hold_counts_before_a_skipped_parent(world, doc):
    unwanted = world.task("w", "true", spec={"results": [{"name": "r"}]}, when=NEVER)
    given = [{"name": "p", "value": "$(tasks.w.results.r)"}]
    needs = world.task("a", "true", spec={"params": [{"name": "p"}]}, params=given)
    below = world.task("b", "true", runAfter=["a"], when=NEVER)
    result = world.run(doc(unwanted, needs, below, world.task("c", "true", runAfter=["b"])))
    assert result.tasks[2].reason == "When Expressions evaluated to false"
    assert phases(result)["c"] is Phase.SUCCEEDED


def test_a_matrix_has_failed_when_all_of_it_is_done(world, doc):
    """Until then what does not wait for it goes on; y lets its last combination go."""
    w = {"workspaces": [{"name": "w"}]}
    many = world.task(
        "m",
        'test "$(params.p)" = wait; for n in `seq 100`; do test -e $(workspaces.w.path)/go && exit 0; sleep 0.1; done',
        spec={"params": [{"name": "p"}], **w},
        matrix={"params": [{"name": "p", "value": ["fail", "wait"]}]},
        **w,
    )
    x = world.task("x", "sleep 1")
    y = world.task("y", "touch $(workspaces.w.path)/go", spec=w, runAfter=["x"], **w)
    claim = [{"name": "w", "volumeClaimTemplate": {"spec": {}}}]
    result = world.run(doc(many, x, y, pipeline=w, workspaces=claim))
    assert result.phase is Phase.FAILED
    assert phases(result)["y"] is Phase.SUCCEEDED


def test_a_retry_mixes_no_two_attempts(world, doc):
    w = {"workspaces": [{"name": "w"}]}
    counts = "echo x >> $(workspaces.w.path)/n; n=0; while read -r _; do n=$((n + 1)); done < $(workspaces.w.path)/n; printf $n > $(results.r.path); exit 1"
    a = world.task("a", counts, spec={"results": [{"name": "r"}], **w}, onError="continue", **w)
    b = world.task(
        "b",
        "printf $(params.p) > $(results.r.path)",
        spec={"params": [{"name": "p"}], "results": [{"name": "r"}]},
        params=MISSING,
    )
    c = world.task("c", "test -e $(workspaces.w.path)/repaired", spec=w, runAfter=["b"], **w)
    results = [{"name": n, "value": f"$(tasks.{n}.results.r)"} for n in ("a", "b")]
    claim = [{"name": "w", "volumeClaimTemplate": {"spec": {}}}]
    assert (
        world.run(doc(a, b, c, pipeline={"results": results, **w}, workspaces=claim)).phase
        is Phase.FAILED
    )
    (world.path / "runs/run-1/workspaces/w/repaired").touch()
    result = world.executor.retry("run-1", world.observer)
    assert result.results["a"] == result.results["b"]
