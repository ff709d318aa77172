"""What a step in the sandbox sees, and what not."""

import io
import os
import shutil
import socket
import sys
import sysconfig
import tarfile
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlops.adapters.executors.local.runtime import runtimes, sandbox, wards
from mlops.adapters.executors.local.runtime.runtimes import Runtimes
from mlops.domain.run import Phase
from mlops.errors import ExecutorError, UsageError

NETWORK_OFF = {"metadata": {"annotations": {"dev.mlops/network": "none"}}}


@pytest.fixture(params=["overlay", "bound"])
def either(request, monkeypatch):
    """Both ways to make a root: overlays, and entries bound onto a tmpfs."""
    if request.param == "bound":
        monkeypatch.setattr(sandbox, "_overlay_works", lambda *_: False)
    return request.param


def test_the_sandbox_works_here(world):
    assert world.executor.probe() == ()


def test_both_roots_run_steps(world, doc, either):
    result = world.run(
        doc(
            world.task(
                "a",
                "cat /usr/marker; id; ls -A /tmp; echo x > /tmp/x; echo y > ~/y; touch /workspace/w/z; printf r > /tekton/results/r",
                spec={"workspaces": [{"name": "w"}], "results": [{"name": "r"}]},
                workspaces=[{"name": "w"}],
            ),
            pipeline={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {}}}],
        )
    )
    assert result.phase is Phase.SUCCEEDED, result.tasks[0].message
    assert world.observer.said("a")[0] == "base"
    assert world.observer.said("a")[1].startswith("uid=0(root) gid=0")
    assert len(world.observer.said("a")) == 2
    assert (world.path / "runs/run-1/workspaces/w/z").exists()
    assert result.tasks[0].results == {"r": "r"}
    told = [line for _, step, line in world.observer.lines if step == "note"]
    assert bool(told) == (either == "bound")
    assert tuple(told) == result.notes


def test_nothing_of_the_host_is_seen(world, doc, either, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    (world.path / "secret").write_text("hunter2")
    result = world.run(
        doc(
            world.task(
                "a",
                f"env; ls /; ls {world.path} 2>&1 || true; ls /proc; hostname; cat /proc/1/environ /proc/1/cmdline",
            )
        )
    )
    assert result.phase is Phase.SUCCEEDED, result.tasks[0].message
    said = world.observer.said("a")
    assert not any("hunter2" in line or "secret" in line for line in said)
    # the first process is bubblewrap itself, which was started from here
    assert not any("pytest" in line for line in said if "ls: cannot" not in line)
    assert "a" in said  # the host's name is the task's
    pids = [line for line in said if line.isdigit()]
    assert 0 < len(pids) < 6
    assert not {"home", "root"} & set(said)


@pytest.mark.parametrize("spec", [{}, NETWORK_OFF])
def test_the_machines_name_is_the_tasks(world, doc, spec):
    result = world.run(doc(world.task("a", "cat /etc/hostname; hostname", spec=spec)))
    assert result.phase is Phase.SUCCEEDED, world.observer.lines
    assert world.observer.said("a") == ["a", "a"]


def test_the_image_is_never_written(world, doc):
    task = world.task("a", "echo changed > /usr/marker; rm /etc/passwd; cat /usr/marker")
    assert world.run(doc(task)).phase is Phase.SUCCEEDED
    again = world.task("a", "cat /usr/marker; ls /etc/passwd")
    assert world.run(doc(again)).phase is Phase.SUCCEEDED
    assert world.observer.said("a") == ["changed", "base", "/etc/passwd"]


def test_environments_do_not_show_in_command_lines(world, doc):
    env = {"env": [{"name": "TOKEN", "value": "hunter2"}]}
    script = "cat /proc/1/cmdline /proc/self/cmdline"
    world.run(doc(world.task("a", script, step=env)))
    assert world.observer.said("a")
    assert not any("hunter2" in line for line in world.observer.said("a"))


def test_the_network_is_off_where_the_annotation_says_so(world, doc):
    """A server on this machine's loopback is heard with the network on, and not with it off."""
    with socket.create_server(("127.0.0.1", 0)):
        script = "cat /proc/net/dev | { n=0; while read -r line; do n=$((n+1)); done; echo $n; }; cat /proc/net/tcp"
        result = world.run(
            doc(
                world.task("on", script),
                world.task("off", script, spec=NETWORK_OFF),
            )
        )
    assert result.phase is Phase.SUCCEEDED
    assert [task.network for task in result.tasks] == [True, False]
    on, off = world.observer.said("on"), world.observer.said("off")
    assert len(on) > 2  # sockets of the host
    assert off[0] == "3"  # two lines of heading, and lo
    assert len(off) == 2  # the heading alone


@pytest.mark.parametrize("network", [True, False])
def test_names_are_resolved_as_on_the_host(world, doc, either, make_tar, network):
    hosts = make_tar({"etc/hosts": "/nowhere/at/all"})  # a link, as some images have it
    image = world.store.image([_base(world), hosts], Env=["PATH=/bin"])
    spec = {} if network else NETWORK_OFF
    task = world.task("a", "cat /etc/hosts || true", step={"image": str(image)}, spec=spec)
    world.run(doc(task))
    lines = Path("/etc/hosts").read_text().splitlines()
    if either == "overlay":
        assert (world.observer.said("a") == lines) == network
    else:
        assert "No such file" in world.observer.said("a")[0]


def _base(world):
    return world.base


@pytest.fixture(autouse=True)
def _with_base(world, base_layer):
    world.base = base_layer


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "uid=0(root) gid=0"),
        ("1000", "uid=1000(ada) gid=1001"),
        ("ada", "uid=1000(ada) gid=1001"),
        ("1234:4321", "uid=1234 gid=4321"),
    ],
)
def test_the_images_user(world, doc, either, user, expected):
    image = world.store.image([world.base], Env=["PATH=/bin"], User=user)
    task = world.task("a", "id; touch ~/x /tmp/x; cat /usr/marker", step={"image": str(image)})
    result = world.run(doc(task))
    assert result.phase is Phase.SUCCEEDED, world.observer.lines
    assert world.observer.said("a")[0].startswith(expected)


