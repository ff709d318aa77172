"""What we call stale is what `dvc repro` runs, decided without the work tree and without dvc."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops.adapters.dvc.store import stage_of
from mlops.domain.source import Commit
from mlops.domain.view import Tree
from mlops.policy.sides import pipeline, tracked
from mlops.policy.stale import stale_stages

from .conftest import ENV, commit, dvc, opened, write

Change = Callable[[Path], None]


def _replaced(name: str, old: str, new: str) -> Change:
    def change(root: Path) -> None:
        path = root / name
        before = path.read_bytes()
        assert old.encode() in before
        path.write_bytes(before.replace(old.encode(), new.encode()))

    return change


def _written(name: str, text: str) -> Change:
    return lambda root: write(root, {name: text})


def _data(root: Path) -> None:
    (root / "data/raw.csv").chmod(0o644)
    (root / "data/raw.csv").write_text("a,b\n3,4\n")
    dvc(root, "add", "-q", "data/raw.csv")


def _removed(name: str) -> Change:
    return lambda root: (root / name).unlink()


def _several(*changes: Change) -> Change:
    def change(root: Path) -> None:
        for each in changes:
            each(root)

    return change


AFTER_MODEL = {"evaluate", "score@uk", "score@us", "sub/dvc.yaml:report"}
ALL = {"prepare", "train"} | AFTER_MODEL

CASES: dict[str, tuple[Change, set[str]]] = {
    "nothing": (_several(), set()),
    "docs": (_written("docs/index.md", "other\n"), set()),
    "data": (_data, ALL),
    "code file": (_written("src/prepare.py", "# other\n"), ALL),
    "code in a directory": (_written("src/train/deep/more.py", "# x\n"), {"train"} | AFTER_MODEL),
    "file added": (_written("src/train/new.py", "# new\n"), {"train"} | AFTER_MODEL),
    "file removed": (_removed("src/train/deep/more.py"), {"train"} | AFTER_MODEL),
    "line ends alone": (_written("src/train/main.py", "# train\n"), {"train"} | AFTER_MODEL),
    "ignored file": (_written("src/train/skip.log", "else\n"), set()),
    "taken back from the ignored": (_written("src/train/keep.log", "x\n"), {"train"} | AFTER_MODEL),
    "parameter": (_replaced("params.yaml", "depth: 3", "depth: 5"), {"train"} | AFTER_MODEL),
    "same number otherwise": (_replaced("params.yaml", "1e-3", "0.001"), set()),
    "parameter nobody reads": (_replaced("params.yaml", "unused: 1", "unused: 2"), set()),
    "parameter in a command": (_replaced("params.yaml", "rows: 3", "rows: 4"), ALL),
    "comment in parameters": (_replaced("params.yaml", "train:", "# why\ntrain:"), set()),
    "toml": (_replaced("more.toml", "hidden = 8", "hidden = 9"), {"train"} | AFTER_MODEL),
    "toml nobody reads": (_replaced("more.toml", "other = 1", "other = 9"), set()),
    "python": (_replaced("config.py", "DEPTH = 3", "DEPTH = 4"), {"train"} | AFTER_MODEL),
    "python tuple": (_replaced("config.py", "(1, 2)", "(1, 3)"), {"train"} | AFTER_MODEL),
    "python nobody reads": (_replaced("config.py", "OTHER = 1", "OTHER = 2"), set()),
    "foreach item": (_written("uk.txt", "UK\n"), {"score@uk"}),
    "foreach key added": (
        _several(
            _replaced("regions.yaml", "  us:", "  fr: {file: fr.txt}\n  us:"),
            _written("fr.txt", ""),
        ),
        {"score@fr"},
    ),
    "command": (_replaced("dvc.yaml", "cp model.bin", "cp -f model.bin"), {"evaluate"}),
    "comment in dvc.yaml": (_replaced("dvc.yaml", "vars:", "# why\nvars:"), set()),
    "dependency added": (
        _replaced("dvc.yaml", "deps: [model.bin]", "deps: [model.bin, uk.txt]"),
        {"evaluate"},
    ),
    "dependency removed": (
        _replaced("dvc.yaml", "deps: [data/raw.csv, src/prepare.py]", "deps: [data/raw.csv]"),
        set(),
    ),
    "output added": (
        _replaced("dvc.yaml", "outs: [data/clean.csv]", "outs: [data/clean.csv, data/extra.txt]"),
        {"prepare"},
    ),
    "stage added": (
        _several(
            _replaced(
                "dvc.yaml",
                "  old:",
                "  fresh:\n    cmd: date > fresh.txt\n    deps: [uk.txt]\n    outs: [fresh.txt]\n  old:",
            )
        ),
        {"fresh"},
    ),
    "always": (
        _replaced("dvc.yaml", "    cmd: cp model", "    always_changed: true\n    cmd: cp model"),
        {"evaluate"},
    ),
    "frozen": (_written("legacy.txt", "other\n"), set()),
    "inner directory": (_written("sub/inner/notes.txt", "other\n"), {"sub/dvc.yaml:report"}),
    "inner parameters": (
        _written("sub/inner/params.yaml", "title: Two\n"),
        {"sub/dvc.yaml:report"},
    ),
    "metrics edited": (_written("metrics.json", "{}\n"), {"evaluate"}),
    "metrics gone": (_removed("metrics.json"), {"evaluate"}),
}
# DVC runs what follows only where an output really changed, and this command's does not
UNCHANGED_OUTPUT = {
    "command",
    "dependency added",
    "output added",
    "always",
    "metrics edited",
    "metrics gone",
}


@pytest.fixture(scope="module")
def cases(
    trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[set[str], list[str]]]:
    """Each case's stale stages, ours and those that DVC ran."""
    commits: dict[str, tuple[Path, str]] = {}
    for name, (change, _) in CASES.items():
        root = tmp_path_factory.mktemp("case") / "project"
        shutil.copytree(trained, root, symlinks=True)
        change(root)
        commits[name] = (root, commit(root))
    asked = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("reference.py"))],
        input=json.dumps([str(root) for root, _ in commits.values()]),
        env=ENV | {"DVC_SITE_CACHE_DIR": str(tmp_path_factory.mktemp("site"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr[-3000:]
    theirs = json.loads(asked.stdout)
    return {
        name: (_stale(root, sha, theirs[str(root)]["stages"]), theirs[str(root)]["ran"])
        for name, (root, sha) in commits.items()
    }


def _stale(root: Path, sha: str, documents: list[dict[str, Any]]) -> set[str]:
    with opened(root) as repository:
        source = Commit(sha)
        tree = Tree.of(repository.files(source), repository.blob)
        graph = pipeline(tree, [stage_of(document) for document in documents])
        data = {found.path: (found.md5, "") for found in tracked(tree)}
        return {name for name, _ in stale_stages(graph, data, ())}


@pytest.mark.parametrize("name", CASES)
def test_stale_is_what_dvc_runs(cases: dict[str, tuple[set[str], list[str]]], name: str) -> None:
    ours, theirs = cases[name]
    _, expected = CASES[name]
    assert set(theirs) == expected
    if name in UNCHANGED_OUTPUT:
        assert ours >= set(theirs)
        assert ours - set(theirs) <= ALL
    else:
        assert ours == set(theirs)
