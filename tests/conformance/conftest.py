"""The target that the suite runs on, chosen in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.domain.digest import ImageRef
from tests.conformance.images import BASIC, Store, root_filesystem
from tests.conformance.local import LocalTarget
from tests.conformance.targets import Target


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, ImageRef, Path]:
    """A store with the one image that the cases use, and a cache for it unpacked."""
    root = tmp_path_factory.mktemp("stock")
    store = Store(root / "blobs")
    shell = store.image(root_filesystem(BASIC), Env=["PATH=/bin", "COLOUR=red"], Cmd=["sh"])
    return store, shell, root / "cache"


@pytest.fixture
def target(tmp_path: Path, stock: tuple[Store, ImageRef, Path]) -> Target:
    store, shell, cache = stock
    return LocalTarget(tmp_path / "runs", store, cache, {"busybox": shell})
