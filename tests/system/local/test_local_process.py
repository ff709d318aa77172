"""Steps on the host: the installed mlops, and what was built on `base: host` without a sandbox."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlops.adapters.executors.local import HostTool
from mlops.adapters.executors.local.runtime import sandbox
from mlops.adapters.executors.local.runtime.running import Stop
from mlops.adapters.executors.local.serve import LocalImages
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.run import Phase
from mlops.errors import ConfigError, ExecutorError

TOOL = ImageRef("mlops", Digest("7" * 64))
SHOW = "import os, sys; print(sys.argv[1:], *(f'{n}={os.environ.get(n)}' for n in os.environ.get('SHOW', '').split()))"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def tool(world):
    """The installed mlops, played by a Python program that shows what it is given."""
    world.tool = HostTool(TOOL, (sys.executable, "-c", SHOW), {"FROM_TOOL": "yes"})
    return world


def shown(world, task="a"):
    return world.observer.said(task)[0]


def test_the_tools_steps_run_with_the_installed_one(tool, doc):
    env = [
        {"name": "SHOW", "value": "FROM_TOOL OWN HOME DIR OUT AT"},
        {"name": "OWN", "value": "$(params.p)"},
        {"name": "DIR", "value": "$(workspaces.w.path)"},
        {"name": "OUT", "value": "$(results.r.path)"},
        {"name": "AT", "value": "/exchange/socket"},
    ]
    step = {
        "image": str(TOOL),
        "script": "",
        "command": ["mlops", "step", "fetch"],
        "args": ["/exchange", "/exchanged"],
        "env": env,
        "volumeMounts": [{"name": "x", "mountPath": "/exchange"}],
    }
    result = tool.run(
        doc(
            tool.task(
                "a",
                "",
                step=step,
                params=[{"name": "p", "value": "$HOME `id`"}],
                spec={
                    "params": [{"name": "p"}],
                    "workspaces": [{"name": "w"}],
                    "results": [{"name": "r"}],
                    "volumes": [{"name": "x", "emptyDir": {}}],
                },
                workspaces=[{"name": "w", "subPath": "source"}],
            ),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    run = tool.path / "runs/run-1"
    assert result.phase is Phase.SUCCEEDED, tool.observer.lines
    assert shown(tool) == (
        f"['step', 'fetch', '{run}/tasks/a/1/volumes/x', '/exchanged'] FROM_TOOL=yes "
        f"OWN=$HOME `id` HOME={os.environ['HOME']} DIR={run}/workspaces/w/source "
        f"OUT={run}/tasks/a/1/results/r AT={run}/tasks/a/1/volumes/x/socket"
    )
    assert result.tasks[0].runtime == "host-tool"
    assert result.tasks[0].network is True
    assert result.notes == ()


def test_scripts_in_the_tools_image_find_it(tool, doc):
    result = tool.run(doc(tool.task("a", 'SHOW="" mlops hello "a b"', step={"image": str(TOOL)})))
    assert result.phase is Phase.SUCCEEDED
    assert shown(tool) == "['hello', 'a b']"


def test_only_tool_steps_need_no_sandbox(tool, doc, monkeypatch):
    monkeypatch.setattr(sandbox, "_program", lambda _: None)
    step = {"image": str(TOOL), "env": [{"name": "SHOW", "value": "MLOPS_RUNTIME MLOPS_EXECUTOR"}]}
    result = tool.run(doc(tool.task("a", "mlops", step=step)))
    assert result.phase is Phase.SUCCEEDED
    assert shown(tool) == "[] MLOPS_RUNTIME= MLOPS_EXECUTOR=local"
    assert result.notes == ()
    with pytest.raises(ExecutorError, match="bwrap is not installed"):
        tool.run(doc(tool.task("a", "mlops")))


def test_the_tool_is_told_where_other_images_run(tool, doc):
    step = {"image": str(TOOL), "env": [{"name": "SHOW", "value": "MLOPS_RUNTIME"}]}
    tool.run(doc(tool.task("a", "mlops", step=step)))
    assert shown(tool) == "[] MLOPS_RUNTIME=sandbox"


def test_the_tool_and_a_sandboxed_sidecar_share_a_volume(tool, doc):
    """The shape of our train task."""
    sidecar = {
        "name": "environment",
        "image": str(tool.shell),
        "script": (
            "while ! ls $X/ask >/dev/null 2>&1; do sleep 0.01; done\n"
            "{ cat $X/ask; id; echo ${OWN-none}; } > $X/answer.new; mv $X/answer.new $X/answer; sleep 1000"
        ),
        "env": [{"name": "X", "value": "/exchange"}],
        "volumeMounts": [{"name": "x", "mountPath": "/exchange"}],
    }
    step = {
        "image": str(TOOL),
        "script": (
            "echo question > $X/ask.new; mv $X/ask.new $X/ask\n"
            "while ! ls $X/answer >/dev/null 2>&1; do sleep 0.01; done; cat $X/answer"
        ),
        "env": [{"name": "X", "value": "/exchange"}, {"name": "OWN", "value": "step's"}],
        "volumeMounts": [{"name": "x", "mountPath": "/exchange"}],
    }
    result = tool.run(
        doc(
            tool.task(
                "a",
                "",
                step=step,
                spec={
                    "sidecars": [sidecar],
                    "volumes": [{"name": "x", "emptyDir": {}}],
                    "metadata": {"annotations": {"dev.mlops/network": "none"}},
                },
                timeout="60s",
            )
        )
    )
    assert result.phase is Phase.SUCCEEDED, tool.observer.lines
    said = tool.observer.said("a", "main")
    assert (said[0], said[1][:5], said[2]) == ("question", "uid=0", "none")
    assert result.tasks[0].runtime == "sandbox+host-tool"
    assert result.tasks[0].network is False  # of what is not our own tool


@pytest.mark.parametrize(
    "step",
    [
        {"script": "cat /workspace/source/x"},
        {"script": "", "command": ["mlops", "/tekton/results/r"]},
        {"script": "mlops", "env": [{"name": "A", "value": "a:/workspace"}]},
        {
            "script": "cat /x/y",
            "args": ["/workspace/a"],
            "volumeMounts": [{"name": "v", "mountPath": "/x"}],
        },
    ],
)
def test_fixed_paths_are_refused_where_there_are_none(tool, doc, step):
    task = tool.task(
        "a",
        "",
        step={"image": str(TOOL), **step},
        spec={"volumes": [{"name": "v", "emptyDir": {}}]},
    )
    with pytest.raises(ConfigError, match="names a path that only a sandbox has"):
        tool.run(doc(task))


@pytest.mark.parametrize(
    "text", ["/workspaces/x", "a/workspace/x", "$(workspaces.w.path)", "/x/workspace"]
)
def test_other_paths_are_not(tool, doc, text):
    task = tool.task(
        "a",
        "mlops",
        step={"image": str(TOOL), "args": [text]},
        spec={"workspaces": [{"name": "w", "optional": True}]},
    )
    assert tool.run(doc(task)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    "script",
    [
        "exec >&- 2>&-; setsid sh -c 'trap : TERM; sleep 500; sleep 500' &",
        "(trap : TERM HUP; sleep 500; sleep 500) & echo on",
    ],
)
def test_what_forks_away_on_the_host_is_taken_along(tool, doc, script):
    result = tool.run(doc(tool.task("a", script, step={"image": str(TOOL)})))
    assert result.phase is Phase.SUCCEEDED
    assert tool.processes() == []


def test_what_forks_away_and_hides_its_environment_is_taken_along(tool, doc):
    pid = tool.path / "pid"
    script = f'env -i {sys.executable} -c \'import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); open("{pid}", "w").write(str(os.getpid())); time.sleep(500)\'\nwhile ! test -s {pid}; do sleep 0.01; done'
    result = tool.run(doc(tool.task("a", script, step={"image": str(TOOL)})))
    assert result.phase is Phase.SUCCEEDED, tool.observer.lines
    assert not Path("/proc", pid.read_text()).exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_step_that_kills_its_warden_gains_nothing(tool, doc, number):
    script = f"sleep 500 & kill -{int(number)} $PPID; sleep 500"
    result = tool.run(doc(tool.task("a", script, step={"image": str(TOOL)}, timeout="60s")))
    assert result.phase is Phase.FAILED
    assert result.tasks[0].reason == "StepFailed"
    assert tool.processes() == []


def test_a_step_that_kills_the_warden_of_all_is_alone_in_that(tool, doc):
    """The program that starts containers: it is started again for the next."""
    script = "read -r _ _ _ above _ < /proc/$PPID/stat; kill -9 $above; sleep 0.2; echo on"
    steps = [
        {"name": "first", "image": str(TOOL), "script": script},
        {"name": "second", "image": str(TOOL), "script": "echo again"},
    ]
    result = tool.run(doc({"name": "a", "taskSpec": {"steps": steps}}))
    assert result.phase is Phase.SUCCEEDED, (result, tool.observer.lines)
    assert tool.observer.said("a") == ["on", "again"]
    assert tool.processes() == []


def test_a_host_step_that_takes_too_much_disk_is_stopped(tool, doc):
    step = {
        "image": str(TOOL),
        "computeResources": {"limits": {"ephemeral-storage": "64Mi"}},
    }
    script = "i=0; while head -c 8M /dev/zero > big$i; do i=$((i+1)); done"
    result = tool.run(doc(tool.task("a", script, step=step, timeout="120s")))
    assert result.tasks[0].reason == "PodEvicted", tool.observer.lines
    assert tool.processes() == []


def test_a_host_step_that_hangs_is_ended(tool, doc):
    script = "trap '' TERM; sleep 500"
    result = tool.run(doc(tool.task("a", script, step={"image": str(TOOL)}, timeout="1s")))
    assert result.tasks[0].reason == "TaskRunTimeout"
    assert tool.processes() == []


def test_a_host_step_that_eats_memory_is_killed(tool, doc):
    step = {"image": str(TOOL), "computeResources": {"limits": {"memory": "64Mi"}}}
    result = tool.run(doc(tool.task("a", "exec tail /dev/zero", step=step, timeout="60s")))
    assert (result.tasks[0].steps[0].exit_code, result.tasks[0].steps[0].reason) == (
        137,
        "OOMKilled",
    )


def test_memory_that_processes_share_counts_once(tool, doc):
    step = {"image": str(TOOL), "computeResources": {"limits": {"memory": "160Mi"}}}
    program = (
        "import os, time; shared = b'x' * (64 << 20)\n"
        "for _ in range(4): os.fork() or (time.sleep(0.5), os._exit(0))\n"
        "for _ in range(4): assert os.wait()[1] == 0"
    )
    task = tool.task("a", f"#!{sys.executable}\n{program}", step=step)
    assert tool.run(doc(task)).phase is Phase.SUCCEEDED


def test_exit_codes_and_missing_programs(tool, doc):
    steps = [
        {"name": name, "image": str(TOOL), "onError": "continue", **step}
        for name, step in {
            "seven": {"script": "exit 7"},
            "signal": {"script": "kill -9 $$"},
            "missing": {"command": ["/no/such"]},
            "mode": {"command": ["/etc/passwd"]},
        }.items()
    ]
    result = tool.run(doc({"name": "a", "taskSpec": {"steps": steps}}))
    assert [step.exit_code for step in result.tasks[0].steps] == [7, 137, 127, 126]
    assert tool.observer.said("a", "missing") == ["mlops: cannot start /no/such: it is not here"]


def test_a_missing_interpreter_is_named(tool, doc):
    script = "#!/no/such/interpreter -x\ntrue"
    result = tool.run(doc(tool.task("a", script, step={"image": str(TOOL)})))
    assert result.tasks[0].steps[0].exit_code == 127
    (line,) = tool.observer.said("a")
    assert line.endswith("its interpreter '/no/such/interpreter' is not here")


# the runtime `process`


@pytest.fixture
def hosted(world, make_tar):
    """An image on `base: host`: a base that must not be needed, an environment, code."""
    base = make_tar({"bin/sh": b"never used", "usr/bin/" + PYTHON: b"never used"})
    environment = make_tar(
        {
            "opt/venv/pyvenv.cfg": b"home = /nowhere/bin\ninclude-system-site-packages = false\n",
            "opt/venv/bin/python": "/nowhere/bin/" + PYTHON,
            "opt/venv/bin/python3": "python",
            f"opt/venv/lib/{PYTHON}/site-packages/own.py": b"VALUE = 'from the image'\n",
            "opt/venv/bin/tool": b"#!/opt/venv/bin/python -I\nimport own, sys; print(own.VALUE, sys.prefix)\n",
            "opt/venv/bin/other": b"#!/bin/sh\necho other\n",
        }
    )
    code = make_tar({"app/main.py": b"import own; print('main', own.VALUE)\n"})
    world.runtime = "process"
    world.cache = world.path / "cache"
    world.shell = world.store.image(
        [base, environment, code],
        ["base", "dependencies", "code"],
        Env=["PATH=/opt/venv/bin:/usr/bin", "APP=/app", "BOTH=/app:/none"],
        Cmd=["python", "/app/main.py"],
        WorkingDir="/app",
        Labels={"dev.mlops.base": "host"},
    )
    return world


def test_an_environment_of_the_host_runs_as_processes(hosted, doc, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    steps = [
        {
            "name": "script",
            "image": str(hosted.shell),
            "script": 'tool; other; echo "$APP $BOTH ${SECRET_TOKEN-none} $HOME"; pwd',
        },
        {"name": "default", "image": str(hosted.shell)},
        {
            "name": "venv",
            "image": str(hosted.shell),
            "command": ["/opt/venv/bin/python", "-c", "import sys; print(sys.prefix)"],
        },
        {
            "name": "shebang",
            "image": str(hosted.shell),
            "script": "#!/usr/bin/env python\nimport own; print(own.VALUE)",
        },
    ]
    result = hosted.run(doc({"name": "a", "taskSpec": {"steps": steps}}))
    assert result.phase is Phase.SUCCEEDED, hosted.observer.lines
    (root,) = (hosted.cache / "host").glob("[0-9a-f]*[0-9a-f]")
    assert hosted.observer.said("a", "script") == [
        f"from the image {root}/opt/venv",
        "other",
        f"{root}/app {root}/app:/none none {hosted.path}/runs/run-1/tasks/a/1/home",
        f"{root}/app",
    ]
    assert hosted.observer.said("a", "default") == ["main from the image"]
    assert hosted.observer.said("a", "venv") == [f"{root}/opt/venv"]
    assert hosted.observer.said("a", "shebang") == ["from the image"]
    assert result.tasks[0].runtime == "process"
    assert not (root / "bin/sh").exists()
    assert result.notes[0].startswith("WARNING: steps run as plain processes")


def test_who_a_process_is_cannot_be_chosen_and_it_says_so(hosted, doc):
    step = {"securityContext": {"runAsUser": 4321}}
    hosted.run(doc(hosted.task("a", "id -u", step=step), hosted.task("b", "id -u")))
    note, user = hosted.observer.said("a")
    assert note.startswith("mlops: securityContext has no effect here")
    assert user == str(os.getuid())
    assert hosted.observer.said("b") == [user]


def test_the_network_of_processes_stays_on_and_the_record_says_so(hosted, doc):
    task = hosted.task(
        "a", "true", spec={"metadata": {"annotations": {"dev.mlops/network": "none"}}}
    )
    result = hosted.run(doc(task))
    assert result.tasks[0].network is True


def test_scripts_in_a_cache_with_a_long_name(hosted, doc):
    hosted.cache = hosted.path / "a directory" / ("long" * 40)
    result = hosted.run(doc(hosted.task("a", "tool")))
    assert result.phase is Phase.SUCCEEDED, hosted.observer.lines
    assert hosted.observer.said("a")[0].startswith("from the image")


def test_other_images_need_the_sandbox(hosted, doc, base_layer):
    other = hosted.store.image([base_layer])
    result = hosted.run(doc(hosted.task("a", "true", step={"image": str(other)})))
    assert "is not built on `base: host`" in result.tasks[0].message


def test_an_environment_for_another_python_is_refused(hosted, doc, make_tar):
    layer = make_tar(
        {"opt/venv/pyvenv.cfg": b"", "opt/venv/lib/python2.7/x": b"", "opt/venv/bin/x": b""}
    )
    image = hosted.store.image([layer], ["dependencies"], Labels={"dev.mlops.base": "host"})
    result = hosted.run(doc(hosted.task("a", "true", step={"image": str(image)})))
    assert "is not for Python" in result.tasks[0].message
    assert list((hosted.cache / "host").glob("*[0-9a-f]")) == []


def test_fixed_paths_are_refused_for_all_processes(hosted, doc):
    with pytest.raises(ConfigError, match="only a sandbox has"):
        hosted.run(doc(hosted.task("a", "ls /workspace")))


# running an image in the foreground

SERVE = """
import sys
from pathlib import Path
from mlops.adapters.executors.local.serve import LocalImages
from mlops.domain.digest import ImageRef

