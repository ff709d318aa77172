"""Starting and stopping: half starts, machines that were restarted, and that nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import build, control, fence, pins, requirements
from tests.cluster.layout import Layout, began, remember, running
from tests.cluster.requirements import MissingError

Sleeper = subprocess.Popen[bytes]
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


pytestmark = pytest.mark.our_node


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    """A process that nothing of ours may end."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def _marked(root: Path) -> Layout:
    root.mkdir()
    layout = Layout(root)
    layout.mark.write_text("")
    return layout


def test_a_process_that_has_the_number_now_is_left_alone(tmp_path: Path, sleeper: Sleeper) -> None:
    layout = _marked(tmp_path / "run")
    layout.alive.write_text(f"{sleeper.pid} 1 {BOOT}\n")
    assert running(layout) is None
    control.down(layout)
    assert sleeper.poll() is None
    assert not layout.root.exists()


def test_what_ran_before_the_machine_was_restarted_runs_no_more(
    tmp_path: Path, sleeper: Sleeper
) -> None:
    layout = _marked(tmp_path / "run")
    layout.alive.write_text(f"{sleeper.pid} {began(sleeper.pid)} another-boot\n")
    assert running(layout) is None


def test_a_process_is_known_again(tmp_path: Path, sleeper: Sleeper) -> None:
    layout = _marked(tmp_path / "run")
    remember(layout, sleeper.pid)
    assert running(layout) == sleeper.pid
    sleeper.kill()
    sleeper.wait()
    assert running(layout) is None


@pytest.mark.parametrize("text", ["", "12", "a b c d e", "12 13\n"])
def test_half_a_file_counts_as_none(tmp_path: Path, text: str) -> None:
    layout = _marked(tmp_path / "run")
    layout.alive.write_text(text)
    assert running(layout) is None


def test_a_directory_of_someone_else_is_neither_used_nor_removed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    with pytest.raises(MissingError, match="holds something else"):
        control.up(Layout(tmp_path))
    control.down(Layout(tmp_path))
    assert mine.read_text() == "precious"


def test_other_pins_are_built_elsewhere_and_they_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = pins.built().places
    for path in pins.MODULES.glob("*/go.*"):
        copy = tmp_path / path.relative_to(pins.MODULES)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(pins, "MODULES", tmp_path)
    assert pins.built().places == before
    (tmp_path / "etcd" / "go.sum").write_text("")
    after = pins.built().places
    assert {name for name in before if after[name] != before[name]} == {"etcd"}


@pytest.fixture
def root() -> Iterator[Path]:
    """Where a cluster's files may be: short, as its sockets want it."""
    with tempfile.TemporaryDirectory(prefix="mlops-") as made:
        yield Path(made)


def _up(root: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Bring a cluster up where nothing was ever built, with these directories on the path."""
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster", "--dir", str(root / "run"), "up"],
        env={"HOME": str(root), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_without_go_is_told(root: Path) -> None:
    told = _up(root, str(root))
    assert told.returncode == 2
    assert told.stderr == "error: Go is not here, and the cluster is compiled: install Go 1.26\n"


def test_another_go_is_told(root: Path) -> None:
    go = root / "go"
    go.write_text("#!/bin/sh\necho go1.27.3\n")
    go.chmod(0o755)
    told = _up(root, str(root))
    assert told.returncode == 2
    assert told.stderr == "error: Go is 1.27, and the cluster needs 1.26\n"


def test_too_little_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pins, "CACHE", tmp_path)
    monkeypatch.setattr(build, "ROOM", 10**18)
    with pytest.raises(MissingError, match=r"GB are free below .* compiling needs"):
        build.build()


def test_whoever_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="needs root"):
        requirements.check()


def test_missing_packages_are_told_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(requirements, "PATH", str(tmp_path))
    monkeypatch.setattr(requirements, "CNI", (tmp_path,))
    with pytest.raises(MissingError, match=r"apt-get install .*runc.*containernetworking-plugins"):
        requirements.check()


def _namespaces(pid: int) -> set[str]:
    return {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("net", "mnt", "pid", "ipc")}


def _inhabited() -> set[str]:
    """Every namespace in which a process lives."""
    found: set[str] = set()
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with contextlib.suppress(OSError):  # it ends while it is looked at
                found |= _namespaces(int(each.name))
    return found


def test_a_directory_that_is_too_deep_for_sockets_is_told(tmp_path: Path) -> None:
    deep = Layout(tmp_path / ("d" * 100))
    with pytest.raises(MissingError, match="bytes too long"):
        control.up(deep)
    assert not deep.root.exists()


def _settings() -> dict[str, str]:
    return {name: (Path("/proc/sys") / name).read_text() for name in fence.KERNEL}


@pytest.mark.timeout(600)
def test_a_second_cluster_comes_and_goes_and_leaves_nothing(root: Path) -> None:
    before = _settings()
    layout = Layout(root / "second")
    pid = control.up(layout)
    assert control.up(layout) == pid
    assert control.inside(layout, ["kubectl", "get", "--raw", "/readyz"]) == 0
    assert _settings() == before
    assert str(layout.root) not in Path("/proc/self/mountinfo").read_text()
    own = _namespaces(pid) - _namespaces(os.getpid())
    groups = [each / layout.cgroup for each in fence.hierarchies()]
    assert len(own) == 4
    assert own <= _inhabited()
    assert all(each.is_dir() for each in groups)
    control.down(layout)
    assert not own & _inhabited()
    assert not any(each.exists() for each in groups)
    assert not layout.root.exists()
    assert began(pid) is None
    control.down(layout)


@pytest.mark.timeout(600)
def test_a_start_that_was_killed_is_made_again(root: Path) -> None:
    layout = Layout(root / "third")
    starting = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster", "--dir", str(layout.root), "up"],
        stderr=subprocess.PIPE,
    )
    assert starting.stderr is not None
    assert b"the registry holds the images" in starting.stderr.readline()
    starting.kill()
    starting.communicate()
    half = running(layout)
    assert half is not None
    try:
        assert control.up(layout) != half
        assert began(half) is None
        assert control.inside(layout, ["kubectl", "get", "--raw", "/readyz"]) == 0
    finally:
        control.down(layout)
