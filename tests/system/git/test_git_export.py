"""The tree of a commit, written into a directory."""

from __future__ import annotations

import os
import subprocess

import pytest

from mlops.domain.source import Commit
from mlops.errors import GitError, RefusedError


def _tree(directory):
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = None
    return found


def test_bytes_modes_links_and_submodules(sandbox, tmp_path):
    where = sandbox.clone("a")
    inner = sandbox.new("inner")
    sandbox.commit(inner, "x", {"x": "x"})
    sandbox.git(
        where, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(inner), "sub"
    )
    (where / "run").write_text("#!/bin/sh\n")
    (where / "run").chmod(0o755)
    (where / "d" / "e").mkdir(parents=True)
    (where / "d" / "e" / "up").symlink_to("../../train.py")
    (where / "d" / "dangling").symlink_to("nothing/here")
    head = Commit(sandbox.commit(where, "x", {"new\nline": "n", "é": "é"}))
    sandbox.open(where).export(head, tmp_path / "out")
    found = _tree(tmp_path / "out")
    assert found["train.py"] == b"print(1)\n"
    assert found["new\nline"] == b"n"
    assert found["d/e/up"] == "-> ../../train.py"
    assert found["d/dangling"] == "-> nothing/here"
    assert found["sub"] is None
    assert not any(name.startswith("sub/") or name == ".git" for name in found)
    assert os.access(tmp_path / "out" / "run", os.X_OK)
    assert not os.access(tmp_path / "out" / "train.py", os.X_OK)


def test_attributes_and_filters_do_not_apply(sandbox, settings, tmp_path):
    where = sandbox.clone("a")
    mark = sandbox.directory / "ran"
    attributes = "*.txt text eol=crlf ident\nsecret export-ignore\n*.bin filter=trap\n"
    head = sandbox.commit(
        where, "x", {".gitattributes": attributes, "a.txt": "$Id$\n", "secret": "s", "b.bin": "b"}
    )
    with settings.open("a") as config:
        config.write(
            f'[core]\n autocrlf = true\n[filter "trap"]\n smudge = touch {mark}\n required\n'
        )
    sandbox.open(where).export(Commit(head), tmp_path / "out")
    found = _tree(tmp_path / "out")
    assert found["a.txt"] == b"$Id$\n"
    assert found["secret"] == b"s"
    assert found["b.bin"] == b"b"
    assert not mark.exists()


def test_only_a_part(sandbox, tmp_path):
    where = sandbox.clone("a")
    head = sandbox.commit(where, "x", {"one/a": "1", "one/b/c": "2", "oneself": "3"})
    sandbox.open(where).export(Commit(head), tmp_path / "out", "one")
    assert [name for name, content in _tree(tmp_path / "out").items() if content] == [
        "one/a",
        "one/b/c",
    ]


def test_thousands_of_files_and_a_large_one(sandbox, tmp_path):
    where = sandbox.clone("a")
    files = {f"d{number % 50}/f{number}": f"{number}" for number in range(3000)}
    head = sandbox.commit(where, "x", {**files, "large": "0123456789" * 400_000})
    sandbox.open(where).export(Commit(head), tmp_path / "out")
    found = _tree(tmp_path / "out")
    assert all(found[name] == content.encode() for name, content in files.items())
    assert found["large"] == b"0123456789" * 400_000


@pytest.mark.parametrize(
    "links",
    [
        {"link": "/etc/passwd"},
        {"link": "../outside"},
        {"d/link": "../../outside"},
        {"d/link": "e/../../../outside"},
        # each looks harmless alone: the second climbs from where the first leads to
        {"deep/a/b/first": "../../../top", "second": "deep/a/b/first/../.."},
        {"loop": "loop"},
        {"x": "y", "y": "x"},
    ],
)
def test_links_that_lead_out_are_refused(sandbox, tmp_path, links):
    where = sandbox.clone("a")
    for path, target in links.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).symlink_to(target)
    head = sandbox.commit(where, "x", {})
    with pytest.raises(RefusedError, match="leads out of"):
        sandbox.open(where).export(Commit(head), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _raw_commit(sandbox, where, entries):
    """A commit whose tree git itself would not have made."""
    blob = sandbox.git(where, "rev-parse", "HEAD:train.py")
    inner = sandbox.git(where, "rev-parse", "HEAD^{tree}")
    content = b"".join(
        f"{mode} {name}".encode() + b"\0" + bytes.fromhex(inner if mode == "40000" else blob)
        for mode, name in entries
    )
    made = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        cwd=where,
        input=content,
        capture_output=True,
        check=True,
    )
    return Commit(sandbox.git(where, "commit-tree", made.stdout.decode().strip(), "-m", "evil"))


@pytest.mark.parametrize(
    "entries",
    [
        [("100644", "..")],
        [("40000", "..")],
        [("40000", ".git")],
        [("40000", ".GIT")],
        [("100644", "a/b")],
        [("40000", "d/../..")],
        [("120000", "x"), ("40000", "x")],
        [("100644", "x"), ("100644", "x")],
    ],
)
def test_malformed_trees_are_refused(sandbox, tmp_path, entries):
    where = sandbox.clone("a")
    commit = _raw_commit(sandbox, where, entries)
    if entries == [("100644", "a/b")]:  # a slash in a name is a path of its own; harmless
        sandbox.open(where).export(commit, tmp_path / "out")
        assert list(_tree(tmp_path / "out")) == ["a", "a/b"]
        return
    with pytest.raises(RefusedError):
        sandbox.open(where).export(commit, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_directory_with_something_in_it(sandbox, tmp_path):
    where = sandbox.clone("a")
    (tmp_path / "out").mkdir()
    repository = sandbox.open(where)
    repository.export(repository.head(), tmp_path / "out")
    with pytest.raises(GitError, match="not empty"):
        repository.export(repository.head(), tmp_path / "out")


def test_a_blob_that_is_gone(sandbox, tmp_path):
    where = sandbox.clone("a")
    repository = sandbox.open(where)
    blob = sandbox.git(where, "rev-parse", "HEAD:train.py")
    (where / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(GitError, match="is not here"):
        repository.export(repository.head(), tmp_path / "out")


def test_a_place_that_cannot_be_written(sandbox, tmp_path):
    where = sandbox.clone("a")
    repository = sandbox.open(where)
    (tmp_path / "file").write_text("")
    with pytest.raises(GitError, match="cannot write"):
        repository.export(repository.head(), tmp_path / "file" / "out")
