"""DVC in the exported source of a run: without git, and after hostile training."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from mlops.adapters.dvc import outputs
from mlops.adapters.dvc.workspace import Workspace, prepare, remote_urls
from mlops.domain.dvcfiles import LockedEntry, LockedStage, parse_lock
from mlops.domain.pipeline import Stage, StageOut
from mlops.errors import DvcError, RefusedError

from .conftest import git, store, write


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained.parent, tmp_path / "work", symlinks=True)
    return tmp_path / "work" / "project"


@pytest.fixture
def tree(project: Path, tmp_path: Path) -> Path:
    """The source as a run exports it: the files of the commit, no `.git`."""
    found = tmp_path / "run" / "source"
    found.mkdir(parents=True)
    archive = tmp_path / "source.tar"
    git(project, "archive", "-o", str(archive), "HEAD")
    shutil.unpack_archive(archive, found, filter="data")
    return found


@pytest.fixture
def workspace(project: Path, tree: Path, tmp_path: Path) -> Workspace:
    config = (project / ".dvc/config").read_bytes()
    return prepare(tree, tmp_path / "run" / "cache", config, project=project)


def _repro(workspace: Workspace, *targets: str, **more: object) -> tuple[int, list[str]]:
    said: list[str] = []
    options = {"shell": None, "env": {}, "line": said.append} | more
    return workspace.repro(targets, **options), said  # type: ignore[arg-type]


def test_a_pulled_source_is_up_to_date_without_git(workspace: Workspace) -> None:
    workspace.pull()
    assert (workspace.tree / "data/raw.csv").read_text() == "a,b\n1,2\n"
    code, said = _repro(workspace, "train", "evaluate")
    assert code == 0
    assert not [line for line in said if line.startswith("Running")]


def test_what_is_stale_runs_through_the_given_shell(workspace: Workspace, tmp_path: Path) -> None:
    workspace.pull()
    shell = tmp_path / "shim"
    shell.write_text(
        f'#!/bin/sh\necho "$DVC_STAGE: $2 $GIVEN" >> {tmp_path}/calls\nexec /bin/sh "$@"\n'
    )
    shell.chmod(0o755)
    write(workspace.tree, {"uk.txt": "UK\n"})
    code, said = _repro(workspace, "score", shell=shell, env={"GIVEN": "yes"})
    assert code == 0
    assert (
        tmp_path / "calls"
    ).read_text() == "score@uk: cat model.bin uk.txt > scores/uk.txt yes\n"
    assert "Running stage 'score@uk':" in said


def test_a_failing_command_gives_dvc_s_exit_code_and_its_output(workspace: Workspace) -> None:
    workspace.pull()
    write(
        workspace.tree,
        {"dvc.yaml": "stages:\n  train:\n    cmd: echo out; echo err >&2; exit 3\n    outs: [x]\n"},
    )
    code, said = _repro(workspace, "train")
    assert code != 0
    assert "out" in said
    assert "err" in said


def test_training_that_takes_too_long_is_ended(workspace: Workspace) -> None:
    write(workspace.tree, {"dvc.yaml": "stages:\n  train:\n    cmd: sleep 600\n    outs: [x]\n"})
    with pytest.raises(DvcError, match="took over"):
        _repro(workspace, "train", timeout=0.1)


def test_an_interrupt_ends_the_command_with_its_children(workspace: Workspace) -> None:
    text = "stages:\n  train:\n    cmd: echo pid $$; sleep 600; true\n    outs: [x]\n"
    write(workspace.tree, {"dvc.yaml": text})
    pids: list[int] = []

    def line(said: str) -> None:
        if said.startswith("pid "):
            pids.append(int(said.removeprefix("pid ")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _repro(workspace, "train", line=line)
    state = Path(f"/proc/{pids[0]}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_a_command_leaves_behind_does_not_keep_the_run_open(workspace: Workspace) -> None:
    write(
        workspace.tree,
        {"dvc.yaml": "stages:\n  train:\n    cmd: sleep 600 & echo > x\n    outs: [x]\n"},
    )
    code, _ = _repro(workspace, "train", timeout=120.0)
    assert code == 0


def test_training_cannot_write_through_to_the_cache(workspace: Workspace) -> None:
    workspace.pull()
    data = workspace.tree / "data/raw.csv"
    assert data.stat().st_nlink == 1
    assert not data.is_symlink()
    data.chmod(0o644)
    data.write_text("poison\n")
    cached = [p for p in workspace.cache.rglob("*") if p.is_file()]
    assert cached
    assert b"poison\n" not in {p.read_bytes() for p in cached}


def test_missing_outputs_are_allowed_only_where_said(workspace: Workspace, project: Path) -> None:
    remote = project.parent / "remote" / "files" / "md5"
    model = (
        parse_lock((project / "dvc.lock").read_bytes(), "dvc.lock")["train"].outs["model.bin"].md5
    )
    (remote / model[:2] / model[2:]).unlink()
    with pytest.raises(DvcError, match="pulling data") as caught:
        workspace.pull()
    assert "model.bin" in caught.value.message
    workspace.pull(allow_missing=True)
    assert (workspace.tree / "data/raw.csv").exists()
    assert not (workspace.tree / "model.bin").exists()


def test_corrupt_data_on_the_remote_is_refused(workspace: Workspace, project: Path) -> None:
    for path in (project.parent / "remote").rglob("*"):
        if path.is_file() and path.read_bytes() == b"a,b\n1,2\n":
            path.chmod(0o644)
            path.write_bytes(b"a,b\n6,6\n")
            path.chmod(0o444)  # DVC trusts a read-only file unless told to verify
    with pytest.raises(DvcError):
        workspace.pull()
    assert not (workspace.tree / "data/raw.csv").exists()


def test_push_goes_where_the_source_says_whatever_training_planted(
    workspace: Workspace, project: Path, tmp_path: Path
) -> None:
    workspace.pull()
    write(workspace.tree, {"src/prepare.py": "# other\n"})
    assert _repro(workspace, "train")[0] == 0
    evil = tmp_path / "evil"
    planted = f"[core]\n    remote = evil\n['remote \"evil\"']\n    url = {evil}\n['remote \"store\"']\n    url = {evil}\n"
    write(workspace.tree, {".dvc/config": planted, ".dvc/config.local": planted})
    workspace.push(["model.bin"])
    assert not evil.exists()
    md5 = (
        parse_lock((workspace.tree / "dvc.lock").read_bytes(), "dvc.lock")["train"]
        .outs["model.bin"]
        .md5
    )
    assert (project.parent / "remote" / "files" / "md5" / md5[:2] / md5[2:]).is_file()


def test_modules_that_training_planted_are_not_imported(
    workspace: Workspace, tmp_path: Path
) -> None:
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w')\n"
    write(workspace.tree, {"dvc.py": trap, "yaml.py": trap, "ruamel/__init__.py": trap})
    workspace.pull()
    workspace.push(["model.bin"])
    assert not (tmp_path / "sprung").exists()


def test_a_dvc_directory_that_became_a_link_is_replaced_not_followed(
    workspace: Workspace, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, {"config": "keep\n", "config.local": "keep\n"})
    shutil.rmtree(workspace.tree / ".dvc")
    (workspace.tree / ".dvc").symlink_to(elsewhere)
    workspace.reset_config()
    assert not (workspace.tree / ".dvc").is_symlink()
    assert (elsewhere / "config").read_text() == "keep\n"
    assert (elsewhere / "config.local").read_text() == "keep\n"


def test_links_within_the_dvc_directory_are_removed_not_written_through(
    workspace: Workspace, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep\n")
    for name in ("config", "config.local"):
        (workspace.tree / ".dvc" / name).unlink()
        (workspace.tree / ".dvc" / name).symlink_to(victim)
    workspace.reset_config()
    assert victim.read_text() == "keep\n"


def test_modes_that_were_taken_away_do_not_stop_the_reset(workspace: Workspace) -> None:
    locked = workspace.tree / ".dvc" / "a" / "b"
    locked.mkdir(parents=True)
    locked.parent.chmod(0)
    workspace.reset_config()
    assert not locked.parent.exists()


def test_credentials_are_readable_by_their_owner_alone(workspace: Workspace) -> None:
    with_secret = Workspace(
        workspace.tree, workspace.cache, workspace.config, None, {"store": {"password": "s3cret'x"}}
    )
    with_secret.reset_config()
    local = workspace.tree / ".dvc" / "config.local"
    assert stat.S_IMODE(local.stat().st_mode) == 0o600
    assert "s3cret" in local.read_text()


@pytest.mark.parametrize(
    "bad", [{"a\nb": {"url": "x"}}, {"a": {"url": "x\n[core]"}}, {"a": {"k=v": "x"}}]
)
def test_settings_cannot_break_out_of_their_line(
    workspace: Workspace, bad: dict[str, dict[str, str]]
) -> None:
    with pytest.raises(DvcError):
        Workspace(workspace.tree, workspace.cache, b"", None, bad).reset_config()


def test_remote_urls_are_read_as_dvc_writes_them() -> None:
    text = "[core]\n    remote = a\n['remote \"a\"']\n    url = ../x\n['remote \"b c\"']\n    url = s3://y\n[cache]\nurl = z\n"
    assert remote_urls(text) == {"a": "../x", "b c": "s3://y"}


# -- outputs


def _declared(tree: Path, path: str, *, md5: str | None = None) -> tuple[outputs.Output, ...]:
    stage = Stage("train", ("x",), outs=(StageOut(path),))
    if md5 is None:
        md5 = outputs.take(tree, path, "it").md5
    return outputs.collect(
        tree, [stage], {"train": LockedStage(("x",), outs={path: LockedEntry(md5)})}
    )


def test_outputs_have_the_hashes_that_dvc_records(project: Path) -> None:
    source = git(project, "rev-parse", "HEAD")
    data = store(project)
    from mlops.domain.source import Commit  # noqa: PLC0415

    locks = {
        **parse_lock((project / "dvc.lock").read_bytes(), "dvc.lock"),
        **parse_lock((project / "sub/dvc.lock").read_bytes(), "sub/dvc.lock"),
    }
    stages = [stage for stage in data.stages(Commit(source)) if not stage.frozen]
    taken = outputs.collect(project, stages, locks)
    assert {o.object.path: o.object for o in taken}.keys() >= {"model.bin", "metrics.json"}
    assert {o.object.path for o in taken if not o.cached} == {"metrics.json"}


def test_a_directory_output_has_dvc_s_hash(tmp_path: Path) -> None:
    write(tmp_path, {"out/a.txt": "a\n", "out/deep/b.txt": "b\n"})
    taken = outputs.take(tmp_path, "out", "it")
    assert taken.md5.endswith(".dir")
    assert (taken.size, taken.nfiles) == (4, 2)


def test_an_output_that_is_not_what_the_lock_records_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"model.bin": "x\n"})
    with pytest.raises(
        RefusedError, match=r"model\.bin of stage train is not what dvc\.lock records"
    ):
        _declared(tmp_path, "model.bin", md5="0" * 32)


def test_a_link_to_a_secret_is_refused_by_name(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "model.bin").symlink_to(secret)
    with pytest.raises(RefusedError, match=r"model\.bin.*symlink"):
        _declared(tree, "model.bin", md5="x")


def test_a_link_on_the_way_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"outside/model.bin": "x", "tree/x": ""})
    (tmp_path / "tree" / "models").symlink_to(tmp_path / "outside")
    with pytest.raises(RefusedError, match=r"models/model\.bin"):
        _declared(tmp_path / "tree", "models/model.bin", md5="x")


def test_a_link_within_a_directory_is_refused_by_its_own_name(tmp_path: Path) -> None:
    write(tmp_path, {"out/deep/a.txt": "a"})
    (tmp_path / "out" / "deep" / "link").symlink_to("a.txt")
    with pytest.raises(RefusedError, match="out/deep/link"):
        _declared(tmp_path, "out", md5="x")


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_pipes_and_sockets_are_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    mode = stat.S_IFIFO if kind == "fifo" else stat.S_IFSOCK
    os.mknod(tmp_path / "model.bin", mode | 0o600)
    with pytest.raises(RefusedError, match="regular file"):
        _declared(tmp_path, "model.bin", md5="x")


@pytest.mark.parametrize("path", ["../model.bin", "/etc/passwd", "a/../../x", "s3://bucket/x"])
def test_an_output_outside_the_project_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(RefusedError, match="outside the project"):
        _declared(tmp_path, path, md5="x")


def test_a_missing_output_is_named_with_its_stage(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"model\.bin, an output of stage train, is not there"):
        _declared(tmp_path, "model.bin", md5="x")


def test_read_takes_regular_files_up_to_the_limit(tmp_path: Path) -> None:
    write(tmp_path, {"metrics.json": "{}", "dir/x": ""})
    assert outputs.read(tmp_path, "metrics.json", 10) == b"{}"
    assert outputs.read(tmp_path, "absent.json", 10) is None
    with pytest.raises(RefusedError, match="more than"):
        outputs.read(tmp_path, "metrics.json", 1)
    with pytest.raises(RefusedError, match="directory"):
        outputs.read(tmp_path, "dir", 10)
    (tmp_path / "link").symlink_to("metrics.json")
    with pytest.raises(RefusedError, match="symlink"):
        outputs.read(tmp_path, "link", 10)