def test_a_user_that_the_image_does_not_know(world, doc):
    image = world.store.image([world.base], User="eve")
    result = world.run(doc(world.task("a", "id", step={"image": str(image)})))
    assert "'eve' stands in no /etc/passwd" in result.tasks[0].message


def test_entrypoint_arguments_and_directory_of_the_image(world, doc):
    image = world.store.image(
        [world.base],
        Env=["PATH=/bin", "A=image", "B=image"],
        Entrypoint=["sh", "-c", 'echo "$0 $A $B $PWD"'],
        Cmd=["default"],
        WorkingDir="/made/here",
    )
    env = [{"name": "B", "value": "step"}]
    steps = [
        {"name": "cmd", "image": str(image), "env": env},
        {"name": "args", "image": str(image), "args": ["given"]},
    ]
    world.run(doc({"name": "a", "taskSpec": {"steps": steps}}))
    assert world.observer.said("a") == [
        "default image step /made/here",
        "given image image /made/here",
    ]


def test_layers_lie_over_each_other(world, doc, make_tar):
    upper = make_tar({"usr/marker": b"upper\n", "usr/new": b"new\n"})
    image = world.store.image([world.base, upper], Env=["PATH=/bin"])
    world.run(doc(world.task("a", "cat /usr/marker /usr/new", step={"image": str(image)})))
    assert world.observer.said("a") == ["upper", "new"]


def test_whiteouts_remove_what_lies_below(world, doc, make_tar):
    lower = make_tar({"d/gone": b"x", "d/kept": b"x", "o/a": b"x", "o/b/c": b"x", "was/file": b"x"})
    upper = make_tar(
        {
            "o/own": b"x",
            "d/.wh.gone": b"",
            "o/.wh..wh..opq": b"",
            ".wh.was": b"",
            "etc/.wh.absent": b"",
        }
    )
    image = world.store.image([world.base, lower, upper], Env=["PATH=/bin"])
    script = "ls -A /d /o; ls -d /was 2>&1 || true"
    for _ in range(2):  # unpacked, then found
        world.run(doc(world.task("a", script, step={"image": str(image)})))
    said = world.observer.said("a")
    assert said[:5] == ["/d:", "kept", "", "/o:", "own"]
    assert "No such file" in said[5]
    assert said[6:] == said[:6]


def test_a_directory_name_with_every_nasty_character(world, doc, stock):
    """Paths reach mount options and a shell: nothing in them may end either."""
    odd = world.path / "a:b,c\\d e'f\"g$h=lowerdir=x"
    odd.mkdir()
    world.path, world.cache = odd, odd / "cache,:"
    result = world.run(doc(world.task("a", "cat /usr/marker")))
    assert result.phase is Phase.SUCCEEDED, world.observer.lines
    assert world.observer.said("a") == ["base"]


