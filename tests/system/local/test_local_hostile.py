"""Steps that misbehave: they end, alone, and leave nothing behind."""

import ctypes
import os
import resource
import signal
import stat
import threading
from pathlib import Path

import pytest

from mlops.adapters.executors.local.record import logs, pieces
from mlops.adapters.executors.local.runtime import warden
from mlops.domain.run import Phase

EATS = "head -c 400M /dev/zero | tail"  # tail keeps what it reads


@pytest.fixture
def nothing_left(world):
    """After the test no process of the run is there any more, and nothing is mounted."""
    yield
    assert world.processes() == []
    assert str(world.path) not in Path("/proc/mounts").read_text()


def only(result):
    return result.tasks[0]


@pytest.mark.usefixtures("nothing_left")
def test_a_step_that_hangs_is_ended_in_time(world, doc):
    result = world.run(doc(world.task("a", "echo on; sleep 1000", timeout="1s")))
    assert (only(result).phase, only(result).reason) == (Phase.FAILED, "TaskRunTimeout")
    assert only(result).message == "it failed to finish within 1s"
    assert only(result).steps[0].reason == "TaskRunTimeout"


@pytest.mark.usefixtures("nothing_left")
def test_a_timeout_counts_for_each_attempt(world, doc):
    script = "test $(context.task.retry-count) = 1 || sleep 1000"
    result = world.run(doc(world.task("a", script, timeout="3s", retries=1)))
    assert (only(result).phase, only(result).attempts) == (Phase.SUCCEEDED, 2)


@pytest.fixture
def terminated_when_up(world):
    """SIGTERM to ourselves, once the step has said `up`."""

    def when_up():
        world.observer.wait_for("up")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=when_up)
    thread.start()
    yield
    thread.join()


@pytest.mark.usefixtures("nothing_left", "terminated_when_up")
def test_a_step_that_ignores_sigterm_is_killed(world, doc):
    result = world.run(doc(world.task("a", "trap '' TERM; echo up; while true; do sleep 1; done")))
    assert only(result).phase is Phase.CANCELLED
    assert only(result).steps[0].exit_code == 137


@pytest.mark.usefixtures("nothing_left", "terminated_when_up")
def test_a_step_may_end_in_order(world, doc):
    script = "trap 'echo bye; exit 4' TERM; echo up; while true; do sleep 0.01; done"
    result = world.run(doc(world.task("a", script)))
    assert world.observer.said("a")[-1] == "bye"
    assert only(result).phase is Phase.CANCELLED
    assert only(result).steps[0].exit_code == 4


@pytest.mark.usefixtures("nothing_left")
def test_the_whole_run_may_take_its_time_and_no_more(world, doc):
    result = world.run(
        doc(
            world.task("a", "sleep 1000"),
            world.task("b", "true", runAfter=["a"]),
            pipeline={"finally": [world.task("z", "echo never")]},
            timeouts={"pipeline": "1s"},
        )
    )
    assert (result.phase, result.reason) == (Phase.FAILED, "PipelineRunTimeout")
    assert [str(task.phase) for task in result.tasks] == ["Cancelled", "Skipped", "Skipped"]


@pytest.mark.usefixtures("nothing_left")
def test_tasks_that_take_too_long_leave_finally_its_time(world, doc):
    result = world.run(
        doc(
            world.task("a", "sleep 1000"),
            pipeline={
                "finally": [
                    world.task(
                        "z",
                        "echo $(params.s)",
                        params=[{"name": "s", "value": "$(tasks.status)"}],
                    )
                ]
            },
            timeouts={"pipeline": "1m", "tasks": "1s"},
        )
    )
    assert (result.phase, result.reason) == (Phase.FAILED, "PipelineRunTimeout")
    assert world.observer.said("z") == ["Failed"]


@pytest.mark.usefixtures("nothing_left", "terminated_when_up")
def test_cancelling_kills_and_leaves_finally_out(world, doc):
    result = world.run(
        doc(
            world.task("a", "echo up; sleep 1000"),
            pipeline={"finally": [world.task("z", "echo never")]},
        )
    )
    assert (result.phase, result.reason) == (Phase.CANCELLED, "Cancelled")
    assert [str(task.phase) for task in result.tasks] == ["Cancelled", "Skipped"]
    assert world.executor.status("run-1") == result


@pytest.mark.usefixtures("nothing_left")
def test_a_step_that_eats_memory_is_killed(world, doc):
    limit = {"computeResources": {"limits": {"memory": "64Mi"}}}
    result = world.run(doc(world.task("a", "exec tail /dev/zero", step=limit, timeout="60s")))
    step = only(result).steps[0]
    assert (step.exit_code, step.reason) == (137, "OOMKilled")
    assert "over its memory limit of 64 MiB" in only(result).message
    assert any("killed process tail" in line for line in world.observer.said("a"))


