"""A release whose run outlives the process that began it."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import addresses, world
from tests.cluster.layout import Layout
from tests.cluster.world import Project


@pytest.fixture
def project(layout: Layout, tmp_path: Path) -> Iterator[Project]:
    tool = world.installed(tmp_path / "tool")
    (tmp_path / "mine").mkdir()
    with world.project(layout, tmp_path / "mine", tool) as made:
        made.install()
        made.mlops("init", "--yes")
        made.configure(
            executor="tekton",
            registry=f"{addresses.REGISTRY}/{made.name}",
            cluster={"namespace": made.namespace},
        )
        made.mlops("lock")
        made.commit("Add mlops")
        yield made


@pytest.mark.timeout(600)
def test_a_run_goes_on_when_the_process_behind_detach_is_killed(project: Project) -> None:
    """`mlops run` finds it by its name, follows it, and makes no other."""
    begun = project.typed(sys.executable, "-m", "mlops", "run", "--detach")
    assert begun.code == 0, begun.err
    found = re.search(r"process (\d+) carries it out", begun.err)
    assert found is not None
    end = time.monotonic() + 120
    while not (runs := project.answer("runs")):
        assert time.monotonic() < end, "no run is created"
    os.kill(int(found[1]), signal.SIGKILL)
    assert [each["phase"] in ("Pending", "Running") for each in runs] == [True]

    said = project.typed(sys.executable, "-m", "mlops", "run")

    assert said.code == 0, said.err
    assert said.out.startswith("wine@sha256:")
    assert f"run {runs[0]['name']} is there already: following it" in said.err
    (after,) = project.answer("runs")
    assert (after["name"], after["phase"]) == (runs[0]["name"], "Succeeded")
    assert (after["executor"], after["release"]) == ("tekton", said.out.strip())
    (row,) = (each for each in project.answer("status") if each["environment"] == "dev")
    assert row["release"] == said.out.strip()
