"""This machine's interpreter as a base, packed once for all of a test run: each packing compiles a standard library."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host

HostStore = Callable[[Path], OciLayout]


@pytest.fixture(scope="session")
def host_store(tmp_path_factory: pytest.TempPathFactory) -> HostStore:
    """Makes a store at a path in which `host.pack` finds what it would pack; the store is the test's own."""
    base = tmp_path_factory.getbasetemp()
    # beside the other workers' directories, where there are workers
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "host-store"

    def store(path: Path) -> OciLayout:
        with (shared.parent / "host-store.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not shared.exists():
                made = shared.with_name("host-store.new")
                host.pack(OciLayout(made), Uv())
                made.rename(shared)
        shutil.copytree(shared, path, dirs_exist_ok=True)
        return OciLayout(path)

    return store
