"""An overlay that nobody can read, under the commands as a user types them.

The error names file and line, and says what it found; every other environment goes on working.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlops.manifests.kustomization import with_pin
from tests.e2e.test_pins_cli import A, B, Cli, template  # noqa: F401 - a fixture
from tests.fakes.estate import ENVIRONMENTS, digest

FILE = "environments/staging/kustomization.yaml"
SPAM = "- name: spam\n  digest: " + A + "\n"
BOMB = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
BAD = {
    "a list": (b"- a\n- list\n", ":1: ", "found a list"),
    "empty": (b"", ":1: ", "found nothing"),
    "templated": (b"images:\n- name: {{ .Values.name }}\n", ":2: ", "like a template"),
    "10 MB": (b"resources:\n" + b"- a.yaml\n" * 1_200_000, ": ", "expected at most"),
    "pinned twice": (f"images:\n{SPAM}{SPAM}".encode(), ":4: ", "keep one"),
    "binary": (b"\x7fELF\x02\x01\x01\x00\xff\xfe" * 100, ":1: ", "not UTF-8"),
    "a bomb": (BOMB.encode(), ":4: ", "aliases to stand for at most"),
    "10,000 levels": (b"a: " + b"[" * 10_000 + b"]" * 10_000, ":1: ", "levels of nesting"),
    "duplicate keys": (b"images: []\nimages: []\n", ":2: ", "duplicate key"),
    "tabs": (b"images:\n\t- name: spam\n", ":2: ", "not YAML"),
    "a conflict": (b"<<<<<<< HEAD\nimages: []\n=======\n", "", "not YAML"),
}
ORDERS = (
    ("promote", "spam@dev", "--to", "staging"),
    ("rollback", "staging", "spam", "--reason", "x", "--yes"),
    ("hold", "staging", "spam", "--reason", "x"),
    ("status",),
)


@pytest.fixture(scope="module")
def pinned(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """dev, staging and prod have pinned A and then B."""
    root = tmp_path_factory.mktemp("pinned") / "w"
    shutil.copytree(template, root)
    made = Cli(root / "clone")
    for name in "AB":
        paths = [f"environments/{each}/kustomization.yaml" for each in ENVIRONMENTS]
        files = {path: (made.clone / path).read_bytes() for path in paths}
        files = {p: with_pin(c, "spam", digest(name), p) for p, c in files.items()}
        made.write(files, name)
    made.git("push", "-q", "origin", "HEAD:main")
    return root


@pytest.fixture
def cli(pinned: Path, tmp_path: Path) -> Cli:
    shutil.copytree(pinned, tmp_path / "w")
    return Cli(tmp_path / "w" / "clone")


def spoiled(cli: Cli, content: bytes) -> None:
    """Somebody pushes this in place of staging's."""
    cli.write({FILE: content}, "an accident")
    cli.git("push", "-q", "origin", "HEAD:main")


@pytest.mark.parametrize("form", BAD)
def test_the_error_names_file_and_line_and_other_environments_go_on(cli: Cli, form: str):
    content, line, said = BAD[form]
    spoiled(cli, content)
    tip = cli.git("ls-remote", "origin", "main")
    for order in ORDERS:
        told = cli(*order, code=2).stderr
        assert f"{FILE}{line}" in told
        assert said in told
        assert len(told) < 2000
    assert cli.git("ls-remote", "origin", "main") == tip
    _others_go_on(cli)
    past = cli.json("history", "staging")
    assert [row["release"].partition("@")[2] for row in past] == [B, A]
    assert f"{FILE}{line}" in cli("history", "staging").stderr


def _others_go_on(cli: Cli) -> None:
    cli("rollback", "prod", "spam", "--reason", "x", "--yes", "--skip-preflight")
    assert cli.json("history", "prod")[0]["release"] == f"spam@{A}"
    cli("hold", "dev", "spam", "--reason", "x")
    cli("quarantine", f"spam@{B}", "--reason", "x")


def test_a_link_in_place_of_the_file_is_no_kustomization(cli: Cli):
    spoiled(cli, b"images: []\n")
    outside = cli.clone.parent / "outside.yaml"
    outside.write_bytes(f"images:\n{SPAM}".encode())
    (cli.clone / FILE).unlink()
    (cli.clone / FILE).symlink_to("../../../outside.yaml")
    cli.git("commit", "-qam", "a link")
    cli.git("push", "-q", "origin", "HEAD:main")
    for order in ORDERS:
        assert FILE in cli(*order, code=2).stderr
    assert outside.read_bytes() == f"images:\n{SPAM}".encode()
    _others_go_on(cli)


def test_automation_goes_on_past_it_and_says_so(cli: Cli):
    spoiled(cli, b"- a\n- list\n")
    policy = b"apiVersion: mlops/v1\nkind: Environment\nfrom: dev\nauto: true\n"
    cli.write({"environments/prod/environment.yaml": policy}, "automate")
    cli.git("push", "-q", "origin", "HEAD:main")
    cli.pin("dev", "C")
    (moved,) = cli.json("promote", "--auto", code=2)
    assert (moved["environment"], moved["changed"]) == ("prod", True)
    assert f"{FILE}:1: " in cli("promote", "--auto", code=2).stderr
