"""The target that the suite runs on, chosen in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import images
from tests.conformance.local import LocalTarget
from tests.conformance.targets import Target


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """What carries the cases out."""
    return LocalTarget(tmp_path / "runs", {"busybox": images.plain(), "python": images.plain()})
