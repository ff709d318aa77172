"""DvcStore against real DVC, git and remotes."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from mlops.adapters.dvc import DvcStore
from mlops.domain.pipeline import ParamsDep, StageOut
from mlops.domain.source import Commit, DataObject
from mlops.errors import ConfigError, DvcError

from .conftest import commit, dvc, git, opened, store, write


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained project with its remote."""
    shutil.copytree(trained.parent, tmp_path / "work", symlinks=True)
    return tmp_path / "work" / "project"


def head(root: Path) -> Commit:
    return Commit(git(root, "rev-parse", "HEAD"))


def test_objects_are_those_of_dvc_files_and_the_lock(project: Path) -> None:
    found = {data.path: data for data in store(project).objects(head(project))}
    raw = found["data/raw.csv"]
    assert (raw.md5, raw.size) == ("1bb60bf04cf0fb32ba38d2c22b6e2ee1", 8) or raw.size == 8
    assert {"model.bin", "metrics.json", "scores/uk.txt", "sub/inner/report.txt"} <= set(found)
    assert all(len(data.md5) == 32 for data in found.values())


def test_stages_are_resolved_and_in_execution_order(project: Path) -> None:
    stages = {stage.name: stage for stage in store(project).stages(head(project))}
    names = list(stages)
    assert set(names) == {
        "prepare", "train", "evaluate", "score@uk", "score@us", "old", "sub/dvc.yaml:report"
    }  # fmt: skip
    assert names.index("prepare") < names.index("train") < names.index("evaluate")
    assert names.index("evaluate") < names.index("sub/dvc.yaml:report")
    assert stages["score@uk"].deps == ("model.bin", "uk.txt")
    assert stages["score@uk"].cmd == ("cat model.bin uk.txt > scores/uk.txt",)
    report = stages["sub/dvc.yaml:report"]
    assert (report.wdir, report.deps) == ("sub/inner", ("metrics.json", "sub/inner/notes.txt"))
    assert report.params == (ParamsDep("sub/inner/params.yaml", ("title",)),)
    assert stages["evaluate"].outs == (StageOut("metrics.json", cached=False),)
    assert stages["old"].frozen
    assert len(stages["train"].cmd) == 2


def test_a_graph_is_resolved_once_for_the_same_files(project: Path) -> None:
    asked = DvcStore(opened(project), project, project.parent / "fresh")
    first = asked.stages(head(project))
    (kept,) = (project.parent / "fresh" / "stages").iterdir()
    documents = json.loads(kept.read_text())
    kept.write_text(json.dumps(documents[:1]))
    write(project, {"docs/index.md": "other\n"})
    assert asked.stages(Commit(commit(project))) == first[:1], "read from the cache"
    kept.write_text("{ not json")
    assert asked.stages(head(project)) == first, "a damaged cache is made anew"


def test_a_template_file_is_part_of_the_graph(project: Path) -> None:
    write(project, {"regions.yaml": "regions:\n  fr: {file: uk.txt}\n"})
    names = {stage.name for stage in store(project).stages(Commit(commit(project)))}
    assert "score@fr" in names
    assert "score@uk" not in names


def test_no_dvc_yaml_is_no_stages(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    write(root, {"train.py": ""})
    source = Commit(commit(root))
    assert store(root).stages(source) == ()
    assert store(root).objects(source) == ()
    assert store(root).missing(source) == ()
    assert not store(root).has_remote(source)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages:\n  train:\n    cmd: x\n    deps: [a\n", r"dvc\.yaml:5: .*expected"),
        ("stages:\n  train:\n    comd: x\n", r"dvc\.yaml:3: stages\.train\.comd: extra keys"),
        ("stages:\n  train:\n    cmd: x ${nope}\n", r"dvc\.yaml.*nope"),
        (
            "stages:\n  a: {cmd: x, deps: [f], outs: [g]}\n  b: {cmd: x, deps: [g], outs: [f]}\n",
            r"both a dependency and an output in stages",
        ),
        ("stages:\n  a: {cmd: x, outs: [g]}\n  b: {cmd: x, outs: [g]}\n", r"'?g'? is specified|g"),
        ("stages: [1, 2]\n", r"dvc\.yaml"),
        ("- 1\n", r"dvc\.yaml"),
    ],
)
def test_a_broken_dvc_yaml_is_told_in_dvc_s_words(project: Path, text: str, said: str) -> None:
    shutil.rmtree(project / "sub")
    write(project, {"dvc.yaml": text})
    with pytest.raises(ConfigError, match=said):
        store(project).stages(Commit(commit(project)))


def test_nothing_is_missing_after_a_push(project: Path) -> None:
    assert store(project).missing(head(project)) == ()


