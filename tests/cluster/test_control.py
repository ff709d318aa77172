"""Starting and stopping: half starts, machines that were restarted, and that nothing stays behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cluster import control, fence, pins
from tests.cluster.layout import Layout, began, remember, running
from tests.cluster.requirements import MissingError

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture
def sleeper():
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


def test_a_process_that_has_the_number_now_is_left_alone(tmp_path: Path, sleeper) -> None:
    layout = _marked(tmp_path / "run")
    layout.alive.write_text(f"{sleeper.pid} 1 {BOOT}\n")
    assert running(layout) is None
    control.down(layout)
    assert sleeper.poll() is None
    assert not layout.root.exists()


def test_what_ran_before_the_machine_was_restarted_runs_no_more(tmp_path: Path, sleeper) -> None:
    layout = _marked(tmp_path / "run")
    layout.alive.write_text(f"{sleeper.pid} {began(sleeper.pid)} another-boot\n")
    assert running(layout) is None


def test_a_process_is_known_again(tmp_path: Path, sleeper) -> None:
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


def test_other_pins_are_built_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = pins.built()
    for path in pins.MODULES.glob("*/go.*"):
        copy = tmp_path / path.relative_to(pins.MODULES)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(pins, "MODULES", tmp_path)
    assert pins.built() == before
    (tmp_path / "etcd" / "go.sum").write_text("")
    assert pins.built() != before


def _machine() -> dict[str, object]:
    """What a node could leave on the machine."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return {
        "links": {line.split(":")[1].strip() for line in links.splitlines()},
        "mounts": sorted(line.split(" ")[4] for line in Path("/proc/self/mountinfo").open()),
        "cgroups": sorted(p for each in fence.hierarchies() for p in each.glob("mlops-cluster-*")),
        "settings": {name: (Path("/proc/sys") / name).read_text() for name in fence.KERNEL},
    }


@pytest.mark.timeout(600)
def test_a_second_cluster_comes_and_goes_and_leaves_nothing(tmp_path: Path) -> None:
    before = _machine()
    layout = Layout(tmp_path / "second")
    pid = control.up(layout)
    assert control.up(layout) == pid
    assert control.inside(layout, ["kubectl", "get", "--raw", "/readyz"]) == 0
    # within it, a process for each program; without, none is left after it
    inside = subprocess.run(
        ["nsenter", "--target", str(pid), "--pid", "--mount", "ls", "/proc"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert sum(name.isdigit() for name in inside.split()) > 15
    control.down(layout)
    assert began(pid) is None
    assert not layout.root.exists()
    assert _machine() == before
