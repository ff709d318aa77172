"""Files of the work tree are written whole, and what a kill left beside them goes."""

import os
import subprocess
import sys

import pytest

from mlops.adapters import workfiles
from mlops.errors import OutsideError, UsageError


def names(root):
    return sorted(path.name for path in root.iterdir())


def test_what_the_dead_left_goes_and_what_the_living_write_stays(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    alive = f".a.lock.{os.getppid()}.tmp"
    for name in (f".a.lock.{gone.pid}.tmp", alive, f".b.lock.{gone.pid}.tmp", ".a.lock.x.tmp"):
        (tmp_path / name).write_text("half")
    workfiles.write(tmp_path, "a.lock", b"whole")
    assert (tmp_path / "a.lock").read_bytes() == b"whole"
    assert names(tmp_path) == sorted([alive, f".b.lock.{gone.pid}.tmp", ".a.lock.x.tmp", "a.lock"])


@pytest.mark.parametrize("place", ["directory", "absent/a.lock"])
def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path, place):
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/kept").write_text("x")
    with pytest.raises(OutsideError, match=f"cannot write {place}: .*nothing is half written"):
        workfiles.write(tmp_path, place, b"whole")
    assert names(tmp_path) == ["directory"]


def test_nothing_is_written_outside(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    for path in ("../a.lock", "link/a.lock"):
        with pytest.raises(UsageError, match="leads out of the project"):
            workfiles.write(root, path, b"x")
    assert names(tmp_path) == ["root"]
