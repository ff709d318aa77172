"""The tool image: the mlops that runs here, in an image that needs nothing of this machine."""

import tarfile
from pathlib import Path
from platform import python_version

import pytest

import mlops
from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import image
from mlops.build.host import host_platform
from mlops.build.layers import LayerKind
from mlops.build.pinning import Bases
from mlops.build.strategy import Toolchain
from mlops.domain.lock import LockedImage
from mlops.errors import BuildError


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    root = tmp_path_factory.mktemp("bases")
    cache, store = OciLayout(root / "cache"), OciLayout(root / "registry")
    return Bases(store, Toolchain(Uv()), root, cache)


@pytest.fixture(scope="module")
def tool(bases: Bases) -> LockedImage:
    found = bases.tool()
    bases.keep(found)
    return found


def test_mlops_and_git_run_in_it(bases: Bases, tool: LockedImage, tmp_path: Path):
    assert (tool.name, tool.digest) == ("mlops", tool.manifest)
    assert bases.has(tool)
    box = SandboxedBase(bases.store, tmp_path / "cache")
    script = "mlops --version && git --version && dvc --version && uv --version && command -v mlops"
    out = box.run(tool.manifest, ("/bin/sh", "-c", script), doing="asking").decode().splitlines()
    assert out[0] == f"mlops {mlops.__version__}"
    assert out[1].startswith("git version ")
    assert out[3].startswith("uv ")
    assert out[4] == "/opt/venv/bin/mlops"
    script = "import mlops.resources as r; print(r.path('tekton').is_dir(), r.__file__)"
    out = (
        box.run(tool.manifest, ("/opt/venv/bin/python", "-c", script), doing="asking")
        .decode()
        .split()
    )
    assert out[0] == "True"
    assert out[1].startswith("/opt/venv/lib/")


def test_nothing_tells_where_it_was_made(bases: Bases, tool: LockedImage):
    layers = image.load(bases.store, tool.manifest).layers
    assert [layer.kind for layer in layers][-2:] == [LayerKind.DEPENDENCIES, LayerKind.CODE]
    here = str(Path(mlops.__file__).parent.parent)
    with tarfile.open(bases.store.blob_path(layers[-1].digest)) as tar:
        names = tar.getnames()
        for name in names:
            assert not name.endswith((".pth", "direct_url.json", "INSTALLER"))
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".pyc") else None
            if file is not None:
                assert here.encode() not in file.read()
    assert any(name.endswith("/mlops/cli/app.py") for name in names)


def test_it_is_found_again_and_brought_into_other_layouts(
    bases: Bases, tool: LockedImage, tmp_path: Path
):
    before = bases.cache.tags("mlops") if isinstance(bases.cache, OciLayout) else {}
    store = OciLayout(tmp_path / "registry")
    other = Bases(store, bases.tools, tmp_path, bases.cache)
    assert other.tool() == tool
    assert store.entries() == ()
    other.keep(tool)
    assert image.complete(store, tool.manifest)
    assert isinstance(bases.cache, OciLayout)
    assert bases.cache.tags("mlops") == before


def test_the_host_base_for_another_platform_is_refused(bases: Bases):
    wanted = "linux/arm64" if host_platform() == "linux/amd64" else "linux/amd64"
    with pytest.raises(BuildError, match=f"the model wants {wanted}"):
        bases.pin("host", wanted)


def test_the_target_is_this_machines(bases: Bases):
    platform = host_platform()
    host = bases.pin("host", platform)
    target = bases.target(host)
    assert target.python == python_version()
    assert target.platform == platform
    assert target.libc.startswith("2.")
