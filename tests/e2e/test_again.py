"""The same commit, built again elsewhere, offline, on another day: the same digest."""

from __future__ import annotations

import shutil
import sys

import pytest


@pytest.fixture(scope="module")
def clone(released, tmp_path_factory):
    """A second clone in a directory with another name and depth, nothing built or unpacked in it."""
    base = tmp_path_factory.mktemp("else where") / "deep" / "er"
    released.run("git", "clone", "-q", str(released.remote), str(base))
    return base


def test_in_another_directory_offline_a_year_ahead(released, clone, tmp_path):
    faketime = shutil.which("faketime")
    assert faketime, "faketime is missing: run scripts/bootstrap.sh test"
    source = released.git("rev-parse", "HEAD")
    before = released.pinned("dev")
    record = f"environments/releases/spam/{before.removeprefix('sha256:')}.json"
    written = released.git("rev-parse", f"origin/main:{record}")
    argv = ("unshare", "-rn", faketime, "-f", "+365d", sys.executable, "-m", "mlops")
    done = released.run(
        *argv, "run", source, "--again", "--quiet", cwd=clone, MLOPS_CACHE=str(tmp_path / "cache")
    )
    assert done.stdout.strip() == f"spam@{before}"
    assert "the same release as before" in done.stderr
    assert released.pinned("dev") == before
    assert released.git("rev-parse", f"origin/main:{record}") == written  # records are written once
    layers = clone / ".mlops" / "registry" / "blobs" / "sha256" / before.removeprefix("sha256:")
    assert layers.is_file()


def test_what_is_asked_twice_is_answered_at_once(released):
    first = released.mlops("run")
    assert first.stdout.strip() == f"spam@{released.pinned('dev')}"
    assert "ran already" in first.stderr
    assert "train" not in first.stderr
