"""What holds in every runtime that has an image's own files: sandbox, podman and docker."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlops.domain.run import Phase
from mlops.errors import ExecutorError


def ok(world, result):
    assert result.phase is Phase.SUCCEEDED, (result.tasks, world.observer.lines)
    assert result.tasks[0].runtime == world.runtime
    return world.observer.said("a")


def test_a_step_sees_its_image_and_its_places(contained, doc):
    script = (
        "cat /usr/marker; id; pwd; ls /tekton; echo x > /workspace/w/x; echo y > ~/y; echo z > /new\n"
        "printf r > $(results.r.path); test ! -e /workspace/none"
    )
    result = contained.run(
        doc(
            contained.task(
                "a",
                script,
                spec={"workspaces": [{"name": "w"}], "results": [{"name": "r"}]},
                workspaces=[{"name": "w"}],
            ),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    said = ok(contained, result)
    assert said[0] == "base"
    assert said[1].startswith("uid=0(root) gid=0")
    assert said[2] == "/"
    assert {"home", "results", "scripts", "steps"} <= set(said[3:])
    assert result.tasks[0].results == {"r": "r"}
    assert (contained.path / "runs/run-1/workspaces/w/x").read_text() == "x\n"


def test_the_image_stays_as_it_is(contained, doc):
    change = contained.task("a", "echo changed > /usr/marker; cat /usr/marker")
    assert ok(contained, contained.run(doc(change))) == ["changed"]
    again = contained.task("a", "cat /usr/marker")
    assert ok(contained, contained.run(doc(again)))[-1] == "base"


def test_values_of_every_kind_arrive_and_show_in_no_command_line(contained, doc):
    values = {
        "PLAIN": "hunter2",
        "SPACES": " a  b ",
        "QUOTES": "\"'`$HOME`",
        "LINES": "one\ntwo",
        "HASH": "#x=y",
        "EMPTY": "",
        "HOME": "/elsewhere",
        "DOCKER_HOST": "tcp://nowhere",
    }
    env = [{"name": name, "value": value} for name, value in values.items()]
    script = "for n in " + " ".join(values) + '; do eval "printf \'[%s]\' \\"\\$$n\\""; done; echo; sleep 0.5'  # fmt: skip
    seen = []

    def look():
        contained.observer.wait_for("hunter2")
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(entry.read_bytes())
            except OSError:
                continue

    thread = threading.Thread(target=look)
    thread.start()
    result = contained.run(doc(contained.task("a", script, step={"env": env})))
    thread.join()
    assert "\n".join(ok(contained, result)) == "".join(f"[{value}]" for value in values.values())
    assert seen
    assert not any(b"hunter2" in each for each in seen)


def test_entrypoint_command_environment_and_directory_of_the_image(contained, doc, base_layer):
    image = contained.store.image(
        [base_layer],
        Env=["PATH=/bin", "A=image", "B=image"],
        Entrypoint=["sh", "-c", 'echo "$0 $A $B $PWD"'],
        Cmd=["default"],
        WorkingDir="/usr",
    )
    env = [{"name": "B", "value": "step"}]
    steps = [
        {"name": "cmd", "image": str(image), "env": env},
        {"name": "args", "image": str(image), "args": ["given"]},
        {"name": "command", "image": str(image), "command": ["sh", "-c", "pwd"], "workingDir": "/bin"},
    ]  # fmt: skip
    result = contained.run(doc({"name": "a", "taskSpec": {"steps": steps}}))
    assert ok(contained, result) == ["default image step /usr", "given image image /usr", "/bin"]
    assert {step.image for step in result.tasks[0].steps} == {str(image)}


@pytest.mark.parametrize("user", ["ada", "1000:1001", "1000"])
def test_the_images_user(contained, doc, base_layer, user):
    image = contained.store.image([base_layer], Env=["PATH=/bin"], User=user)
    task = contained.task("a", "id", step={"image": str(image)})
    assert ok(contained, contained.run(doc(task)))[0].startswith("uid=1000(ada) gid=1001")


def test_the_network_is_off_where_the_annotation_says_so(contained, doc):
    off = {"metadata": {"annotations": {"dev.mlops/network": "none"}}}
    script = "n=0; while read -r line; do n=$((n+1)); done < /proc/net/dev; echo $n"
    result = contained.run(doc(contained.task("a", script, spec=off), contained.task("b", script)))
    assert result.phase is Phase.SUCCEEDED, contained.observer.lines
    assert contained.observer.said("a") == ["3"]  # two lines of heading, and lo
    assert contained.observer.said("b") != ["3"]
    assert [task.network for task in result.tasks] == [False, True]


@pytest.fixture
def nothing_left(contained):
    """After the test no process of the run is there any more, and no engine has its container."""
    yield
    assert contained.processes() == []
    assert _containers(contained) == b""


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 7", 7), ("kill -9 $$", 137), ("exit 125", 125), ("exit 126", 126), ("exit 127", 127), ("exit 137", 137)],
)  # fmt: skip
def test_exit_codes(contained, doc, script, code):
    if script.startswith("kill"):
        script = f"sh -c '{script}'"  # the first process of a container does not feel it
    result = contained.run(doc(contained.task("a", script)))
    step = result.tasks[0].steps[0]
    assert (step.exit_code, step.reason) == (code, "Error"), contained.observer.lines


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("step", "named"),
    [
        ({"script": "#!/no/such/interpreter\nx"}, "/tekton/scripts/main"),
        ({"script": "", "command": ["nowhere"]}, "nowhere"),
    ],
)
def test_what_cannot_start_says_so(contained, doc, step, named):
    result = contained.run(doc(contained.task("a", "", step=step)))
    found = result.tasks[0].steps[0]
    if contained.runtime == "sandbox" or named == "nowhere":  # runc notices an interpreter late
        assert (found.exit_code, found.reason) == (128, "StartError")
    assert found.phase is Phase.FAILED
    assert named in "\n".join(contained.observer.said("a"))


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "script",
    [
        "trap '' TERM; echo up; while true; do sleep 1; done",
        "echo up; exec >&- 2>&-; sleep 1000",
        "setsid sh -c 'trap : TERM HUP; sleep 1000; sleep 1000' & echo up; sleep 1000",
    ],
)
def test_a_step_that_does_not_end_is_ended(contained, doc, script):
    limit = "1s" if contained.runtime == "sandbox" else "8s"  # engines take their time to start
    contained.run(doc(contained.task("a", "true")))
    result = contained.run(doc(contained.task("a", script, timeout=limit)))
    assert result.tasks[0].reason == "TaskRunTimeout"
    assert result.tasks[0].steps[0].exit_code in (137, 143)
    assert contained.observer.said("a")[0] == "up"


@pytest.mark.usefixtures("nothing_left")
def test_what_forks_away_is_taken_along(contained, doc):
    script = "setsid sh -c 'trap : TERM HUP; sleep 1000; sleep 1000' & echo on"
    assert ok(contained, contained.run(doc(contained.task("a", script)))) == ["on"]


@pytest.mark.usefixtures("nothing_left")
def test_a_step_may_end_in_order(contained, doc):
    def when_up():
        contained.observer.wait_for("up")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=when_up)
    thread.start()
    script = "trap 'echo bye; exit 4' TERM; echo up; while true; do sleep 0.01; done"
    result = contained.run(doc(contained.task("a", script)))
    thread.join()
    assert result.tasks[0].phase is Phase.CANCELLED
    assert contained.observer.said("a")[:: len(contained.observer.said("a")) - 1] == ["up", "bye"]


@pytest.mark.usefixtures("nothing_left")
def test_a_step_over_its_memory_is_killed(contained, doc):
    limit = {"computeResources": {"limits": {"memory": "64Mi"}}}
    result = contained.run(doc(contained.task("a", "exec tail /dev/zero", step=limit)))
    step = result.tasks[0].steps[0]
    assert step.exit_code == 137, contained.observer.lines
    if (
        contained.runtime != "podman"
    ):  # with cgroups of version 1 it holds the limit and does not tell
        assert step.reason == "OOMKilled"


def test_a_gigabyte_in_one_line_does_not_fill_the_log(contained, doc):
    result = contained.run(doc(contained.task("a", "head -c 1G /dev/zero; echo; echo on >&2")))
    assert result.phase is Phase.SUCCEEDED
    assert (contained.path / "runs/run-1/logs/a/main.log").stat().st_size < 70 << 20


def test_a_sidecar_shares_a_volume_and_is_stopped(contained, doc):
    mounts = [{"name": "x", "mountPath": "/x"}]
    sidecar = {
        "name": "side",
        "image": str(contained.shell),
        "script": "echo hello > /x/said.new; mv /x/said.new /x/said; sleep 1000",
        "volumeMounts": mounts,
    }
    script = "while ! test -e /x/said; do sleep 0.05; done; cat /x/said"
    spec = {"sidecars": [sidecar], "volumes": [{"name": "x", "emptyDir": {}}]}
    task = contained.task("a", script, spec=spec, step={"volumeMounts": mounts}, timeout="60s")
    result = contained.run(doc(task))
    assert contained.observer.said("a", "main") == ["hello"]
    assert result.phase is Phase.SUCCEEDED
    assert contained.processes() == []


# the executor is killed

KILLED = """
import json, sys
from pathlib import Path
from mlops.adapters.executors.local import LocalExecutor

