"""Tekton's features, carried out for real in the sandbox."""

import json
import threading

import pytest

from mlops.adapters.executors.local.runtime import proctree
from mlops.domain.run import Phase
from mlops.errors import ConfigError, ExecutorError, RegistryError


def states(result):
    return {task.name: task for task in result.tasks}


def phases(result):
    return {task.name: str(task.phase) for task in result.tasks}


def test_results_go_from_task_to_task_and_out(world, doc):
    result = world.run(
        doc(
            world.task(
                "one",
                'printf hello > $(results.text.path); printf \'["a","b"]\' > $(results.list.path)\n'
                'printf \'{"k":"v"}\' > $(results["o.x"].path)',
                spec={
                    "results": [
                        {"name": "text"},
                        {"name": "list", "type": "array"},
                        {"name": "o.x", "type": "object", "properties": {"k": {"type": "string"}}},
                    ]
                },
            ),
            world.task(
                "two",
                'echo "$TEXT $K"; for each; do echo "got $each"; done',
                params=[
                    {"name": "text", "value": "$(tasks.one.results.text)!"},
                    {"name": "list", "value": ["$(tasks.one.results.list[*])", "c d"]},
                    {"name": "k", "value": "$(tasks.one.results['o.x'].k)"},
                ],
                spec={
                    "params": [{"name": "text"}, {"name": "list", "type": "array"}, {"name": "k"}]
                },
                step={
                    "args": ["$(params.list[*])"],
                    "env": [
                        {"name": "TEXT", "value": "$(params.text)"},
                        {"name": "K", "value": "$(params.k)"},
                    ],
                },
            ),
            pipeline={
                "results": [
                    {"name": "said", "value": "$(tasks.one.results.text)"},
                    {"name": "list", "value": "$(tasks.one.results.list[*])"},
                ]
            },
        )
    )
    assert (result.phase, result.reason) == (Phase.SUCCEEDED, "Succeeded")
    assert world.observer.said("two") == ["hello! v", "got a", "got b", "got c d"]
    assert result.results == {"said": "hello", "list": ("a", "b")}
    assert states(result)["one"].results["o.x"] == {"k": "v"}
    assert states(result)["one"].runtime == "sandbox"
    assert result.labels == {"a": "b"}


