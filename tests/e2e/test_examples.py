"""The examples do what their READMEs say: each is played, command by command, from init to a prediction and back."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlops.demo.stage import DemoError

ROOT = Path(__file__).resolve().parents[2]


def _loaded():
    spec = importlib.util.spec_from_file_location("examples", ROOT / "scripts" / "examples.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


examples = _loaded()
NAMES = examples.names()
PAGE = "docs/tutorial/an-example.md"


def test_all_three_are_there():
    assert NAMES == ["diabetes-regression", "digits-monorepo", "wine-layers"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_as_its_readme_says(name, tmp_path):
    """And is answered by a container of podman's, from a registry. Nothing is left: neither beside the copy that was
    played, nor in the example itself."""
    before = listing(ROOT / "examples")
    page = ["--page", PAGE] if name == "wine-layers" else []
    done = subprocess.run(
        [sys.executable, "scripts/examples.py", "--pulled", *page, name],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    typed = [line for line in done.stdout.splitlines() if line.startswith("$ ")]
    for command in ("git init", "dvc init", "mlops init", "mlops lock", "mlops run"):
        assert any(line.startswith(f"$ {command}") for line in typed), command
    assert "mlops rollback prod" in done.stdout
    assert done.stdout.rindex("mlops image run") > done.stdout.index("mlops rollback prod")
    assert "podman run" in done.stdout
    assert ("mlops run --again" in done.stdout) == bool(page)
    assert list(tmp_path.iterdir()) == []
    assert listing(ROOT / "examples") == before


def listing(directory):
    return sorted(str(p) for p in directory.rglob("*") if "__pycache__" not in p.parts)


# --- the player itself: each of its guards ------------------------------------------------------------


def played(tmp_path, readme):
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text(readme)
    examples.play(project, tmp_path / "cache")


def test_what_is_printed_must_be_as_told(tmp_path):
    played(
        tmp_path, "## A\n```sh\necho one   two\necho three\n```\n```text\none … two\nthree\n```\n"
    )


@pytest.mark.parametrize(
    "told",
    ["three\none two", "one two three", "four"],
)
def test_what_is_not_printed_or_in_another_order_stops_it(tmp_path, told):
    readme = f"## A\n```sh\necho one two\necho three\n```\n```text\n{told}\n```\n"
    with pytest.raises(DemoError, match="nothing printed was like"):
        played(tmp_path, readme)


def test_a_command_that_fails_stops_it_unless_that_is_told(tmp_path):
    played(tmp_path, "## A\n```sh\nexit 1\n```\n```text\n(exits 1)\n```\n")
    shutil.rmtree(tmp_path / "project")
    with pytest.raises(DemoError, match="exited 0, 1 was expected"):
        played(tmp_path, "## A\n```sh\ntrue\n```\n```text\n(exits 1)\n```\n")
    shutil.rmtree(tmp_path / "project")
    with pytest.raises(DemoError, match="exited 3, 0 was expected"):
        played(tmp_path, "## A\n```sh\nexit 3\ntrue\n```\n")


def test_lines_that_go_on_are_one_command():
    (found,) = examples.blocks("## A\n```sh\nmlops a &&\n  mlops b \\\n  c\nd\n```\n")
    assert found.commands == ("mlops a &&\n  mlops b \\\n  c", "d")
    (found,) = examples.blocks("## A\n```sh\nserve &\nask\nkill $!\n```\n")
    assert found.commands == ("serve &\nask\nkill $!",)


def test_the_first_prediction_of_each_model_is_asked_again():
    served = "mlops image run {}@prod --port 8080 &\ncurl http://127.0.0.1:8080/v2/models/m/infer\nkill $!"
    told = [
        ("mlops run", ()),
        ("mlops image run a@prod --port 8080 &\ncurl http://127.0.0.1:8080/healthz", ("ok",)),
        (served.format("a"), ("1",)),
        (served.format("b"), ("2",)),
        (served.format("a"), ("3",)),
    ]
    asked = examples.examples_pulled.questions(told)
    assert [(each.model, each.expected) for each in asked] == [("a", ("1",)), ("b", ("2",))]
    assert asked[0].asked_of("podman run a", 99).splitlines() == [
        "podman run a &",
        "curl http://127.0.0.1:99/v2/models/m/infer",
        "kill $!",
    ]


def test_a_directory_that_is_there_is_not_played_in(tmp_path):
    argv = [sys.executable, "scripts/examples.py", "--keep", str(tmp_path), "wine-layers"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is there already" in done.stderr
