"""A made project is shared by a session, and copied for each test."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def _load(name: str):
    """A module beside this file, once, under its own name."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _HERE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


spam_project = _load("spam")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The small project, locked, nothing released."""
    return spam_project.make(tmp_path_factory.mktemp("made") / "project")


@pytest.fixture(scope="session")
def released(made, tmp_path_factory):
    """The small project with one release in dev, staging and prod."""
    project = spam_project.copy(made, tmp_path_factory.mktemp("released") / "project")
    project.mlops("run", "--quiet")
    project.mlops("promote", "spam@dev")
    project.mlops("promote", "spam@staging")
    return project


@pytest.fixture
def project(made, tmp_path):
    return spam_project.copy(made, tmp_path / "project")


@pytest.fixture
def live(released, tmp_path):
    return spam_project.copy(released, tmp_path / "project")
