"""Many commands at once: each lands or is refused, none is lost, and history stays linear."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mlops.domain.release import record_path
from mlops.manifests import kustomization
from tests.fakes.estate import digest, overlays, record

PROJECT = """apiVersion: mlops/v1
kind: Project
name: demo
models:
  eggs: {paths: ["**"]}
  spam: {paths: ["**"]}
"""
DEV = "environments/dev/kustomization.yaml"


@pytest.fixture
def estate(sandbox):
    """The remote, with releases A and B of both models, B pinned after A in dev."""
    where = sandbox.clone("first")
    files = {"environments/base/kustomization.yaml": b"resources: []\n", **overlays()}
    for model in ("eggs", "spam"):
        for name in "AB":
            made = record(name, model)
            files[record_path("environments", model, digest(name))] = made.dump()
    for name in "AB":
        for model in ("eggs", "spam"):
            files[DEV] = kustomization.with_pin(files[DEV], model, digest(name), DEV)
        texts = {path: content.decode() for path, content in files.items()}
        sandbox.commit(
            where, f"pin {name}", {"mlops.yaml": PROJECT, ".gitignore": ".mlops/\n", **texts}
        )
    sandbox.git(where, "push", "-q")
    return where


def orders(writer: int) -> list[list[str]]:
    model = ("eggs", "spam")[writer % 2]
    return [
        ["hold", "prod", model, "--reason", f"freeze {writer}"],
        ["rollback", "dev", model, "--reason", "bad", "--incident", f"INC-{writer}", "--yes"],
        ["promote", f"{model}@{digest('B')}", "--to", "dev", "--despite-hold"],
    ]


@pytest.mark.parametrize("clones", [4, 1])
def test_none_is_lost_and_history_is_linear(sandbox, estate, clones):
    places = [sandbox.clone(f"clone{number}") for number in range(clones)]
    before = sandbox.git(sandbox.remote, "rev-parse", "main")
    running = []
    for step in range(3):  # all writers at once, three times
        for writer in range(4):
            command = [*orders(writer)[step], "--output", "json"]
            running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "mlops", *command],
                    cwd=places[writer % clones],
                    env=dict(os.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
    claimed = []
    for process in running:
        out, err = process.communicate(timeout=200)
        assert process.returncode in (0, 1), err
        assert "Traceback" not in err
        if process.returncode == 0:
            # a rollback that somebody else made first moves no pin, and may still join their hold
            claimed += [row["commit"] for row in json.loads(out) if row["commit"]]
    line = sandbox.git(sandbox.remote, "rev-list", "--first-parent", f"{before}..main").split()
    assert len(line) >= 4, "the writers had something to do"
    assert set(claimed) == set(line), "none that was told is lost, and each one was told"
    for commit in set(claimed):
        if claimed.count(commit) > 1:  # equal promotions in one second are one and the same commit
            subject = sandbox.git(sandbox.remote, "log", "-1", "--format=%s", commit)
            assert subject.startswith("Promote ")
    assert sandbox.git(sandbox.remote, "rev-list", "--count", "--merges", "main") == "0"
    sandbox.git(sandbox.remote, "merge-base", "--is-ancestor", before, "main")
    sandbox.git(sandbox.remote, "fsck", "--strict")
    for place in places:
        assert sandbox.git(place, "status", "--porcelain") == ""
