"""What is held against the examples: each difference is told, and what pins a processor's choices is known."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.config.project import parse_project

ROOT = Path(__file__).resolve().parents[2]


def loaded(name):
    """A program of scripts/, which is no package."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "scripts"))


reproducibility = loaded("reproducibility")
processors = loaded("processors")
MADE = reproducibility.Made(Path("x"), "c0ffee", {"wine": "sha256:aa"}, {"wine": "sha256:bb"})


def test_the_same_is_no_difference():
    reproducibility.compare(MADE, replace(MADE, project=Path("y")), "directory")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"releases": {"wine": "sha256:ac"}}, "umask: wine is sha256:ac, not sha256:aa"),
        ({"releases": {}}, "umask: wine is None, not sha256:aa"),
        ({"models": {"wine": "sha256:bc"}}, "umask: training gave another wine"),
        ({"models": {}}, "umask: training gave another wine"),
    ],
)
def test_a_difference_is_told(other, told):
    with pytest.raises(reproducibility.DifferenceError, match=told):
        reproducibility.compare(MADE, replace(MADE, **other), "umask")


def test_every_example_is_compared():
    assert reproducibility.examples() == ["diabetes-regression", "digits-monorepo", "wine-layers"]


def test_every_circumstance_of_its_own_and_all_at_once():
    everything = reproducibility.CIRCUMSTANCES["all"]
    assert everything.user
    assert everything.interpreter
    assert everything.umask != "022"
    assert everything.zone != "UTC"
    assert everything.days > 0
    assert len(set(reproducibility.CIRCUMSTANCES.values())) == len(reproducibility.CIRCUMSTANCES)


def subject(example: str, model: str):
    config = parse_project((ROOT / "examples" / example / "mlops.yaml").read_bytes()).model(model)
    return processors.Subject(MADE, config, "sha256:aa")


def test_which_models_must_be_the_same_on_every_processor():
    """Those whose settings take the choice from OpenBLAS, numpy and the C library: from all three."""
    pinned = subject("diabetes-regression", "progression")
    assert pinned.pinned
    assert subject("digits-monorepo", "reader").pinned
    assert subject("digits-monorepo", "sieve").pinned
    assert not subject("wine-layers", "wine").pinned
    for name, _ in pinned.config.train.env:
        env = tuple(pair for pair in pinned.config.train.env if pair[0] != name)
        less = replace(pinned.config, train=replace(pinned.config.train, env=env))
        assert replace(pinned, config=less).pinned == (name == "OMP_NUM_THREADS")


def test_without_an_emulator_the_program_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert processors.emulator("") == ()
    with pytest.raises(SystemExit, match="is not here"):
        processors.emulator("Nehalem")
