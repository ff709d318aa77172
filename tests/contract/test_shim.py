"""The exchange: commands go from DVC's shell to the environment image and come back."""

import ast
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from mlops import resources
from mlops.errors import ExecutorError, RefusedError
from mlops.steps import runner, shim
from mlops.steps.exchange import Exchange


class Sidecar:
    """The sidecar's own script from the Task, run by /bin/sh, and the shell that talks to it."""

    def __init__(self, root: Path):
        self.source = root / "source"
        self.exchange = Exchange(root / "exchange", root / "state" / "train")
        for path in (self.source, self.exchange.directory):
            path.mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, env: dict[str, str] | None = None, path: str = "") -> None:
        self.spawn(path)
        self.exchange.prepare(env or {})
        self.exchange.wait("env@sha256:00", timeout=30)

    def spawn(self, path: str = "") -> None:
        task = yaml.safe_load(resources.content("tekton/tasks/train.yaml"))
        script = self.exchange.directory.parent / "script"
        script.write_text(task["spec"]["sidecars"][0]["script"])
        script.chmod(0o755)
        self.process = subprocess.Popen(
            [script],
            env={
                "PATH": path or f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "MLOPS_SOURCE": str(self.source),
                "MLOPS_EXCHANGE": str(self.exchange.directory),
                "FROM_IMAGE": "yes",
            },
            start_new_session=True,
        )

    def shell(self, command: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.exchange.shell, "-c", command],
            cwd=cwd or self.source,
            env={**os.environ, **self.exchange.variables(self.source), "SECRET": "s3", **env},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, command: str, cwd: Path | None = None, **env: str) -> tuple[int, bytes]:
        process = self.shell(command, cwd, **env)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def sidecar(tmp_path):
    made = Sidecar(tmp_path)
    yield made
    made.stop()


def test_output_and_exit_code_come_back(sidecar):
    sidecar.start()
    assert sidecar.run("echo out; echo err >&2; echo again; exit 7") == (7, b"out\nerr\nagain\n")
    failure = sidecar.exchange.failure()
    assert failure is not None
    assert failure.text == "command 'echo out; echo err >&2; echo again; exit 7' failed (exit 7)"


def test_stage_directory_and_allowed_variables_cross_and_nothing_else(sidecar):
    sidecar.start({"OMP_NUM_THREADS": "1", "ODD": "a=b\nc"})
    below = sidecar.source / "deep er"
    below.mkdir()
    code, out = sidecar.run(
        'echo "$DVC_STAGE|$OMP_NUM_THREADS|$ODD|$SECRET|$FROM_IMAGE|$MLOPS_SHIM"; pwd',
        below,
        DVC_STAGE="train@uk",
    )
    assert code == 0
    assert out.decode() == f"train@uk|1|a=b\nc||yes|\n{below}\n"


def test_the_command_reaches_the_shell_as_it_is(sidecar):
    sidecar.start()
    assert sidecar.run("printf '%s' '$(params.x) \"é\\' ; echo ' a  b'") == (
        0,
        '$(params.x) "é\\ a  b\n'.encode(),
    )


def test_exit_137_says_out_of_memory(sidecar):
    sidecar.start()
    code, out = sidecar.run("kill -9 $$", DVC_STAGE="train")
    assert code == 137
    assert b"out of memory?" in out
    failure = sidecar.exchange.failure()
    assert failure is not None
    assert failure.text == "stage train failed (exit 137): killed; out of memory?"


@pytest.mark.parametrize(
    "before", ["oom_kill 2\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"]
)
@pytest.mark.parametrize(("after", "code"), [(2, 1), (3, 1), (3, 0)])
def test_what_the_kernel_counts_says_whether_memory_was_lacking(
    tmp_path, monkeypatch, before, after, code
):
    events = tmp_path / "events"
    events.write_text(before)
    monkeypatch.setattr(runner, "_EVENTS", (str(tmp_path / "none"), str(events)))
    here, there = socket.socketpair()
    command = f"printf 'oom_kill {after}\\n' >{events}; exit {code}".encode()
    request = b"\0".join([runner.VERSION, b".", command])
    here.sendall(struct.pack("!I", len(request)) + request)
    answering = threading.Thread(target=runner._answer, args=(there, str(tmp_path)))
    answering.start()
    with here:
        told = shim._answer(here, lambda _: None)
    answering.join()
    assert told[0] == code
    assert ("OOMKilled" in told[1]) == (after > 2 and code > 0)


def test_a_sidecar_ends_when_it_is_told_to(sidecar):
    """SIGTERM alone does not end the first process of a container: it must be heeded."""
    sidecar.start()
    assert sidecar.run("true")[0] == 0
    sidecar.process.terminate()
    assert sidecar.process.wait(30) == 0


def test_a_sidecar_that_still_waits_ends_when_it_is_told_to(sidecar):
    sidecar.spawn()
    children = Path(f"/proc/{sidecar.process.pid}/task/{sidecar.process.pid}/children")
    while not children.read_text():  # it sleeps between two looks
        assert sidecar.process.poll() is None
    sidecar.process.terminate()
    assert sidecar.process.wait(30) == 0


