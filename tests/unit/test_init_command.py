"""`mlops init` as it is called without a terminal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlops.cli.init import init
from mlops.errors import UsageError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    (tmp_path / "train.py").write_text('joblib.dump(m, "spam.pkl")')
    (tmp_path / "requirements.txt").write_text("x\n")
    return tmp_path


def test_what_is_not_written_is_not_said_to_be(tree, capsys):
    assert init(repo=tree, dry_run=True) == 0
    with pytest.raises(UsageError, match="nothing was written"):
        init(repo=tree)
    said = capsys.readouterr().err
    assert said.count("would be added to .gitignore: .mlops/") == 2
    assert "\nadded to" not in said
    assert not (tree / ".gitignore").exists()


def test_what_is_written_is_said_to_be_and_a_second_time_has_nothing_to_do(tree, capsys):
    assert init(repo=tree, yes=True) == 0
    said = capsys.readouterr().err
    assert "added to .gitignore: .mlops/" in said
    assert "would be" not in said
    before = (tree / ".gitignore").read_bytes()
    assert init(repo=tree) == 0
    assert "added to" not in capsys.readouterr().err
    assert (tree / ".gitignore").read_bytes() == before