@pytest.mark.usefixtures("nothing_left")
def test_it_is_the_largest_process_that_is_killed(world, doc):
    limit = {"computeResources": {"limits": {"memory": "64Mi"}}}
    script = 'tail /dev/zero || echo "it ended with $?"; echo on'
    result = world.run(doc(world.task("a", script, step=limit, timeout="60s")))
    assert only(result).phase is Phase.SUCCEEDED
    said = [line for line in world.observer.said("a") if not line.startswith(("mlops:", "Killed"))]
    assert said == ["it ended with 137", "on"]


@pytest.mark.usefixtures("nothing_left")
def test_a_command_in_a_sidecar_dies_of_memory_and_the_sidecar_lives(world, doc):
    sidecar = {
        "name": "side",
        "image": str(world.shell),
        "script": "set +e; tail /dev/zero; echo $? > /x/code.new; mv /x/code.new /x/code; sleep 1000",
        "volumeMounts": [{"name": "x", "mountPath": "/x"}],
        "computeResources": {"limits": {"memory": "64Mi"}},
    }
    result = world.run(
        doc(
            world.task(
                "a",
                "while ! ls /x/code >/dev/null 2>&1; do sleep 0.01; done; cat /x/code; exit 3",
                spec={"sidecars": [sidecar], "volumes": [{"name": "x", "emptyDir": {}}]},
                step={"volumeMounts": [{"name": "x", "mountPath": "/x"}]},
                timeout="60s",
            )
        )
    )
    assert world.observer.said("a", "main") == ["137"]
    assert "sidecar side went over its memory limit" in only(result).message


def test_without_a_limit_memory_is_not_counted(world, doc):
    result = world.run(doc(world.task("a", "head -c 100M /dev/zero | tail -c 1 > /dev/null")))
    assert only(result).phase is Phase.SUCCEEDED


def test_more_output_than_is_kept(world, doc, monkeypatch):
    """Beginning and end are kept, the rest is thrown away, and the step comes to its end."""
    monkeypatch.setattr(logs, "FOLLOWED", 5000)
    result = world.run(
        doc(world.task("a", "echo begin; yes `printf %0999d 0` | head -c 300M; echo; echo end >&2"))
    )
    assert only(result).phase is Phase.SUCCEEDED
    said = world.observer.said("a")
    assert said[-1] == (
        "mlops: after 5000 bytes no more is shown here; "
        f"the log is {world.path / 'runs/run-1/logs/a/main.log'}"
    )
    assert kept(world) <= (pieces.KEPT + 1) * pieces.PIECE
    lines = [line.text for line in world.executor.logs("run-1")]
    assert (lines[0], lines[-1]) == ("begin", "end")
    (gap,) = (line for line in lines if line.startswith("mlops: "))
    left_out = int(gap.split()[1])
    assert 236 <= left_out <= 255
    assert gap.endswith("MiB of the output were not kept")


def kept(world):
    """Bytes that the logs of the run take on the disk."""
    return sum(path.stat().st_size for path in (world.path / "runs/run-1/logs").rglob("*.*"))


def test_a_gigabyte_in_one_line(world, doc):
    result = world.run(doc(world.task("a", "head -c 1G /dev/zero")))
    assert only(result).phase is Phase.SUCCEEDED
    assert kept(world) <= (pieces.KEPT + 1) * pieces.PIECE
    assert all(len(line) <= logs.LONGEST + 200 for line in world.observer.said("a"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = [len(line.text) for line in world.executor.logs("run-1") if line.text.startswith("\0")]
    assert max(parts) == pieces.LONGEST
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_what_a_terminal_would_obey_is_taken_out(world, doc):
    script = "printf '\\033[31mred\\033[0m \\033]0;title\\007tab\\t\\a.\\377\\r\\nnext'"
    world.run(doc(world.task("a", script)))
    assert world.observer.said("a") == ["red tab\t.�", "next"]


@pytest.mark.usefixtures("nothing_left")
def test_what_forks_away_is_taken_along(world, doc):
    script = "setsid sh -c 'trap : TERM HUP; sleep 1000; sleep 1000' & echo on"
    result = world.run(doc(world.task("a", script, timeout="60s")))
    assert only(result).phase is Phase.SUCCEEDED  # it waits neither for what fled nor for the pipe


@pytest.mark.usefixtures("nothing_left")
def test_a_step_that_closes_its_output_goes_on(world, doc):
    script = "exec >&- 2>&-; sleep 0.2; printf done > $(results.r.path)"
    result = world.run(doc(world.task("a", script, spec={"results": [{"name": "r"}]})))
    assert only(result).results == {"r": "done"}


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ({"script": "#!/no/such/interpreter\nx"}, "/tekton/scripts/main: No such file"),
        ({"script": "", "command": ["nowhere"]}, "nowhere: No such file"),
        ({"script": "", "command": ["/etc/passwd.d"]}, "/etc/passwd.d: No such file"),
    ],
)
def test_what_cannot_start_says_so(world, doc, step, complaint):
    result = world.run(doc(world.task("a", "", step=step)))
    assert complaint in only(result).message
    assert (only(result).steps[0].exit_code, only(result).steps[0].reason) == (128, "StartError")


