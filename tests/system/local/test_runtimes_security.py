"""Who a container runs as, what it may write, and what it may take."""

import os
import time

import pytest

from mlops.adapters.executors.local.runtime import disk
from mlops.domain.run import Phase


def secured(world, script, **security):
    return world.task("a", script, step={"securityContext": security})


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ({"runAsUser": 1000}, "uid=1000(ada) gid=1001"),
        ({"runAsUser": 4321}, "uid=4321() gid=0"),
        ({"runAsUser": 4321, "runAsGroup": 1234}, "uid=4321() gid=1234"),
        ({"runAsGroup": 1234}, "uid=0(root) gid=1234"),
        ({"runAsUser": 0, "runAsNonRoot": False}, "uid=0(root) gid=0"),
        ({"runAsUser": 1000, "runAsNonRoot": True}, "uid=1000(ada)"),
    ],
)
def test_users_and_groups(contained, doc, security, expected):
    result = contained.run(doc(secured(contained, "id; echo x > /tekton/results/r", **security)))
    said = contained.observer.said("a")[0].replace("(4321)", "")  # a name that podman makes up
    assert said.startswith(expected.replace("()", "")), contained.observer.lines
    assert result.phase is Phase.SUCCEEDED, contained.observer.lines
    assert result.tasks[0].runtime == contained.runtime