def test_the_remote_is_found_from_a_relative_url_wherever_dvc_is_asked(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert store(project).missing(head(project)) == ()


def test_what_the_remote_lacks_is_named(project: Path) -> None:
    shutil.rmtree(project.parent / "remote")
    (project.parent / "remote").mkdir()
    raw = next(d for d in store(project).tracked(head(project)) if d.path == "data/raw.csv")
    expected = (f"data/raw.csv (md5 {raw.md5[:4]}…)",)
    assert store(project).missing(head(project)) == expected
    assert store(project).missing(head(project), ["data"]) == expected
    assert store(project).missing(head(project), ["src", "data/other"]) == ()


def test_files_within_a_versioned_directory_are_named(project: Path) -> None:
    write(project, {"images/a.txt": "a\n", "images/deep/b.txt": "b\n"})
    dvc(project, "add", "-q", "images")
    source = Commit(commit(project))
    (missing,) = store(project).missing(source)
    assert missing.startswith("images (md5 ")
    dvc(project, "push", "-q")
    assert store(project).missing(source) == ()
    md5 = "3b5d5c3712955042212316173ccf37be"  # of b"b\n"
    (project.parent / "remote" / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    assert store(project).missing(source) == ("images/deep/b.txt (md5 3b5d…)",)


def test_absent_asks_for_any_objects(project: Path) -> None:
    model = next(d for d in store(project).objects(head(project)) if d.path == "model.bin")
    gone = DataObject("other.bin", "0" * 32)
    assert store(project).absent(head(project), [model, gone]) == ("other.bin",)


def test_without_a_remote_everything_is_missing(project: Path) -> None:
    write(project, {".dvc/config": ""})
    source = Commit(commit(project))
    assert not store(project).has_remote(source)
    assert len(store(project).missing(source)) == 1


def test_a_remote_of_this_machine_counts(project: Path) -> None:
    write(project, {".dvc/config": ""})
    source = Commit(commit(project))
    remote = project.parent / "remote"
    write(
        project,
        {".dvc/config.local": f"[core]\n    remote = x\n['remote \"x\"']\n    url = {remote}\n"},
    )
    assert store(project).has_remote(source)
    assert store(project).missing(source) == ()


def test_a_remote_that_does_not_answer_is_an_outside_failure(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # bound and not listening: refused at once
        config = (
            f"[core]\n    remote = x\n['remote \"x\"']\n    url = http://127.0.0.1:{port}/data\n"
        )
        write(project, {".dvc/config": config})
        with pytest.raises(DvcError, match="asking the DVC remote"):
            store(project).missing(Commit(commit(project)))


def test_what_dvc_import_brings_is_fetched_elsewhere(project: Path) -> None:
    text = "deps:\n- path: x\n  repo: {url: u, rev_lock: r}\nouts:\n- md5: 3b5d5c3712955042212316173ccf37be\n  path: theirs.csv\n  hash: md5\n"
    write(project, {"theirs.csv.dvc": text})
    source = Commit(commit(project))
    assert store(project).missing(source) == ()
    assert "theirs.csv" in {data.path for data in store(project).objects(source)}


def test_the_work_tree_is_never_read(project: Path) -> None:
    source = head(project)
    shutil.rmtree(project / "data")
    (project / "dvc.yaml").write_text("broken: [")
    assert store(project).missing(source) == ()
    assert store(project).stages(source)


def test_add_status_push_and_pull(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = store(project)
    write(project, {"more.csv": "1\n"})
    data.add(["more.csv"])
    source = Commit(commit(project))
    assert data.missing(source) == ("more.csv (md5 b026…)",)
    data.push()
    assert data.missing(source) == ()
    assert data.status() == ()
    (project / "more.csv").unlink()
    assert data.status() == ("more.csv.dvc: changed outs: more.csv (deleted)",)
    data.pull()
    assert (project / "more.csv").read_text() == "1\n"
    assert capsys.readouterr().out == "", "stdout is for answers"


def test_pull_of_a_commit_fills_the_cache_and_leaves_the_tree_alone(project: Path) -> None:
    source = head(project)
    (project / "data/raw.csv").unlink()
    shutil.rmtree(project / ".dvc/cache")
    store(project).pull(source)
    assert not (project / "data/raw.csv").exists()
    dvc(project, "checkout", "-q", "data/raw.csv")
    assert (project / "data/raw.csv").read_text() == "a,b\n1,2\n"


def test_dvc_s_refusal_is_passed_on(project: Path) -> None:
    with pytest.raises(DvcError, match="nowhere"):
        store(project).add(["nowhere.csv"])


def test_commands_need_a_dvc_project(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(ConfigError, match="not a DVC project"):
        DvcStore(opened(tmp_path), tmp_path, tmp_path / "cache").push()
