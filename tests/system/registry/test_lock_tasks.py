"""Images of Tekton documents, locked against a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.cli import opening, wiring, wiring_lock
from mlops.errors import ConfigError, UnreachableError

PROJECT = """apiVersion: mlops/v1
kind: Project
name: demo
images: ["{host}/ml/golang:1"]
models: {{m: {{}}}}
"""


@pytest.fixture
def opened(tmp_path: Path, registry) -> wiring.Opened:
    root = tmp_path / "clone"
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (root / ".git" / "objects").mkdir()
    (root / ".git" / "refs").mkdir()
    (root / "mlops.yaml").write_text(PROJECT.format(host=registry.host))
    return opening.open_work_tree(root)


def test_a_tag_is_asked_of_its_registry(opened: wiring.Opened, registry):
    ask = wiring_lock.locker(opened).digest_of
    (name,) = opened.project.images
    with pytest.raises(ConfigError, match=r"images: .*/ml/golang has no tag 1"):
        ask(name)
    first = registry.image("ml/golang", "1", b"one")
    assert ask(name) == first
    assert registry.image("ml/golang", "1", b"two") == ask(name) != first


def test_a_registry_that_is_away_is_no_answer(opened: wiring.Opened):
    with pytest.raises(UnreachableError) as caught:
        wiring_lock.locker(opened).digest_of("127.0.0.1:9/ml/golang:1")
    assert caught.value.exit_code == 3
