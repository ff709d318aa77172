"""A base whose programs run without a sandbox, as in a pod: the same answers and the same bytes."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.bases import LocalBases
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import dependencies, host, image, strategy, unrun
from mlops.build.dependencies import Site
from mlops.build.interpreter import of_base
from mlops.build.strategy import EnvironmentRequest, PinnedBase, Toolchain
from mlops.build.tar import Content, read_tree
from mlops.errors import BuildError, CommandError
from mlops.ports import Bind
from mlops.steps.loadedbase import LoadedBase, of_a_pod
from scripts import debian_base

PROGRAM = "/usr/bin/python3"


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, host_store: Callable[[Path], OciLayout]
) -> OciLayout:
    return host_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def debian(store: OciLayout) -> PinnedBase:
    top, manifest = LocalBases().fetch(
        f"oci:{debian_base.layout()}", Path.cwd(), host.host_platform(), store
    )
    return PinnedBase("oci:debian", top, manifest, host.host_platform())


@pytest.fixture(scope="module")
def boxed(store: OciLayout, tmp_path_factory: pytest.TempPathFactory) -> SandboxedBase:
    return SandboxedBase(store, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def loaded(boxed: SandboxedBase) -> LoadedBase:
    return LoadedBase(boxed.images, boxed.cache)


def site(base: PinnedBase, runner: SandboxedBase | LoadedBase) -> Site:
    python = of_base(image.load(runner.images, base.manifest), base.manifest, runner, base.ref)
    return Site(base.manifest, base.platform, python, Uv(), runner)


def test_its_python_is_found_in_its_files(
    debian: PinnedBase, boxed: SandboxedBase, loaded: LoadedBase
):
    assert site(debian, loaded).interpreter == site(debian, boxed).interpreter


def test_it_is_the_base_s_own_interpreter(debian: PinnedBase, loaded: LoadedBase):
    script = "import sys, zlib, os; print(sys.prefix, zlib.__name__, os.__file__, sys.stdin.read())"
    argv = (PROGRAM, "-I", "-S", "-c", script)
    out = loaded.run(debian.manifest, argv, doing="asking", stdin=b"x").decode().split()
    root = loaded.root(debian.manifest)
    assert out[0] == str(root / "usr")
    assert Path(out[2]).is_relative_to(root)
    assert out[3] == "x"


def test_bytecode_is_the_same(debian: PinnedBase, boxed: SandboxedBase, loaded: LoadedBase):
    packages = Path(typer.__file__).parents[1]
    names = ("typer", "click", "yaml", "rich", "httpx", "pydantic", "ruamel", "pygments")
    tree = {
        f"opt/venv/lib/{name}/{path}": entry
        for name in names
        for path, entry in read_tree(packages / name).items()
    }
    one, two = (dependencies.compiled(site(debian, runner), tree) for runner in (boxed, loaded))
    codes = {path: entry for path, entry in one.items() if path.endswith(".pyc")}
    assert len(codes) > 400
    assert all(isinstance(entry, Content) for entry in codes.values())
    assert one == two


@pytest.mark.parametrize("packed", [False, True])
def test_an_environment_image_is_the_same(
    store: OciLayout,
    debian: PinnedBase,
    boxed: SandboxedBase,
    loaded: LoadedBase,
    tmp_path: Path,
    packed: bool,
):
    base, uv = debian, Uv(tmp_path)
    if packed:  # by another machine than the one that builds
        digest = host.pack(store, uv)[0]
        base = PinnedBase("host", digest, digest, host.host_platform())
    request = EnvironmentRequest("wine", base, b"", tmp_path, rebuild=True)
    here = Toolchain(uv, boxed, LocalBases())
    made = [
        strategy.build_environment(store, request, tools)
        for tools in (here, replace(here, runner=loaded, packed_here=False))
    ]
    assert made[0].manifest == made[1].manifest


def test_a_packed_interpreter_of_elsewhere_is_not_taken_for_this_machine_s(
    store: OciLayout, loaded: LoadedBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    digest = host.pack(store, Uv(tmp_path))[0]
    base = PinnedBase("host", digest, digest, host.host_platform())

    def never(*_: object, **__: object) -> bytes:
        raise AssertionError("this machine's interpreter was asked")

    monkeypatch.setattr(Uv, "python", never)
    request = EnvironmentRequest("wine", base, b"", tmp_path, rebuild=True)
    tools = Toolchain(Uv(tmp_path), loaded, LocalBases(), packed_here=False)
    assert strategy.build_environment(store, request, tools).manifest


def test_what_fails_says_what_it_wrote(debian: PinnedBase, loaded: LoadedBase):
    argv = (PROGRAM, "-c", "import sys; sys.exit('no luck')")
    with pytest.raises(CommandError, match="no luck") as failed:
        loaded.run(debian.manifest, argv, doing="trying")
    assert failed.value.code == 1


def test_what_takes_too_long_is_ended(debian: PinnedBase, loaded: LoadedBase):
    argv = (PROGRAM, "-c", "import time; time.sleep(600)")
    with pytest.raises(BuildError, match=r"over 0\.2 s while trying"):
        loaded.run(debian.manifest, argv, doing="trying", timeout=0.2)


@pytest.mark.parametrize("name", ["/usr/bin/none", "/etc/debian_version"])
def test_what_is_no_program_is_refused(debian: PinnedBase, loaded: LoadedBase, name: str):
    with pytest.raises(BuildError, match=f"{name} of the base cannot be started"):
        loaded.run(debian.manifest, (name,), doing="trying")


def test_nothing_is_built_from_source_without_a_sandbox(debian: PinnedBase, loaded: LoadedBase):
    with pytest.raises(BuildError, match="no sandbox starts here") as refused:
        loaded.run(debian.manifest, (PROGRAM,), doing="trying", binds=[Bind(Path("/tmp"), "/mnt")])
    assert "version that has a wheel" in refused.value.hint


def test_a_program_of_another_processor_is_named(
    debian: PinnedBase, loaded: LoadedBase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(BuildError, match="for another processor") as refused:
        loaded.run(debian.manifest, (PROGRAM, "-V"), doing="trying")
    assert "bytecode: false" in refused.value.hint


def test_a_sandbox_is_preferred(store: OciLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert isinstance(of_a_pod(store, tmp_path / "one"), SandboxedBase)
    monkeypatch.setattr("mlops.adapters.executors.local.runtime.sandbox._PATH", "/nowhere")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert isinstance(of_a_pod(store, tmp_path / "two"), LoadedBase)


def test_a_cache_that_cannot_be_written_to_is_named(store: OciLayout, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot write to the cache"):
        of_a_pod(store, tmp_path / "file")


def test_libraries_are_looked_for_where_the_program_says(tmp_path: Path):
    for name in ("bin", "lib", "opt/x", "etc/ld.so.conf.d", "usr/lib64"):
        (tmp_path / "python" / name).mkdir(parents=True)
    root = tmp_path / "python"
    (root / "etc/ld.so.conf").write_text("include ld.so.conf.d/*.conf\n/none\n")
    (root / "etc/ld.so.conf.d/x.conf").write_text("# x\n/opt/x\n/../..\n")
    (root / "lib64").symlink_to("/usr/lib64")  # as inside it
    (root / "bin/python3").write_bytes(host.interpreter().read_bytes())
    found = list(unrun.library_directories(root, root / "bin/python3"))
    assert found[:3] == [root / "opt/x", root, root / "usr/lib64"]
    assert root / "lib" in found
    assert len(found) == len(set(found))
    assert all(each.is_relative_to(root) for each in found)