class Store:
    location = sys.argv[2]
    def manifest(self, digest): return self.blob_path(digest).read_bytes()
    def blob_path(self, digest): return Path(sys.argv[2], digest.hex)

class Print:
    def task(self, state): pass
    def log(self, task, step, line): print(line, flush=True)

LocalExecutor(Path(sys.argv[1]), Store(), sys.argv[3], Path(sys.argv[4])).run(json.load(sys.stdin), Print())
"""


def test_nothing_outlives_a_killed_executor(contained, doc):
    contained.run(doc(contained.task("a", "true")))  # the image is there
    argv = [contained.path / "runs", contained.store.root, contained.runtime, contained.cache]
    executor = subprocess.Popen(
        [sys.executable, "-c", KILLED, *map(str, argv)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    script = "(trap : TERM HUP; sleep 1000; sleep 1000) & trap '' TERM; echo up; sleep 1000"
    sidecar = {"name": "side", "image": str(contained.shell), "script": "sleep 1000"}
    with executor:
        json.dump(doc(contained.task("a", script, spec={"sidecars": [sidecar]})), executor.stdin)
        executor.stdin.close()
        assert executor.stdout.readline() == "up\n"
        assert contained.processes()
        executor.kill()
    end = time.monotonic() + 30
    while contained.processes() or _containers(contained):
        assert time.monotonic() < end, (contained.processes(), _containers(contained))
        time.sleep(0.05)
    again = contained.run(doc(contained.task("a", "echo again")))
    assert again.phase is Phase.SUCCEEDED


def _containers(world):
    if world.runtime == "sandbox":
        return b""
    return subprocess.run(
        [world.runtime, "ps", "--all", "--quiet"], check=True, capture_output=True
    ).stdout


# probes


def test_a_probe_runs_in_the_container(contained, doc):
    """It sees the sidecar's files and variables, and the step begins when it says so."""
    sidecar = {
        "name": "side",
        "image": str(contained.shell),
        "script": "sleep 0.5; echo x > /ready; sleep 1000",
        "env": [{"name": "OWN", "value": "mine"}],
        "volumeMounts": [{"name": "x", "mountPath": "/x"}],
        "readinessProbe": {
            "exec": {"command": ["sh", "-c", "test -e /ready && echo $OWN > /x/ready"]},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
        },
    }
    task = contained.task(
        "a",
        "cat /x/ready",
        spec={"sidecars": [sidecar], "volumes": [{"name": "x", "emptyDir": {}}]},
        step={"volumeMounts": [{"name": "x", "mountPath": "/x"}]},
    )
    result = contained.run(doc(task))
    assert result.phase is Phase.SUCCEEDED, contained.observer.lines
    assert contained.observer.said("a", "main") == ["mine"]


