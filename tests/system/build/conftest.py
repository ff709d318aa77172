"""A base that is not this machine (its own files without the labels that say so), and a place to build."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.bases import LocalBases
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host, image, strategy
from mlops.build.layers import LayerKind, put_layer
from mlops.build.strategy import BuiltImage, EnvironmentRequest, PinnedBase, Toolchain
from mlops.build.tar import Link
from mlops.domain.digest import Digest


@dataclass(frozen=True)
class Bench:
    """Where images are built in these tests: one store, one cache of unpacked layers."""

    store: OciLayout
    base: PinnedBase
    runner: SandboxedBase
    wheels: Path  # a directory that uv finds distributions in

    def build(self, requirements: str, **more: object) -> BuiltImage:
        request = EnvironmentRequest(
            "wine", self.base, requirements.encode(), self.wheels, server=False, rebuild=True
        )
        tools = Toolchain(Uv(self.wheels), self.runner, LocalBases())
        return strategy.build_environment(self.store, replace(request, **more), tools)

    def python(self, built: BuiltImage, script: str) -> str:
        """Run a script by the environment's Python in the built image, with nothing of this machine."""
        argv = ("/opt/venv/bin/python", "-c", script)
        return self.run(built, *argv)

    def run(self, built: BuiltImage, *argv: str) -> str:
        env = {"PATH": "/opt/venv/bin:/usr/bin:/bin"}
        return self.runner.run(built.manifest, argv, doing="asking", env=env).decode()


@pytest.fixture(scope="session")
def packed(
    tmp_path_factory: pytest.TempPathFactory, host_store: Callable[[Path], OciLayout]
) -> tuple[OciLayout, Digest]:
    store = host_store(tmp_path_factory.mktemp("packed"))
    return store, host.pack(store, Uv())[0]


@pytest.fixture(scope="session")
def foreign(packed: tuple[OciLayout, Digest]) -> tuple[OciLayout, PinnedBase]:
    store, digest = packed
    link = {"usr/local/bin/python3": Link(str(host.interpreter()))}
    layer = put_layer(store, LayerKind.BASE, link)
    loaded = image.load(store, digest)
    stripped = replace(loaded, labels=(), env=(), layers=(*loaded.layers, layer))
    made = image.put(store, stripped, "python", "slim")
    return store, PinnedBase("oci:bases:slim", made, made, host.host_platform())


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unpacked")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the settings that uv goes by, instead of this machine's; its cache is empty at first."""

    def write(text: str) -> None:
        (tmp_path / "uv.toml").write_text(text)

    for name in (
        "UV_INDEX_URL",
        "UV_DEFAULT_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_INDEX",
        "UV_OFFLINE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    (tmp_path / "wheels").mkdir()
    write(f'no-index = true\nfind-links = ["{tmp_path / "wheels"}"]\n')
    return write


@pytest.fixture
def bench(
    foreign: tuple[OciLayout, PinnedBase],
    unpacked: Path,
    tmp_path: Path,
    settings: Callable[[str], None],
) -> Bench:
    store = OciLayout(tmp_path / "registry")
    image.copy(foreign[0], store, foreign[1].manifest, "base")
    return Bench(store, foreign[1], SandboxedBase(store, unpacked), tmp_path / "wheels")


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """Where the wheels of the index lie; the bench's own directory has none."""
    (tmp_path / "hidden").mkdir()
    return tmp_path / "hidden"
