"""Watchers of real repositories; what carries runs out is a stub."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.system.git.conftest import (  # noqa: F401 - fixtures
    Sandbox,
    sandbox,
    seed,
    settings,
)
from tests.system.watch.watching import Watched


@pytest.fixture
def watched(sandbox: Sandbox) -> Callable[..., Watched]:  # noqa: F811
    """Makes a watcher in a clone of its own, `watched("a")`."""

    def make(name: str, *, clone: bool = True, **more) -> Watched:
        where = sandbox.clone(name) if clone else sandbox.directory / name
        return Watched(sandbox, where, **more)

    return make


@pytest.fixture
def user(sandbox: Sandbox):  # noqa: F811
    """A clone whose person has just committed, and pushed, mlops.yaml."""
    where = sandbox.clone("user")
    sandbox.commit(where, "Add a model", {"mlops.yaml": PROJECT})
    sandbox.git(where, "push", "-q", "origin", "main")
    return where


PROJECT = "apiVersion: mlops/v1\nkind: Project\nname: shop\nmodels: {spam: {paths: ['**']}}\n"
