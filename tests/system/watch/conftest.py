from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def watching():
    """The module beside this file."""
    spec = importlib.util.spec_from_file_location(
        "watching", Path(__file__).with_name("watching.py")
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["watching"] = module
    spec.loader.exec_module(module)
    return module