def test_a_setuid_program_of_a_layer_is_none_here(world, doc):
    info = tarfile.TarInfo("bin/su")
    info.mode = 0o4755
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(info, io.BytesIO())
    image = world.store.image([out.getvalue()])
    (directory,) = Runtimes(
        world.store, world.cache, world.path, "sandbox", None
    )._filesystems.directories(world.executor._runtimes.image(image.digest))
    assert (directory / "bin/su").stat().st_mode & 0o7777 == 0o755


def test_an_ordinary_user_can_do_all_this(world, doc):
    """The whole run once more, as a user without any privilege (as we are, if we are one)."""
    home = world.path / "own"
    home.mkdir()
    shutil.copytree(world.store.root, home / "blobs")
    task = world.task(
        "a",
        "id; cat /usr/marker; ls -A /w; touch /w/x; mkdir -p /private/d; chmod 0 /private",
        spec={"volumes": [{"name": "w", "emptyDir": {}}]},
        step={"volumeMounts": [{"name": "w", "mountPath": "/w"}]},
    )
    world.run(doc(task))  # whatever is imported late is imported now
    world.observer.lines.clear()
    for directory, _, files in os.walk(home):
        for name in (".", *files):
            os.chown(Path(directory, name), _nobody(), -1)
    for parent in world.path.parents:
        if parent.owner() != "root" or parent.parts[:2] == ("/", "tmp"):
            mode = parent.stat().st_mode
            if len(parent.parts) > 2:
                parent.chmod(mode | 0o011)
    world.path.chmod(0o711)
    interpreter = _copied_interpreter(world.path / "python")
    child = os.fork()
    if child == 0:
        wards.sys = SimpleNamespace(executable=interpreter)
        os._exit(_as_nobody(world, home, doc(task)))
    _, status = os.waitpid(child, 0)
    report = (home / "report").read_text()
    assert os.waitstatus_to_exitcode(status) == 0, report
    assert "uid=0(root) gid=0" in report
    assert not (home / "runs/run-1/tasks/a/1/scratch").exists()


def _copied_interpreter(prefix):
    """This Python where everybody may read it: it may well be in root's own directory."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    unneeded = shutil.ignore_patterns("site-packages", "test", "idlelib", "config-*", "__pycache__")
    library = sysconfig.get_path("stdlib")
    shutil.copytree(library, prefix / "lib" / version, ignore=unneeded)
    for shared in Path(library).parent.glob("libpython*.so*"):
        shutil.copy(shared, prefix / "lib")
    (prefix / "bin").mkdir()
    return shutil.copy(Path(sys.executable).resolve(), prefix / "bin" / version)


def _nobody():
    return os.getuid() or 65534


def _as_nobody(world, home, document):
    try:
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        world.path, world.cache, world.store.root = home, home / "cache", home / "blobs"
        result = world.run(document)
        (home / "report").write_text(f"{result}\n{world.observer.lines}")
        return 0 if result.phase is Phase.SUCCEEDED else 1
    except BaseException:  # noqa: BLE001  it goes into the report
        (home / "report").write_text(traceback.format_exc())
        return 2


def test_where_the_sandbox_cannot_be_it_is_said(world, doc, monkeypatch):
    monkeypatch.setattr(sandbox, "_program", lambda _: None)
    with pytest.raises(ExecutorError, match="bwrap is not installed") as caught:
        world.run(doc(world.task("a", "true")))
    assert "apt install bubblewrap" in caught.value.hint
    world.runtime = "auto"
    result = world.run(doc(world.task("a", "true")))
    assert "WARNING: steps run as plain processes" in result.notes[0]
    assert "is not built on `base: host`" in result.tasks[0].message


def test_user_namespaces_that_are_off_are_explained(world, monkeypatch, tmp_path):
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "bwrap").write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    (fake / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    (reason,) = world.executor.probe()
    assert "No permissions to create new namespace" in reason
    with pytest.raises(ExecutorError) as caught:
        assert world.executor._runtimes.name
    assert "user namespaces" in caught.value.hint


def test_a_runtime_that_nobody_knows_is_refused(world):
    world.runtime = "chroot"
    with pytest.raises(UsageError, match="there is no runtime chroot"):
        assert world.executor
    assert "sandbox" in runtimes.SETTINGS
