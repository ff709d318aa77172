"""`mlops init --hook`: a bare repository that looks at what is pushed to it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.system.watch import watchers


def init(bare: Path, *argv: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "mlops", "init", "--hook", "--repo", str(bare), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def decided(bare: Path) -> set[str]:
    """The first twelve digits of each commit that was decided."""
    names = watchers.git(bare, "for-each-ref", "--format=%(refname)", "refs/mlops/runs/").split()
    return {name.split("-")[-2] for name in names}


def until(bare: Path, tip: str) -> None:
    end = time.monotonic() + watchers.WAIT
    while tip[:12] not in decided(bare):
        log = bare / ".mlops" / "watch" / "hook.log"
        assert time.monotonic() < end, log.read_text() if log.exists() else "no hook ran"
        time.sleep(0.05)


def quiet(bare: Path) -> None:
    """Until no watcher of the hook is at work."""
    end = time.monotonic() + watchers.WAIT
    while subprocess.run(
        ["flock", "-n", bare / ".mlops/watch/lock", "true"], check=False
    ).returncode:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_each_push_is_decided_and_the_hook_that_was_there_is_still_called(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    before = bare / "hooks" / "post-receive"
    before.write_text(f"#!/bin/sh\ncat >> {tmp_path}/heard\n")
    before.chmod(0o755)
    assert "is kept as post-receive.before-mlops" in init(bare)
    assert "is there already" in init(bare)
    tips = [watchers.commit(work, f"Push {number}") for number in range(5)]
    until(bare, tips[-1])
    heard = (tmp_path / "heard").read_text()
    assert all(tip in heard for tip in tips)
    last = watchers.commit(work, "After all of them")
    until(bare, last)
    quiet(bare)


def test_what_mlops_pushes_itself_starts_nothing(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    init(bare)
    watchers.git(work, "push", "-q", "origin", "HEAD:refs/mlops/runs/x-1", "HEAD:refs/tags/mlops/x")
    assert not (bare / ".mlops").exists()


def test_a_hook_that_cannot_be_kept_is_named_and_left_alone(tmp_path):
    work, bare = watchers.repository(tmp_path, "shop")
    (bare / "hooks" / "post-receive").symlink_to("/bin/true")
    assert "is a link" in init(bare, code=2)
    assert (bare / "hooks" / "post-receive").is_symlink()
    assert "is no bare repository" in init(work, code=2)


def test_a_dry_run_writes_nothing(tmp_path):
    _, bare = watchers.repository(tmp_path, "shop")
    assert "watch --once" in init(bare, "--dry-run")
    assert not (bare / "hooks" / "post-receive").exists()