def test_a_sidecar_that_cannot_start_is_named_where_a_step_fails(world, doc):
    go = world.path / "runs/run-1/tasks/a/1/volumes/x/go"

    def let_go():
        world.observer.wait_for("execvp nowhere")
        for thread in threading.enumerate():
            if thread.name == "side":
                thread.join()
        go.touch()

    sidecar = {"name": "side", "image": str(world.shell), "command": ["nowhere"]}
    task = world.task(
        "a",
        "while ! ls /x/go >/dev/null 2>&1; do sleep 0.01; done; exit 1",
        spec={"sidecars": [sidecar], "volumes": [{"name": "x", "emptyDir": {}}]},
        step={"volumeMounts": [{"name": "x", "mountPath": "/x"}]},
    )
    thread = threading.Thread(target=let_go)
    thread.start()
    result = world.run(doc(task))
    thread.join()
    assert "sidecar side could not start: bwrap: execvp nowhere" in only(result).message


def test_an_image_by_a_wrong_result_fails_the_task(world, doc):
    result = world.run(
        doc(
            world.task(
                "a", "printf ../../x > $(results.r.path)", spec={"results": [{"name": "r"}]}
            ),
            world.task(
                "b",
                "true",
                params=[{"name": "i", "value": "$(tasks.a.results.r)"}],
                spec={"params": [{"name": "i"}]},
                step={"image": "$(params.i)"},
            ),
        )
    )
    assert result.tasks[1].reason == "TaskRunImagePullFailed"
    assert "'../../x' names no image" in result.tasks[1].message