def test_a_sidecar_that_dies_is_an_error_that_says_so(sidecar):
    sidecar.start()
    process = sidecar.shell("echo started; exec sleep 60", DVC_STAGE="train")
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    assert sidecar.process is not None
    os.kill(sidecar.process.pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == shim.LOST
    assert b"the environment image's container ended" in out
    failure = sidecar.exchange.failure()
    assert failure is not None
    assert failure.stage == "train"
    assert "container ended" in failure.text


def test_the_command_ends_with_the_shim(sidecar, tmp_path):
    sidecar.start()
    fifo = tmp_path / "source" / "fifo"
    os.mkfifo(fifo)
    # both sleep children hold the fifo open for writing: it ends when they have all ended
    process = sidecar.shell(f"sleep 1000 >{fifo} & sleep 1000 >{fifo}")
    with fifo.open("rb") as reader:
        process.kill()
        assert reader.read() == b""
    process.communicate()


def test_leftovers_end_with_their_command(sidecar, tmp_path):
    sidecar.start()
    fifo = tmp_path / "source" / "fifo"
    os.mkfifo(fifo)
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.append(fifo.read_bytes()), daemon=True)
    reader.start()
    assert sidecar.run(f"exec 3>{fifo}; sleep 1000 & echo done") == (0, b"done\n")
    reader.join(30)
    assert seen == [b""]


def test_much_output_needs_little_memory(sidecar):
    sidecar.start()
    assert sidecar.process is not None
    fifo = sidecar.source / "fifo"
    os.mkfifo(fifo)
    size = 200_000_000
    process = sidecar.shell(f"head -c {size} /dev/zero; cat {fifo}")
    assert process.stdout is not None
    while size:
        size -= len(process.stdout.read(min(size, 1 << 20)))
    for pid in (process.pid, sidecar.process.pid):
        assert peak_memory(pid) < 100_000
    fifo.write_bytes(b"end")
    assert process.communicate(timeout=30) == (b"end", None)
    assert process.returncode == 0


def peak_memory(pid: int) -> int:
    """In kB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])


def test_several_commands_at_once(sidecar):
    sidecar.start()
    running = [sidecar.shell(f"echo {n}; exit {n}") for n in range(1, 9)]
    for n, process in enumerate(running, 1):
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (n, b"%d\n" % n)


def test_a_long_path_is_no_obstacle(tmp_path):
    sidecar = Sidecar(tmp_path / ("x" * 100) / ("y" * 100))
    try:
        sidecar.start()
        assert sidecar.run("echo far") == (0, b"far\n")
    finally:
        sidecar.stop()


def test_a_directory_that_is_gone_is_said(sidecar, tmp_path, monkeypatch):
    sidecar.start()
    monkeypatch.chdir(tmp_path)  # forward moves the process
    directory = str(sidecar.exchange.directory)
    code, reason = shim.forward(directory, b"gone", b"echo no", {}, print)
    assert code == shim.LOST
    assert "could not be started" in reason
    assert "gone" in reason


def test_an_image_without_python_is_refused_by_name(sidecar, tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("sleep",):
        (bare / tool).symlink_to(f"/bin/{tool}")
    with pytest.raises(RefusedError, match=r"no python3 of version 3\.8"):
        sidecar.start(path=str(bare))


def test_nobody_answers(tmp_path):
    sidecar = Sidecar(tmp_path)
    sidecar.exchange.prepare({})
    with pytest.raises(ExecutorError, match="did not answer"):
        sidecar.exchange.wait("env@sha256:00", timeout=0.05)
    code, out = sidecar.run("echo no")
    assert code == shim.LOST
    assert b"is not there" in out


def test_a_planted_link_in_place_of_the_socket_is_not_followed(sidecar):
    sidecar.start()
    real = sidecar.exchange.directory / "socket"
    real.rename(sidecar.exchange.directory / "moved")
    real.symlink_to("moved")
    code, out = sidecar.run("echo no")
    assert code == shim.LOST
    assert b"no socket" in out


def test_the_runner_is_python_3_8():
    text = Path(runner.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert imported <= set(sys.stdlib_module_names)
    assert shim.VERSION == runner.VERSION
    assert shim.SOCKET == runner.SOCKET


def test_a_link_out_of_the_project_fails_the_command_that_made_it(sidecar, tmp_path):
    """DVC, which runs where the link leads somewhere, would follow it."""
    sidecar.start()
    (tmp_path / "secret").write_text("token")
    assert sidecar.run("mkdir d; ln -s ../d d/in; echo x >d/x; ln -s x d/y") == (0, b"")
    code, out = sidecar.run(f"ln -s {tmp_path}/secret d/model.pkl", DVC_STAGE="train")
    assert code == shim.LOST
    assert b"d/model.pkl is a symlink that leads out of the project" in out
    failure = sidecar.exchange.failure()
    assert failure is not None
    assert failure.stage == "train"


def test_dvcs_configuration_is_put_back_after_each_command(sidecar):
    (sidecar.source / ".dvc").mkdir()
    (sidecar.source / ".dvc/config").write_text("ours")
    sidecar.start()
    sidecar.exchange.keep(sidecar.source)
    code, _ = sidecar.run("echo theirs >.dvc/config; echo planted >.dvc/config.local")
    assert code == 0
    assert (sidecar.source / ".dvc/config").read_text() == "ours"
    assert not (sidecar.source / ".dvc/config.local").exists()


def test_what_fled_its_group_ends_with_its_command(sidecar, tmp_path):
    sidecar.start()
    fifo = sidecar.source / "fifo"
    os.mkfifo(fifo)
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.append(fifo.read_bytes()), daemon=True)
    reader.start()
    os.mkfifo(sidecar.source / "told")
    fleeing = "setsid sh -c 'echo fled >told; exec sleep 1000'"
    assert sidecar.run(f"exec 3>{fifo}; {fleeing} & cat told") == (0, b"fled\n")
    reader.join(30)
    assert seen == [b""]