def test_tasks_that_do_not_wait_run_together(world, doc):
    """Each waits for the other through the shared workspace: one after the other hangs."""
    shared = {
        "spec": {"workspaces": [{"name": "w"}]},
        "workspaces": [{"name": "w"}],
        "timeout": "60s",
    }
    script = "cd $(workspaces.w.path)\n"
    first = script + "while ! ls here 2>/dev/null; do sleep 0.01; done; touch there"
    second = script + "touch here; while ! ls there 2>/dev/null; do sleep 0.01; done"
    result = world.run(
        doc(
            world.task("a", first, **shared),
            world.task("b", second, **shared),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.phase is Phase.SUCCEEDED


def test_parameters_propagate_and_inner_ones_win(world, doc):
    result = world.run(
        doc(
            world.task(
                "a",
                'echo "$(params.given) $(params.pipeline) $(params.task) $(params.o.x) $(params.o.y)"',
                spec={
                    "params": [
                        {"name": "task", "default": "task-default"},
                        {"name": "given", "default": "task-default"},
                        {
                            "name": "o",
                            "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
                            "default": {"x": "1", "y": "2"},
                        },
                    ]
                },
                params=[{"name": "o", "value": {"y": "3"}}],
            ),
            pipeline={
                "params": [{"name": "given", "default": "d"}, {"name": "pipeline", "default": "p"}]
            },
            params=[{"name": "given", "value": "run"}, {"name": "surplus", "value": "ignored"}],
        )
    )
    assert result.phase is Phase.SUCCEEDED
    assert world.observer.said("a") == ["run p task-default 1 3"]


def test_data_in_a_parameter_stays_data(world, doc):
    nasty = "$(params.other) `id` $(id) '; exit 9; \""
    world.run(
        doc(
            world.task(
                "a",
                'echo "$VALUE"',
                params=[{"name": "p", "value": "$(params.nasty)"}],
                spec={"params": [{"name": "p"}]},
                step={"env": [{"name": "VALUE", "value": "$(params.p)"}]},
            ),
            pipeline={"params": [{"name": "nasty"}, {"name": "other", "default": "x"}]},
            params=[{"name": "nasty", "value": nasty}],
        )
    )
    assert world.observer.said("a") == [nasty]


def test_context_variables(world, doc):
    world.run(
        doc(
            world.task(
                "a",
                'echo "$(context.pipelineRun.name)|$(context.pipelineRun.namespace)|$(context.taskRun.name)'
                '|$(context.task.name)|$(context.pipeline.name)|$(context.task.retry-count)"\n'
                'echo "$(context.pipelineRun.uid)"',
            )
        )
    )
    first, uid = world.observer.said("a")
    assert first == "run-1|default|run-1-a|run-1-a|run-1|0"
    assert len(uid) == 36


def test_when_skips_the_task_and_what_needs_its_results(world, doc):
    result = world.run(
        doc(
            world.task(
                "yes", "true", when=[{"input": "a", "operator": "in", "values": ["$(params.l[*])"]}]
            ),
            world.task(
                "no",
                "true",
                spec={"results": [{"name": "r"}]},
                when=[{"input": "a", "operator": "notin", "values": ["a"]}],
            ),
            world.task("after", "true", runAfter=["no"]),
            world.task("user", "true", params=[{"name": "x", "value": "$(tasks.no.results.r)"}]),
            world.task("below", "true", runAfter=["user"]),
            pipeline={"params": [{"name": "l", "default": ["b", "a"]}]},
        )
    )
    assert phases(result) == {
        "yes": "Succeeded",
        "no": "Skipped",
        "after": "Succeeded",
        "user": "Skipped",
        "below": "Skipped",
    }
    assert result.reason == "Completed"
    assert [states(result)[name].reason for name in ("no", "user", "below")] == [
        "When Expressions evaluated to false",
        "Results were missing",
        "Parent Tasks were skipped",
    ]


def test_a_failure_stops_what_has_not_begun_and_finally_runs(world, doc):
    result = world.run(
        doc(
            world.task("bad", "exit 7"),
            world.task("never", "true", runAfter=["bad"]),
            pipeline={
                "finally": [
                    world.task(
                        "last",
                        'echo "$S $A $N"',
                        params=[
                            {"name": "s", "value": "$(tasks.bad.status)"},
                            {"name": "n", "value": "$(tasks.never.status)"},
                            {"name": "a", "value": "$(tasks.status)"},
                        ],
                        spec={"params": [{"name": "s"}, {"name": "a"}, {"name": "n"}]},
                        step={
                            "env": [
                                {"name": name.upper(), "value": f"$(params.{name})"}
                                for name in "san"
                            ]
                        },
                    ),
                    world.task(
                        "unwanted",
                        "true",
                        when=[{"input": "$(tasks.status)", "operator": "in", "values": ["None"]}],
                    ),
                ]
            },
        )
    )
    assert (result.phase, result.reason) == (Phase.FAILED, "Failed")
    assert result.message == "Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 2"
    assert states(result)["bad"].message == "step main exited with code 7"
    assert states(result)["bad"].steps[0].exit_code == 7
    assert world.observer.said("last") == ["Failed Failed None"]
    assert phases(result)["unwanted"] == "Skipped"


def test_a_failing_final_task_fails_the_run(world, doc):
    result = world.run(
        doc(world.task("a", "true"), pipeline={"finally": [world.task("z", "exit 1")]})
    )
    assert result.phase is Phase.FAILED


def test_retries_begin_anew_and_count(world, doc):
    script = (
        'echo "try $(context.task.retry-count)"; if test -e /mark; then exit 9; fi; touch /mark\n'
        "test -e $(workspaces.w.path)/seen || { touch $(workspaces.w.path)/seen; exit 1; }"
    )
    result = world.run(
        doc(
            world.task(
                "a",
                script,
                retries=3,
                spec={"workspaces": [{"name": "w"}]},
                workspaces=[{"name": "w"}],
            ),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.phase is Phase.SUCCEEDED
    assert states(result)["a"].attempts == 2
    assert [line for line in world.observer.said("a") if line.startswith("try")] == [
        "try 0",
        "try 1",
    ]


def test_a_step_that_may_fail_leaves_its_exit_code(world, doc):
    task = world.task("a", "exit 5", step={"onError": "continue"})
    task["taskSpec"]["steps"].append(
        {
            "name": "next",
            "image": str(world.shell),
            "script": "cat $(steps.step-main.exitCode.path)",
        }
    )
    result = world.run(doc(task))
    assert result.phase is Phase.SUCCEEDED
    assert world.observer.said("a", "next") == ["5"]
    assert [step.exit_code for step in result.tasks[0].steps] == [5, 0]


def test_steps_after_a_failed_one_are_skipped(world, doc):
    task = world.task("a", "exit 1")
    task["taskSpec"]["steps"].append(
        {"name": "next", "image": str(world.shell), "script": "echo no"}
    )
    result = world.run(doc(task))
    assert [str(step.phase) for step in result.tasks[0].steps] == ["Failed", "Skipped"]
    assert world.observer.said("a", "next") == []


def test_scripts_commands_and_defaults(world, doc):
    image = str(world.shell)
    steps = [
        {"name": "default", "image": image},  # Cmd: id
        {
            "name": "args",
            "image": image,
            "command": ["sh", "-c"],
            "args": ['echo "$1"', "sh", "$(A) $$(A) $(B)"],
            "env": [{"name": "A", "value": "1"}],
        },
        {"name": "stops", "image": image, "script": "false\necho on", "onError": "continue"},
        {"name": "shebang", "image": image, "script": "#!/bin/cat\nprinted"},
        {"name": "placed", "image": image, "script": "pwd", "workingDir": "/workspace/some/where"},
        {"name": "env", "image": image, "script": 'echo "$COLOUR $HOME ${MLOPS_WARD-none}"'},
    ]
    result = world.run(doc({"name": "a", "taskSpec": {"steps": steps}}))
    said = world.observer.said
    assert said("a", "default")[0].startswith("uid=0")
    assert said("a", "args") == ["1 $(A) $(B)"]
    assert said("a", "stops") == []
    assert said("a", "shebang") == ["#!/bin/cat", "printed"]
    assert said("a", "placed") == ["/workspace/some/where"]
    assert said("a", "env") == ["red /tekton/home none"]
    assert result.phase is Phase.SUCCEEDED


def test_workspaces_and_sub_paths(world, doc):
    own = {
        "spec": {
            "workspaces": [{"name": "w", "mountPath": "/data"}, {"name": "o", "optional": True}]
        }
    }
    result = world.run(
        doc(
            world.task(
                "write",
                'echo x > $(workspaces.w.path)/f; echo "$(workspaces.w.path) $(workspaces.o.bound) [$(workspaces.o.path)]"',
                workspaces=[{"name": "w", "workspace": "run", "subPath": "deep/$(params.dir)"}],
                **own,
            ),
            world.task(
                "read",
                "cat $(workspaces.w.path)/deep/er/f",
                runAfter=["write"],
                workspaces=[{"name": "w", "workspace": "run"}],
                **own,
            ),
            pipeline={
                "workspaces": [{"name": "run"}],
                "params": [{"name": "dir", "default": "er"}],
            },
            workspaces=[{"name": "run", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.phase is Phase.SUCCEEDED
    assert world.observer.said("write") == ["/data false []"]
    assert (world.path / "runs/run-1/workspaces/run/deep/er/f").read_text() == "x\n"


def test_an_empty_dir_workspace_is_each_tasks_own(world, doc):
    task = {"spec": {"workspaces": [{"name": "w"}]}, "workspaces": [{"name": "w"}]}
    script = "ls $(workspaces.w.path); touch $(workspaces.w.path)/left"
    world.run(
        doc(
            world.task("a", script, **task),
            world.task("b", script, runAfter=["a"], **task),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "emptyDir": {}}],
        )
    )
    assert world.observer.said() == []


def test_an_isolated_workspace_is_seen_by_those_that_list_it(world, doc):
    sidecar = {
        "name": "side",
        "image": str(world.shell),
        "script": "ls -a /workspace/secret /workspace/open /x > /x/listing 2>&1 || true; touch /x/done; sleep 60",
        "volumeMounts": [{"name": "x", "mountPath": "/x"}],
    }
    result = world.run(
        doc(
            world.task(
                "a",
                "touch $(workspaces.secret.path)/token; while ! ls /x/done 2>/dev/null; do sleep 0.01; done; cat /x/listing",
                spec={
                    "workspaces": [{"name": "secret"}, {"name": "open"}],
                    "sidecars": [sidecar],
                    "volumes": [{"name": "x", "emptyDir": {}}],
                },
                step={
                    "workspaces": [{"name": "secret"}],
                    "volumeMounts": [{"name": "x", "mountPath": "/x"}],
                },
                workspaces=[{"name": "secret"}, {"name": "open"}],
                timeout="30s",
            ),
            pipeline={"workspaces": [{"name": "secret"}, {"name": "open"}]},
            workspaces=[
                {"name": "secret", "volumeClaimTemplate": {"spec": {}}},
                {"name": "open", "volumeClaimTemplate": {"spec": {}}},
            ],
        )
    )
    assert result.phase is Phase.SUCCEEDED
    listing = "\n".join(world.observer.said("a", "main"))
    assert "'/workspace/secret': No such file" in listing
    assert "/workspace/open:" in listing
    assert "token" not in listing


def test_a_volume_masks_a_directory_of_a_workspace(world, doc):
    result = world.run(
        doc(
            world.task(
                "a",
                "ls $(workspaces.w.path)/.git; echo end",
                spec={"workspaces": [{"name": "w"}], "volumes": [{"name": "none", "emptyDir": {}}]},
                step={"volumeMounts": [{"name": "none", "mountPath": "/workspace/w/.git"}]},
                workspaces=[{"name": "w"}],
                runAfter=["b"],
            ),
            world.task(
                "b",
                "mkdir $(workspaces.w.path)/.git; touch $(workspaces.w.path)/.git/config",
                spec={"workspaces": [{"name": "w"}]},
                workspaces=[{"name": "w"}],
            ),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.phase is Phase.SUCCEEDED
    assert world.observer.said("a") == ["end"]


def test_a_sidecar_whose_image_is_a_result(world, doc):
    result = world.run(
        doc(
            world.task(
                "build",
                f"printf {world.shell} > $(results.image.path)",
                spec={"results": [{"name": "image"}]},
            ),
            world.task(
                "train",
                "while ! ls /x/hi 2>/dev/null; do sleep 0.01; done",
                params=[{"name": "image", "value": "$(tasks.build.results.image)"}],
                spec={
                    "params": [{"name": "image"}],
                    "volumes": [{"name": "x", "emptyDir": {}}],
                    "sidecars": [
                        {
                            "name": "env",
                            "image": "$(params.image)",
                            "script": "touch /x/hi; echo up; exec sleep 1000",
                            "volumeMounts": [{"name": "x", "mountPath": "/x"}],
                        }
                    ],
                },
                step={"volumeMounts": [{"name": "x", "mountPath": "/x"}]},
            ),
        )
    )
    assert result.phase is Phase.SUCCEEDED
    assert world.observer.said("train", "env") == ["up"]


def test_a_missing_result_fails_its_user_and_the_pipeline_result(world, doc):
    silent = world.task("silent", "true", spec={"results": [{"name": "r"}]})
    result = world.run(
        doc(
            silent,
            world.task("b", "true", params=[{"name": "x", "value": "$(tasks.silent.results.r)"}]),
        )
    )
    assert (result.phase, result.reason) == (Phase.FAILED, "PipelineValidationFailed")
    assert "$(tasks.silent.results.r)" in result.message
    assert phases(result) == {"silent": "Succeeded", "b": "Failed"}
    result = world.run(
        doc(silent, pipeline={"results": [{"name": "x", "value": "$(tasks.silent.results.r)"}]})
    )
    assert (result.phase, result.reason) == (Phase.FAILED, "CouldntGetPipelineResult")


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        (
            "head -c 6000 /dev/zero > $(results.r.path)",
            "string",
            "StepFailed",
        ),
        ("printf '[1]' > $(results.r.path)", "array", "TaskRunValidationFailed"),
        ("printf '{}' > $(results.r.path)", "array", "TaskRunValidationFailed"),
        ("printf nonsense > $(results.r.path)", "object", "TaskRunValidationFailed"),
        ("ln -s /etc/passwd $(results.r.path)", "string", "InvalidResult"),
        ("mkfifo $(results.r.path)", "string", "InvalidResult"),
        ("mkdir $(results.r.path)", "string", "InvalidResult"),
    ],
)
def test_a_result_that_cannot_be_taken_fails_the_task(world, doc, script, kind, reason):
    declared = {"name": "r", "type": kind}
    if kind == "object":
        declared["properties"] = {"k": {"type": "string"}}
    result = world.run(doc(world.task("a", script, spec={"results": [declared]})))
    assert result.tasks[0].phase is Phase.FAILED
    assert result.tasks[0].reason == reason
    assert result.tasks[0].results == {}


def test_results_up_to_the_limit_pass(world, doc):
    result = world.run(
        doc(
            world.task(
                "a",
                "seq 10000 99999 | head -c 3000 > $(results.r.path)",
                spec={"results": [{"name": "r"}]},
            )
        )
    )
    assert result.phase is Phase.SUCCEEDED
    assert len(result.tasks[0].results["r"]) == 3000


def test_what_names_no_image_is_refused_before_anything_runs(world, doc):
    with pytest.raises(ConfigError, match=r"steps\[0\].image: 'Alpine' names no image"):
        world.run(doc(world.task("a", "true", step={"image": "Alpine"})))
    assert not (world.path / "runs/run-1").exists()


def test_what_a_run_was_can_be_read_afterwards(world, doc):
    document = doc(world.task("a", "echo one; echo two"), world.task("b", "exit 1", runAfter=["a"]))
    result = world.run(document)
    again = world.executor
    assert again.status("run-1") == result
    assert again.status("other") is None
    assert again.status("../runs/run-1") is None
    assert again.list() == (result,)
    assert not again.alive("run-1")
    assert [(line.task, line.step, line.text) for line in again.logs("run-1", "a")] == [
        ("a", "main", "one"),
        ("a", "main", "two"),
    ]
    assert list(again.logs("run-1", "../a")) == []
    kept = (world.path / "runs/run-1/run.yaml").read_text()
    assert "kind: PipelineRun" in kept


def test_a_run_that_is_under_way_is_not_begun_twice(world, doc):
    document = doc(world.task("a", "echo up; sleep 100"), timeouts={"pipeline": "60s"})
    results = []
    thread = threading.Thread(target=lambda: results.append(world.run(document)))
    thread.start()
    world.observer.wait_for("up")
    assert world.executor.alive("run-1")
    assert world.executor.status("run-1").phase is Phase.RUNNING
    with pytest.raises(ExecutorError, match=r"run run-1 is being carried out by process \d+"):
        world.executor.run(document, world.observer)
    stop_steps(world)
    thread.join()
    assert results[0].phase is Phase.FAILED


def stop_steps(world):
    proctree.kill_all(world.processes(), 10)


def test_what_an_observer_raises_ends_the_run_and_comes_out(world, doc):
    class Broken:
        def task(self, state):
            pass

        def log(self, task, step, line):
            raise BrokenPipeError("gone")

    with pytest.raises(BrokenPipeError):
        world.executor.run(doc(world.task("a", "echo x; sleep 100")), Broken())
    assert world.executor.status("run-1").phase is Phase.CANCELLED


def test_corrupt_layers_are_said(world, doc, make_tar):
    image = world.store.image([make_tar({"bin/x": b"x" * 1000})])
    manifest = json.loads(world.store.manifest(image.digest))
    blob = world.store.root / manifest["layers"][0]["digest"].removeprefix("sha256:")
    content = bytearray(blob.read_bytes())
    content[-9] ^= 1
    blob.write_bytes(content)
    result = world.run(doc(world.task("a", "true", step={"image": str(image)})))
    assert result.phase is Phase.FAILED
    assert "Fetch or build the image again" in result.tasks[0].message
    assert RegistryError.exit_code == 3


def test_display_names_are_told_with_their_parameters(world, doc):
    result = world.run(
        doc(
            world.task("a", "true", displayName="For $(params.whom), $(tasks.a.lost)"),
            world.task(
                "m",
                "true",
                displayName="On $(params.os)",
                matrix={
                    "params": [{"name": "os", "value": ["linux", "mac"]}],
                    "include": [{"name": "the $(params.os) one", "params": [{"name": "os", "value": "mac"}]}],
                },
                spec={"params": [{"name": "os"}]},
            ),
            pipeline={"params": [{"name": "whom", "default": "you"}]},
        )
    )  # fmt: skip
    assert [(task.name, task.display_name) for task in result.tasks] == [
        ("a", "For you, $(tasks.a.lost)"),
        ("m.0", "On linux"),
        ("m.1", "the mac one"),
    ]


def test_a_failed_combination_lets_the_others_and_what_is_independent_go_on(world, doc):
    matrix = world.task(
        "m",
        "[ $(params.n) != fails ] && sleep 1",
        matrix={"params": [{"name": "n", "value": ["fails", "sleeps", "too"]}]},
        spec={"params": [{"name": "n"}]},
    )
    other = world.task("other", "sleep 0.2")
    later = world.task("later", "true", runAfter=["other"])
    never = world.task("never", "true", runAfter=["m"])
    result = world.run(doc(matrix, other, later, never))
    assert phases(result) == {
        "m.0": "Failed",
        "m.1": "Succeeded",
        "m.2": "Succeeded",
        "other": "Succeeded",
        "later": "Succeeded",
        "never": "Skipped",
    }