def test_a_link_in_the_place_of_a_sub_path_is_not_followed(world, doc):
    bound = {"spec": {"workspaces": [{"name": "w"}]}}
    result = world.run(
        doc(
            world.task(
                "a", "ln -s /etc $(workspaces.w.path)/sub", workspaces=[{"name": "w"}], **bound
            ),
            world.task(
                "b",
                "ls $(workspaces.w.path)",
                runAfter=["a"],
                workspaces=[{"name": "w", "subPath": "sub"}],
                **bound,
            ),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.tasks[1].phase is Phase.FAILED
    assert "a step put something else there" in result.tasks[1].message
    assert world.observer.said("b") == []


def test_a_sub_path_from_a_parameter_stays_inside(world, doc):
    result = world.run(
        doc(
            world.task(
                "a",
                "true",
                spec={"workspaces": [{"name": "w"}]},
                workspaces=[{"name": "w", "subPath": "$(params.p)"}],
            ),
            pipeline={"workspaces": [{"name": "w"}], "params": [{"name": "p", "default": "../.."}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert "leads out of the workspace" in only(result).message


def test_a_value_cannot_become_an_option_of_the_sandbox(world, doc):
    """Options travel parted by NUL, and a result may hold one."""
    script = "printf 'x\\000--bind\\000/\\000/host' > $(results.r.path)"
    result = world.run(
        doc(
            world.task("a", script, spec={"results": [{"name": "r"}]}),
            world.task(
                "b",
                "ls /host",
                params=[{"name": "p", "value": "$(tasks.a.results.r)"}],
                spec={"params": [{"name": "p"}]},
                step={"env": [{"name": "A", "value": "$(params.p)"}]},
            ),
        )
    )
    assert "\0" in result.tasks[0].results["r"]
    assert result.tasks[1].phase is Phase.FAILED
    assert "NUL" in result.tasks[1].message


def test_a_claim_named_by_a_hostile_result_stays_below_the_claims(world, doc):
    outside = world.path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("hidden")
    name = f"../{outside.name}"
    user = world.task(
        "user",
        "cat /v/secret",
        params=[{"name": "claim", "value": "$(tasks.liar.results.claim)"}],
        spec={
            "params": [{"name": "claim"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "$(params.claim)"}}],
        },
        step={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
    )
    liar = world.task(
        "liar", f"printf {name} > $(results.claim.path)", spec={"results": [{"name": "claim"}]}
    )
    result = world.run(doc(liar, user))
    assert result.tasks[1].phase is Phase.FAILED
    assert "cannot be the name of a claim" in result.tasks[1].message
    assert "hidden" not in world.observer.said("user")


def test_an_empty_directory_holds_no_more_than_its_limit(world, doc):
    filling = world.task(
        "a",
        "dd if=/dev/zero of=/v/x bs=1048576 count=20; sleep 60",
        spec={"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]},
        step={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
    )
    result = world.run(doc(filling))
    assert (result.tasks[0].phase, result.tasks[0].reason) == (Phase.FAILED, "PodEvicted")
    assert "volume v holds 20 MiB, over its sizeLimit of 1 MiB" in result.tasks[0].message


def test_a_workspace_tells_the_name_of_its_claim(world, doc):
    result = world.run(
        doc(
            world.task(
                "a",
                "printf '%s' $(workspaces.w.claim) > $(results.r.path)",
                spec={"workspaces": [{"name": "w"}], "results": [{"name": "r"}]},
                workspaces=[{"name": "w"}],
            ),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.tasks[0].results["r"].startswith("pvc-")


def test_what_a_run_keeps_is_for_its_users_eyes_alone(world, doc):
    world.run(doc(world.task("a", "true")))
    assert stat.S_IMODE((world.path / "runs" / "run-1").stat().st_mode) == 0o700


def test_a_step_and_a_sidecar_may_have_one_name(world, doc):
    task = world.task("a", "echo from the step")
    task["taskSpec"]["steps"][0]["name"] = "same"
    sidecar = {**task["taskSpec"]["steps"][0], "script": "echo from the sidecar; sleep 60"}
    task["taskSpec"]["sidecars"] = [sidecar]
    result = world.run(doc(task))
    assert result.phase is Phase.SUCCEEDED
    assert world.observer.said("a", "same") == ["from the step"]
    assert world.observer.said("a", "sidecar-same") == ["from the sidecar"]


def test_a_directory_that_becomes_a_link_between_steps_leads_nowhere(world, doc):
    outside = world.path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("hidden")
    task = world.task("a", "")
    image = task["taskSpec"]["steps"][0]["image"]
    swap = f"cd $(workspaces.whole.path); rm -r sub; ln -s {outside} sub"
    task["taskSpec"]["steps"] = [
        {"name": "swap", "image": image, "script": swap},
        {"name": "use", "image": image, "script": "cat $(workspaces.part.path)/secret; touch $(workspaces.part.path)/pwned"},
    ]  # fmt: skip
    task["taskSpec"]["workspaces"] = [{"name": "whole"}, {"name": "part"}]
    task["workspaces"] = [
        {"name": "whole", "workspace": "w"},
        {"name": "part", "workspace": "w", "subPath": "sub"},
    ]
    result = world.run(
        doc(
            task,
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.phase is Phase.FAILED
    assert "a step put something else there" in result.tasks[0].message
    assert [each.name for each in outside.iterdir()] == ["secret"]
    assert world.observer.said("a", "use") == []


def test_a_link_that_comes_after_the_look_is_not_followed_either(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "sub").symlink_to(outside)
    libc = ctypes.CDLL(None, use_errno=True)
    with pytest.raises(OSError, match="Too many levels"):
        warden._bind(libc, str(tmp_path / "root"), "sub", "nowhere")
    with pytest.raises(OSError, match="Not a directory"):
        warden._bind(libc, str(tmp_path / "root"), "sub/below", "nowhere")


def with_probe(world, script, **task):
    found = world.task("a", "echo stepped", **task)
    step = found["taskSpec"]["steps"][0]
    probe = {"exec": {"command": ["/bin/sh", "-c", "exit 1"]}, "periodSeconds": 1}
    sidecar = {"name": "s", "image": step["image"], "script": script, "readinessProbe": probe}
    found["taskSpec"]["sidecars"] = [sidecar]
    return found


def test_the_time_limit_of_a_task_holds_while_a_sidecar_is_not_ready(world, doc):
    result = world.run(doc(with_probe(world, "sleep 60", timeout="1s")))
    assert result.tasks[0].reason == "TaskRunTimeout"
    assert "stepped" not in world.observer.said("a")


def test_a_sidecar_that_has_ended_keeps_nobody_waiting(world, doc):
    result = world.run(doc(with_probe(world, "exit 0")))
    assert result.phase is Phase.SUCCEEDED
    assert "stepped" in world.observer.said("a")
