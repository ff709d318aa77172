"""A base for another processor: Debian for arm64, fetched as its packages are and never started here."""

import json
import platform
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import image, strategy
from mlops.build.interpreter import Interpreter, of_base
from mlops.build.layers import Layer, LayerKind
from mlops.build.strategy import EnvironmentRequest, PinnedBase, Toolchain
from mlops.domain.digest import Digest
from mlops.errors import BuildError
from tests.fakes.wheels import sdist, wheel

OTHER, MACHINE = ("arm64", "aarch64") if platform.machine() == "x86_64" else ("amd64", "x86_64")


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> tuple[OciLayout, PinnedBase]:
    root = tmp_path_factory.mktemp("debian")
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=extract", f"--architectures={OTHER}"),
            *("--include=python3-minimal,libpython3-stdlib", "--dpkgopt=path-exclude=/usr/share/*"),
            *("bookworm", str(root / "root.tar")),
        ],
        check=True,
        stderr=subprocess.PIPE,
    )
    store = OciLayout(root / "registry")
    tar = root / "root.tar"
    digest = Digest.of(tar.read_bytes())
    size = tar.stat().st_size
    store.put_blob(tar, digest)
    kind = "application/vnd.oci.image.layer.v1.tar"
    layer = Layer(LayerKind.BASE, digest, digest, size, kind)
    made = image.put(store, image.Image(f"linux/{OTHER}", (layer,)), "debian", OTHER)
    return store, PinnedBase("oci:debian", made, made, f"linux/{OTHER}")


@pytest.fixture(scope="module")
def runner(
    debian: tuple[OciLayout, PinnedBase], tmp_path_factory: pytest.TempPathFactory
) -> SandboxedBase:
    return SandboxedBase(debian[0], tmp_path_factory.mktemp("cache"))


def test_its_python_is_read_and_is_what_it_would_say(
    debian: tuple[OciLayout, PinnedBase], runner: SandboxedBase
):
    store, base = debian
    found = of_base(image.load(store, base.manifest), base.manifest, runner, base.ref)
    ask = (
        "import json, os, platform, sys; print(json.dumps([os.path.realpath(sys.executable),"
        " platform.python_version(), os.confstr('CS_GNU_LIBC_VERSION'), platform.machine()]))"
    )
    # by the emulator, as bytecode is made
    out = runner.run(base.manifest, (str(found.path), "-c", ask), doing="asking")
    path, version, libc, machine = json.loads(out)
    assert (str(found.path), found.version, found.libc, MACHINE) == (path, version, libc, machine)
    assert isinstance(found, Interpreter)


def build(debian, runner: SandboxedBase, wheels: Path, lines: str, **more: object):
    store, base = debian
    request = EnvironmentRequest("wine", base, lines.encode(), wheels, server=False, rebuild=True)
    return strategy.build_environment(
        store, replace(request, **more), Toolchain(Uv(wheels), runner)
    )


def test_wheels_are_chosen_for_it(debian, runner: SandboxedBase, tmp_path: Path, settings):
    wheels = tmp_path / "wheels"
    tags = (f"cp311-cp311-manylinux_2_17_{machine}" for machine in ("x86_64", "aarch64"))
    lines = [
        wheel(wheels, "for-one", {"for_one.py": f"built_for = '{tag}'\n"}, tag=tag) for tag in tags
    ]
    lock = lines[0].strip() + " " + lines[1].split()[1] + "\n"
    made = build(debian, runner, wheels, lock)
    assert made.platform == f"linux/{OTHER}"
    ask = "import for_one, sys, os; print(for_one.built_for, sys.prefix, os.path.exists(for_one.__cached__))"
    program = ("/opt/venv/bin/python", "-c", ask)
    out = SandboxedBase(debian[0], runner.cache).run(made.manifest, program, doing="asking")
    assert out.decode() == f"cp311-cp311-manylinux_2_17_{MACHINE} /opt/venv True\n"
    again = build(debian, runner, wheels, lock)
    assert again == made


def test_without_an_emulator_bytecode_is_refused_and_can_be_left_out(
    debian, runner: SandboxedBase, tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch
):
    lines = wheel(tmp_path / "wheels", "some", {"some.py": "x = 1\n"})
    few = tmp_path / "bin"
    few.mkdir()
    for name in ("bwrap", "unshare", "mount", "sh"):
        (few / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(few))
    with pytest.raises(BuildError) as refused:
        build(debian, runner, tmp_path / "wheels", lines)
    assert f"qemu-{MACHINE}-static is not here" in refused.value.message
    assert "build: {bytecode: false}" in refused.value.hint
    made = build(debian, runner, tmp_path / "wheels", lines, bytecode=False)
    assert made.platform == f"linux/{OTHER}"


def test_sources_are_not_built_for_it(debian, runner: SandboxedBase, tmp_path: Path, settings):
    lines = sdist(tmp_path / "wheels", "from-source", {"setup.py": ""})
    with pytest.raises(
        BuildError, match=f"from-source cannot be built from source for linux/{OTHER}"
    ):
        build(debian, runner, tmp_path / "wheels", lines, allow_builds=("from-source",))
