"""`mlops watch` as the first process of a container: what it is asked to, it does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

PROJECT = """
apiVersion: mlops/v1
kind: Project
name: shop
models: {shop: {artifact: m.pkl, train: {command: ["true"]}}}
"""


def test_sigterm_ends_the_first_process_of_a_container(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "mlops.yaml").write_text(PROJECT)
    watch = [sys.executable, "-m", "mlops", "watch", "--repo", str(tmp_path)]
    outer = subprocess.Popen(["unshare", "-Urpf", "--kill-child", *watch])
    try:
        (inner,) = _children(outer)
        end = time.monotonic() + 120
        while outer.poll() is None:  # the kernel drops it until somebody listens
            assert time.monotonic() < end
            subprocess.run(["kill", "-TERM", inner], check=False, capture_output=True)
            time.sleep(0.2)
        assert outer.returncode == 128 + signal.SIGTERM
    finally:
        outer.kill()
        outer.wait()


def _children(outer: subprocess.Popen[bytes]) -> list[str]:
    listed = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    end = time.monotonic() + 60
    while not (found := listed.read_text().split()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_an_executor_that_is_none_is_refused(tmp_path: Path) -> None:
    argv = ["watch", "--once", "--executor", "cloud", "--repo", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "mlops", *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no executor 'cloud'" in done.stderr
