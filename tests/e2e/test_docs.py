"""The documentation does what it says: the tutorial runs, commands and links are real."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mlops.cli import app as cli
from mlops.config.environment import parse_environment
from mlops.config.project import parse_project
from tests.e2e.repositories import environment, run

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_RUNNER = CliRunner()


def blocks(page: Path, *languages: str) -> list[str]:
    found = []
    for indent, language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            found.append(re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
    return found


def ids(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.timeout(1200)
def test_the_tutorial_runs_as_it_stands(tmp_path):
    env = environment(tmp_path / "home")
    (tmp_path / "home" / ".gitconfig").unlink()
    (tmp_path / "work").mkdir()
    script = "\n".join(["set -e", *blocks(ROOT / "docs/tutorial/first-project.md", "sh")])
    done = run(tmp_path / "work", env, "/bin/sh", "-c", script, timeout=1000)
    releases = re.findall(r"^spam@sha256:([0-9a-f]{64})$", done.stdout, re.MULTILINE)
    assert len(set(releases)) == 2
    first, second = releases[0], releases[-1]
    rolled_back = re.search(r"prod: spam sha256:(\w+) → sha256:(\w+)", done.stdout + done.stderr)
    assert rolled_back is not None
    assert second.startswith(rolled_back.group(1))
    assert first.startswith(rolled_back.group(2))


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def commands(page: Path) -> list[str]:
    lines = [line for text in blocks(page, "sh") for line in text.splitlines()]
    parts = [part.strip() for line in lines for part in re.split(r"&&|;|\|", line.split(" # ")[0])]
    return [part for part in parts if part.startswith("mlops ")]


def test_init_in_the_readme_needs_nobody_who_answers(tmp_path):
    env = environment(tmp_path / "home")
    run(tmp_path, env, "git", "init", "-q", ".")
    (tmp_path / "train.py").write_text("print()")
    (init,) = (each for each in commands(ROOT / "README.md") if each.startswith("mlops init"))
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(init)],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mlops.yaml").is_file()


WITH_COMMANDS = [page for page in PAGES if commands(page)]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=ids(WITH_COMMANDS))
def test_commands_and_options_exist(page):
    for line in commands(page):
        words = shlex.split(line)[1:]
        name = words[0]
        if name.startswith("--"):  # an option of the program itself
            assert name in _RUNNER.invoke(cli.build(), ["--help"], prog_name="mlops").output, line
            continue
        assert name in cli.COMMANDS, line
        path = [name]
        app = cli.build(name)
        groups = {group.name for group in app.registered_groups}
        if name in groups and len(words) > 1 and not words[1].startswith("-"):
            path.append(words[1])
        shown = _RUNNER.invoke(app, [*path, "--help"], prog_name="mlops", env={"COLUMNS": "200"})
        assert shown.exit_code == 0, line
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert option in shown.output, f"{line}: {option}"


SNIPPETS = [
    (page, number, text)
    for page in PAGES
    for number, text in enumerate(blocks(page, "yaml"))
    if "kind: Project" in text or "kind: Environment" in text
]


@pytest.mark.parametrize(
    ("page", "number", "text"), SNIPPETS, ids=[f"{p.name}-{n}" for p, n, _ in SNIPPETS]
)
def test_configuration_in_the_pages_is_valid(page, number, text):
    assert isinstance(yaml.safe_load(text), dict)
    if "kind: Project" in text:
        parse_project(text.encode(), page.name)
    else:
        parse_environment(text.encode(), "canary", page.name)


def test_models_in_the_pages_are_valid():
    found = 0
    for page in PAGES:
        for text in blocks(page, "yaml"):
            document = yaml.safe_load(text)
            if isinstance(document, dict) and set(document) == {"models"}:
                found += 1
                head = "apiVersion: mlops/v1\nkind: Project\nname: p\n"
                parse_project((head + text).encode(), page.name)
    assert found >= 2


def test_the_generated_pages_are_what_the_commands_say():
    done = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_page_is_noticed(tmp_path):
    """The comparison above fails where it must: on a copy of the tree with one page changed."""
    for name in ("scripts", "docs"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(tmp_path / name)], check=True)
    page = tmp_path / "docs" / "reference" / "cli.md"
    page.write_text(page.read_text().replace("--dry-run", "--wet-run"))
    done = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "-" in done.stdout
    assert "make docs" in done.stderr


def test_the_picture_is_of_a_real_play():
    picture = (ROOT / "docs" / "images" / "demo.svg").read_text(encoding="utf-8")
    for part in ("$ mlops run", "$ mlops rollback prod", "✓ the gate refused it", "✓ prod is held"):
        assert part in picture
    digests = set(re.findall(r"wine@sha256:([0-9a-f]{12})", picture))
    assert len(digests) == 2
