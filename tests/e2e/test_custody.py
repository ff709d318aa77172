"""Years later: the index is gone, and the release is built again from what the project's registry keeps."""

import shutil
import sys
from pathlib import Path

import pytest

from mlops.adapters.registry import Registry
from mlops.domain.digest import Digest
from tests.fakes.wheels import index, wheel
from tests.system.registry.servers import Running, start


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    yield from start(tmp_path_factory.mktemp("registry"))


def forget(registry: Running) -> None:
    """The environments are lost too: they must be built again."""
    environments = Registry(f"{registry.host}/kept/spam-env")
    for tag in environments.tags():
        found = environments.resolve(tag)
        assert found is not None
        assert environments.delete(found)


def test_a_release_outlives_its_index(project, registry, tmp_path: Path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "sauce", {"sauce.py": "x = 41\n"})
    sauce = Digest.of(next(wheels.iterdir()).read_bytes())
    project.write("requirements.txt", "sauce\n")
    text = (project.path / "src/train.py").read_text()
    project.write("src/train.py", f"import sauce\n{text}")
    settings = (project.path / "mlops.yaml").read_text()
    project.write("mlops.yaml", f"{settings}registry: {registry.host}/kept\n")
    env = {"UV_CACHE_DIR": str(tmp_path / "uv")}
    with index(wheels) as (place, _):
        env["UV_DEFAULT_INDEX"] = f"http://{place}"
        project.mlops("lock", **env)
        project.commit("Use the sauce")
        done = project.mlops("run", **env)
    assert "not in custody" not in done.stderr
    assert "bringing sauce-1.0-py3-none-any.whl into custody, 1 of 1" in done.stderr
    first = project.pinned("dev")
    shutil.rmtree(wheels)
    shutil.rmtree(tmp_path / "uv")
    forget(registry)
    project.git("clone", "-q", str(project.remote), str(tmp_path / "clone"))
    again = project.run(
        sys.executable, "-m", "mlops", "run", "--again",
        cwd=tmp_path / "clone", MLOPS_CACHE=str(tmp_path / "cache"), **env,
    )  # fmt: skip
    assert again.stdout.strip() == f"spam@{first}"
    assert "not in custody" not in again.stderr
    assert f"1 package from custody in {registry.host}/kept/wheels" in again.stderr
    registry.remove_blob("kept/wheels", sauce)
    forget(registry)
    lost = project.run(
        sys.executable, "-m", "mlops", "run", "--again",
        code=3, cwd=tmp_path / "clone", MLOPS_CACHE=str(tmp_path / "third"), **env,
    )  # fmt: skip
    said = f"{registry.host}/kept/wheels (custody) lacks sauce 1.0, and the package index cannot be"
    assert said in lost.stderr
    assert "UV_INDEX=URL mlops run --again" in lost.stderr