def test_the_steps_user_can_write_where_it_must(world, doc):
    """Whoever it is: workspaces, results and home are its own."""
    task = world.task(
        "a",
        "echo x > /workspace/w/x; echo y > ~/y; printf r > $(results.r.path); echo z > /tmp/z",
        spec={"workspaces": [{"name": "w"}], "results": [{"name": "r"}]},
        workspaces=[{"name": "w"}],
        step={"securityContext": {"runAsUser": 1000}},
    )
    after = world.task(
        "b",
        "cat /workspace/w/x; echo more >> /workspace/w/x",
        spec={"workspaces": [{"name": "w"}]},
        workspaces=[{"name": "w"}],
        runAfter=["a"],
    )
    result = world.run(
        doc(
            task,
            after,
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.phase is Phase.SUCCEEDED, world.observer.lines
    assert (world.path / "runs/run-1/workspaces/w/x").stat().st_uid == os.getuid()


def test_root_is_refused_where_it_must_not_be(contained, doc):
    result = contained.run(doc(secured(contained, "echo never", runAsNonRoot=True)))
    assert result.phase is Phase.FAILED
    assert "must not run as root (runAsNonRoot)" in result.tasks[0].message
    assert contained.observer.said("a") == []


def test_a_root_that_is_read_only(contained, doc):
    script = (
        "for f in /new /usr/marker /tekton/x /tmp/x; do ! touch $f 2>/dev/null || echo wrong $f; done\n"
        "echo y > /workspace/y; echo z > ~/z; printf r > $(results.r.path); echo on"
    )
    task = contained.task(
        "a",
        script,
        spec={"results": [{"name": "r"}]},
        step={"securityContext": {"readOnlyRootFilesystem": True}},
    )
    result = contained.run(doc(task))
    assert result.phase is Phase.SUCCEEDED, contained.observer.lines
    assert contained.observer.said("a") == ["on"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root has users to give without subuids")
def test_several_users_in_one_sandbox(world, doc):
    """What package managers and servers do: files of others, and becoming somebody else."""
    script = (
        "echo x > /tmp/x; chown 1000:1001 /tmp/x; ls -ln /tmp/x | { read -r _ _ u g _; echo $u $g; }\n"
        "touch /workspace/of-ada; chown 1000 /workspace/of-ada; setpriv --reuid 1000 --regid 1001 --clear-groups id"
    )
    result = world.run(doc(world.task("a", script)))
    assert result.phase is Phase.SUCCEEDED, world.observer.lines
    assert world.observer.said("a") == ["1000 1001", "uid=1000(ada) gid=1001 groups=1001"]
    assert not (world.path / "runs/run-1/tasks/a/1/workspace").exists()


def test_users_of_a_sandbox_are_nobody_outside(world, doc):
    if world.executor._runtimes.wards.users == 1:
        pytest.skip("this machine gives no users")
    script = "touch /workspace/w/f; chown 1000 /workspace/w/f"
    result = world.run(
        doc(
            world.task(
                "a", script, spec={"workspaces": [{"name": "w"}]}, workspaces=[{"name": "w"}]
            ),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.phase is Phase.SUCCEEDED, world.observer.lines
    assert (world.path / "runs/run-1/workspaces/w/f").stat().st_uid > 65536


def test_processors_are_held(world, doc):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one processor only")
    script = "while read -r k v; do test $k = Cpus_allowed_list: && echo $v; done < /proc/self/status || true"
    step = {"computeResources": {"limits": {"cpu": "1500m"}}}
    one = {"computeResources": {"limits": {"cpu": "500m"}}}
    world.run(doc(world.task("a", script, step=one), world.task("b", script, step=step)))
    assert world.observer.said("a")[-1].isdigit()
    assert world.observer.said("a")[0] == (
        "mlops: the limit of 0.5 processors is held as 1: whole ones alone can be held"
    )


def test_shared_memory_is_bounded(world, doc):
    step = {"computeResources": {"limits": {"memory": "64Mi"}}}
    script = (
        "! head -c 65M /dev/zero > /dev/shm/x 2>/dev/null; ! echo x > /dev/x 2>/dev/null; echo on"
    )
    result = world.run(doc(world.task("a", script, step=step)))
    assert world.observer.said("a")[-1] == "on", result


# disks

FILL = "i=0; while head -c 8M /dev/zero > %s$i; do i=$((i+1)); done"


@pytest.mark.parametrize("where", ["/big", "/tmp/big", "~/big", "/workspace/big", "/v/big"])
def test_a_step_over_its_limit_of_disk_is_stopped(world, doc, where):
    step = {
        "computeResources": {"limits": {"ephemeral-storage": "64Mi"}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    spec = {"volumes": [{"name": "v", "emptyDir": {}}]}
    result = world.run(doc(world.task("a", FILL % where, step=step, spec=spec, timeout="120s")))
    task = result.tasks[0]
    assert (task.phase, task.reason) == (Phase.FAILED, "PodEvicted"), world.observer.lines
    assert "over its limit of 64 MiB" in task.message
    assert task.steps[0].reason == "Evicted"
    assert world.processes() == []
    assert disk.size(world.path / "runs/run-1/tasks") < 16 << 20  # what it wrote is gone


def test_an_empty_dir_over_its_size_is_stopped(world, doc):
    step = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    spec = {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "64Mi"}}]}
    result = world.run(doc(world.task("a", FILL % "/v/big", step=step, spec=spec, timeout="120s")))
    assert result.tasks[0].reason == "PodEvicted", world.observer.lines
    assert "volume v holds" in result.tasks[0].message
    assert "over its sizeLimit of 64 MiB" in result.tasks[0].message


def test_below_its_limit_it_goes_on(world, doc):
    step = {"computeResources": {"limits": {"ephemeral-storage": "64Mi"}}}
    script = (
        "head -c 40M /dev/zero > /big; sleep 0.6; rm /big; head -c 40M /dev/zero > /big; sleep 0.6"
    )
    assert world.run(doc(world.task("a", script, step=step))).phase is Phase.SUCCEEDED


def test_a_step_that_fills_the_disk_is_stopped_before_it_is_full(world, doc, monkeypatch):
    """The disk is nearly full when it begins, as far as the guard can tell."""
    free = disk._free(world.path)
    monkeypatch.setattr(disk, "SPARED", free - (256 << 20))
    monkeypatch.setattr(disk, "_half", lambda before: before)
    began = time.monotonic()
    task = world.task(
        "a",
        FILL % "/workspace/w/big",
        spec={"workspaces": [{"name": "w"}]},
        workspaces=[{"name": "w"}],
        timeout="120s",
    )
    result = world.run(
        doc(
            task,
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert "the disk is nearly full" in result.tasks[0].message
    assert result.tasks[0].reason == "PodEvicted"
    assert time.monotonic() - began < 60


def test_the_default_limit(world, doc, monkeypatch):
    monkeypatch.setattr(disk, "LARGEST", 64 << 20)
    result = world.run(doc(world.task("a", FILL % "/big", timeout="120s")))
    assert "over its limit of 64 MiB" in result.tasks[0].message


def test_sizes_of_what_is_there(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x" * (1 << 20))
    (tmp_path / "link").symlink_to("/")
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 30)
    assert 1 << 20 <= disk.size(tmp_path) < 2 << 20
    assert disk.size(tmp_path / "nowhere") == 0