class Store:
    location = sys.argv[2]
    def manifest(self, digest): return self.blob_path(digest).read_bytes()
    def blob_path(self, digest): return Path(sys.argv[2], digest.hex)

images = LocalImages(Path(sys.argv[1]), Store(), sys.argv[3], Path(sys.argv[4]))
sys.exit(images.serve(ImageRef.parse(sys.argv[5]), {"OWN": "given"}, 8123))
"""


def serving(world, image):
    argv = [
        str(world.path / "serve"),
        str(world.store.root),
        world.runtime,
        str(world.cache),
        str(image),
    ]
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, *argv],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_image_is_served_until_a_signal(world, base_layer, number):
    script = "trap 'echo bye; exit 5' TERM; echo $PORT $OWN; while true; do sleep 0.01; done"
    image = world.store.image([base_layer], Env=["PATH=/bin"], Cmd=["sh", "-c", script])
    with serving(world, image) as process:
        assert process.stdout.readline() == "8123 given\n"
        process.send_signal(number)
        said = process.stdout.read()
        assert (said.splitlines()[-1], process.wait(timeout=60)) == ("bye", 5)
    assert list((world.path / "serve").iterdir()) == []


def test_an_image_of_the_host_is_served_as_a_process(hosted):
    with serving(hosted, hosted.shell) as process:
        assert process.communicate(timeout=60)[0] == "main from the image\n"
        assert process.returncode == 0


def test_an_image_without_a_command_says_so(world, base_layer):
    images = LocalImages(world.path / "serve", world.store, "sandbox", world.cache)
    with pytest.raises(ExecutorError, match="has no default command"):
        images.serve(world.store.image([base_layer]), {}, 1)


def test_an_image_whose_command_is_not_there(world, base_layer, capfd):
    images = LocalImages(world.path / "serve", world.store, "sandbox", world.cache)
    with pytest.raises(ExecutorError, match="could not be started"):
        images.serve(world.store.image([base_layer], Cmd=["nowhere"]), {}, 1)
    assert "execvp nowhere" in capfd.readouterr().out


def test_a_stop_may_be_told_twice():
    stop = Stop()
    stop.tell()
    stop.tell()
    stop.close()
