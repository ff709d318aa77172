"""The registry of a base is stopped, or has lost the base: what is locked and kept here is built on all the same."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from mlops.adapters import ociindex
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images
from tests.system.registry.servers import start


@pytest.fixture
def away(tmp_path):
    """A registry of bases, that a test ends with `close()`."""
    (tmp_path / "away").mkdir()
    running = start(tmp_path / "away")
    yield running
    running.close()


@pytest.fixture
def based(project, away):
    """The project on a base from that registry, released once; the base's repository and digest."""
    host = next(away).host
    base = f"{host}/bases/python"
    kept = OciLayout(project.path / ".mlops/registry")
    (packed,) = {
        ociindex.digest_of(each)
        for each in kept.entries()
        if ociindex.annotation(each, ociindex.REPOSITORY) == "base-host"
    }
    images.push(kept, packed, Registry(base), tag="slim")
    text = (project.path / "mlops.yaml").read_text()
    project.write("mlops.yaml", text.replace("base: host", f"base: '{base}:slim'"))
    project.mlops("lock")
    project.commit("Name the base")
    project.mlops("run", "--quiet")
    return project, base, packed


def forget_builds(project) -> None:
    """The environment image is lost, so that the base is needed; bases are kept."""
    layout = project.path / ".mlops/registry"
    index = json.loads((layout / "index.json").read_text())
    index["manifests"] = [
        each for each in index["manifests"]
        if each["annotations"]["dev.mlops.repository"] in ("base", "mlops")
    ]  # fmt: skip
    (layout / "index.json").write_text(json.dumps(index))


def bare(project, tmp_path: Path):
    """A clone on another machine: no image and no cache."""
    clone = tmp_path / "clone"
    project.git("clone", "-q", str(project.remote), str(clone))

    def again(code: int | None = 0):
        return project.run(
            sys.executable, "-m", "mlops", "run", "--again",
            cwd=clone, code=code, MLOPS_CACHE=str(tmp_path / "cache"),
        )  # fmt: skip

    return clone, again


def test_its_registry_is_stopped(based, away, tmp_path):
    project, base, _ = based
    before = project.pinned("dev")
    away.close()
    forget_builds(project)
    done = project.mlops("run", "--again")
    assert done.stdout.strip() == f"spam@{before}"
    clone, again = bare(project, tmp_path)
    told = again(code=None)
    assert told.returncode == 3, told.stderr
    assert "cannot be had" in told.stderr
    assert "has no copy of it" in told.stderr
    assert f"mlops lock --upgrade {base}:slim" in told.stderr
    assert "Traceback" not in told.stderr
    # what it says to do works: the copy of the machine that has one
    shutil.copytree(project.path / ".mlops/registry", clone / ".mlops/registry", dirs_exist_ok=True)
    assert again().stdout.strip() == f"spam@{before}"


def test_its_registry_has_lost_it(based, tmp_path):
    project, base, packed = based
    before = project.pinned("dev")
    assert Registry(base).delete(packed)
    forget_builds(project)
    assert project.mlops("run", "--again").stdout.strip() == f"spam@{before}"
    _, again = bare(project, tmp_path)
    told = again(code=None)
    assert told.returncode == 3, told.stderr
    assert "has no such digest; " in told.stderr
    assert f"mlops lock --upgrade {base}:slim" in told.stderr
