"""What strangers wrote is read without seeing this machine: real DVC, hostile files."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from mlops.adapters.dvc import DvcStore, program
from mlops.domain.source import Commit
from mlops.errors import ConfigError, DvcError

from .conftest import commit, git, opened, store, write

SECRET = "hunter2-of-this-machine"


def confined(root: Path) -> DvcStore:
    return DvcStore(opened(root), root, root.parent / "cache", confined=True)


def stranger(tmp_path: Path, files: dict[str, str]) -> tuple[Path, Commit]:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q")
    write(root, files)
    return root, Commit(commit(root, "Be hostile"))


def test_the_graph_is_the_one_that_is_read_unconfined(trained: Path) -> None:
    head = Commit(git(trained, "rev-parse", "HEAD"))
    assert confined(trained).stages(head) == store(trained).stages(head)


@pytest.mark.parametrize("way", ["vars", "relative", "import"])
def test_no_file_of_this_machine_gets_into_a_stage(tmp_path: Path, way: str) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "params.yaml").write_text(f"names: [{SECRET}]\n")
    stage = "  all:\n    foreach: ${names}\n    do: {cmd: 'true', outs: ['${item}.txt']}\n"
    named = {
        "vars": f"vars: ['{outside}/params.yaml']\nstages:\n{stage}",
        "relative": f"vars: ['../../../../../../..{outside}/params.yaml']\nstages:\n{stage}",
        "import": f"vars: ['{outside}/params.py']\nstages:\n{stage}",
    }[way]
    (outside / "params.py").write_text(f"names = ['{SECRET}']\n")
    root, head = stranger(tmp_path, {"dvc.yaml": named})
    assert SECRET in str(store(root).stages(head))  # it would, unconfined
    with pytest.raises((ConfigError, DvcError)) as caught:
        confined(root).stages(head)
    assert SECRET not in str(caught.value)


def test_the_configuration_of_a_stranger_writes_nowhere(tmp_path: Path) -> None:
    target = tmp_path / "planted"
    settings = f"[core]\n    site_cache_dir = {target}\n[cache]\n    dir = {target}\n"
    root, head = stranger(
        tmp_path, {".dvc/config": settings, "dvc.yaml": "stages: {a: {cmd: 'true'}}\n"}
    )
    with contextlib.suppress(ConfigError, DvcError):
        confined(root).stages(head)
    assert not target.exists()


def test_nobody_is_spoken_to(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        files = {
            ".dvc/config": f"[core]\n    remote = theirs\n['remote \"theirs\"']\n    url = {url}/data\n",
            "dvc.yaml": f"vars: ['{url}/params.yaml']\nstages: {{a: {{cmd: 'true', outs: [a.txt]}}}}\n",
            "data.dvc": "outs:\n- {md5: d41d8cd98f00b204e9800998ecf8427e, size: 0, path: data}\n",
        }
        root, head = stranger(tmp_path, files)
        data = confined(root)
        with contextlib.suppress(ConfigError, DvcError):
            data.stages(head)
        assert data.missing(head) == ()
        server.setblocking(False)  # who had connected would wait in the queue
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_callers_environment_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert SECRET not in str(program.confined(tmp_path))