# an engine that is asked for is used, or nothing is


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_an_engine_that_is_not_here_is_an_error(world, doc, monkeypatch, name):
    monkeypatch.setenv("PATH", str(world.path))
    world.runtime = name
    with pytest.raises(ExecutorError, match=f"runtime {name} is not available here: {name} is not installed"):  # fmt: skip
        world.run(doc(world.task("a", "true")))


def test_a_daemon_that_does_not_answer_is_an_error(world, doc, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{world.path}/no.sock")
    world.runtime = "docker"
    with pytest.raises(ExecutorError, match="Cannot connect to the Docker daemon"):
        world.run(doc(world.task("a", "true")))


def test_an_engine_gets_the_image_once(engine, doc):
    assert engine.run(doc(engine.task("a", "true"))).phase is Phase.SUCCEEDED
    blob = engine.store.blob_path
    engine.store.blob_path = lambda digest: (
        blob(digest)
        if blob(digest).stat().st_size < 4096
        else pytest.fail("a layer was read again")
    )
    engine.executors.clear()
    assert engine.run(doc(engine.task("a", "true"))).phase is Phase.SUCCEEDED
    engine.store.blob_path = blob


def test_another_image_under_the_name_of_ours_is_not_run(engine, doc, base_layer, make_tar):
    """What is run has the layers that the digest names, whatever the engine calls it."""
    other = engine.store.image([base_layer, make_tar({"usr/other": b""})], Env=["PATH=/bin"])
    task = engine.task("a", "test -e /usr/other", step={"image": str(other)})
    assert engine.run(doc(task)).phase is Phase.SUCCEEDED
    name = "localhost/mlops-image"
    tag = [engine.runtime, "tag", f"{name}:{other.digest.hex}", f"{name}:{engine.shell.digest.hex}"]
    assert engine.run(doc(engine.task("a", "true"))).phase is Phase.SUCCEEDED
    subprocess.run(tag, check=True)
    engine.executors.clear()
    task = engine.task("a", "test ! -e /usr/other")
    assert engine.run(doc(task)).phase is Phase.SUCCEEDED
