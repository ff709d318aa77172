"""Wheels in custody: an environment is built again when its index is gone."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.adapters.wheels import IndexedWheels
from mlops.build import image, locked, strategy
from mlops.build.custody import ARTIFACT, Custody
from mlops.build.strategy import BuiltImage, EnvironmentRequest, Toolchain
from mlops.domain.digest import Digest
from mlops.domain.wheel import Wheel
from mlops.errors import BuildError, RegistryError
from mlops.ports import Target
from tests.fakes.secrets import places
from tests.fakes.wheels import index, sdist, wheel
from tests.system.build.conftest import Bench

SECRET = "hunter2-Qx7k"
Settings = Callable[[str], None]


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """Where the wheels of the index lie; the bench's own directory has none."""
    (tmp_path / "hidden").mkdir()
    return tmp_path / "hidden"


def build(bench: Bench, requirements: str, **more: object) -> BuiltImage:
    uv = Uv(bench.wheels)
    request = EnvironmentRequest(
        "wine", bench.base, requirements.encode(), bench.wheels, server=False, rebuild=True
    )
    tools = Toolchain(uv, bench.runner, None, IndexedWheels(uv, bench.wheels))
    return strategy.build_environment(bench.store, replace(request, **more), tools)


class Counting:
    """A source that remembers what it was asked for."""

    def __init__(self, source: IndexedWheels) -> None:
        self.source, self.brought = source, list[str]()

    def find(self, requirements: bytes, target: Target) -> Sequence[Wheel]:
        return self.source.find(requirements, target)

    def bring(self, wheel: Wheel, into: Path) -> None:
        self.brought.append(wheel.name)
        self.source.bring(wheel, into)


def forget(tmp_path: Path) -> None:
    """uv's cache is as on another machine."""
    shutil.rmtree(tmp_path / "uv-cache", ignore_errors=True)


def two(directory: Path) -> str:
    return wheel(directory, "one", {"one.py": "x = 1\n"}) + wheel(
        directory, "two", {"two.py": "x = 2\n"}
    )


def listed(store: OciLayout) -> list[dict[str, object]]:
    (digest,) = set(store.tags("wheels").values())
    document = json.loads(store.manifest(digest))
    assert document["artifactType"] == ARTIFACT
    return document["layers"]


def test_built_again_without_the_index(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        first = build(bench, lines)
    assert first.notes == ()
    assert [each["annotations"]["org.opencontainers.image.title"] for each in listed(bench.store)] == [
        "one-1.0-py3-none-any.whl",
        "two-1.0-py3-none-any.whl",
    ]  # fmt: skip
    shutil.rmtree(hidden)
    forget(tmp_path)
    settings("no-index = true\n")
    again = build(bench, lines)
    assert again.manifest == first.manifest
    assert again.notes == ()


def test_with_passwords_that_are_nowhere_afterwards(
    bench: Bench, settings: Settings, hidden: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = two(hidden)
    with index(hidden, f"bot:{SECRET}") as (place, _):
        settings(f'[[index]]\nname = "our-own"\nurl = "http://{place}"\ndefault = true\n')
        monkeypatch.setenv("UV_INDEX_OUR_OWN_USERNAME", "bot")
        monkeypatch.setenv("UV_INDEX_OUR_OWN_PASSWORD", SECRET)
        assert build(bench, lines).notes == ()
    assert len(listed(bench.store)) == 2
    assert places(bench.store.root, SECRET) == []


def test_what_another_lock_brought_is_not_brought_again(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        build(bench, lines)
        more = lines + wheel(hidden, "three", {"three.py": ""})
        source = Counting(IndexedWheels(Uv(bench.wheels), bench.wheels))
        target = Target("linux/amd64", "3.11.7", "2.36")
        Custody(bench.store).keep(locked.parse(more.encode()), target, source)
    assert source.brought == ["three-1.0-py3-none-any.whl"]


def test_an_index_that_is_away_is_told_and_the_build_goes_on(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    """uv has the packages unpacked, which is enough to build and too little to keep."""
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        first = bench.build(lines)  # without custody
    again = build(bench, lines)
    assert again.manifest == first.manifest
    assert len(again.notes) == 1
    assert again.notes[0].startswith("packages are not in custody: ")
    assert bench.store.tags("wheels") == {}
    forget(tmp_path)
    with pytest.raises(BuildError, match="index cannot be asked"):
        build(bench, lines)


def test_a_damaged_wheel_is_named_and_not_used(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        build(bench, lines)
    digest = Digest.parse(str(listed(bench.store)[0]["digest"]))
    path = bench.store.blob_path(digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    forget(tmp_path)
    with pytest.raises(RegistryError, match=r"other bytes of one-1\.0-py3-none-any\.whl"):
        build(bench, lines)


@pytest.mark.parametrize("name", ["../one.whl", "/etc/one.whl", "one.txt", "", 7])
def test_names_that_would_lead_elsewhere(
    bench: Bench, settings: Settings, hidden: Path, name: object, tmp_path: Path
):
    """Somebody else may write to that repository too."""
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        build(bench, lines)
        ((tag, digest),) = bench.store.tags("wheels").items()
        document = json.loads(bench.store.manifest(digest))
        document["layers"][0]["annotations"]["org.opencontainers.image.title"] = name
        bench.store.put_manifest(image.canonical(document), image.MANIFEST_TYPE, "wheels", tag)
        again = build(bench, lines)
    assert "is no list of wheels" in again.notes[0]
    assert not (tmp_path / "one.whl").exists()


def test_a_list_that_lacks_one_or_has_another_is_made_anew(
    bench: Bench, settings: Settings, hidden: Path
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        first = build(bench, lines)
        ((tag, digest),) = bench.store.tags("wheels").items()
        for change in (lambda layers: layers[:1], lambda layers: [*layers, layers[0] | {
            "digest": str(Digest.of(b"{}")), "size": 2}]):  # fmt: skip
            document = json.loads(bench.store.manifest(digest))
            document["layers"] = change(document["layers"])
            bench.store.put_manifest(image.canonical(document), image.MANIFEST_TYPE, "wheels", tag)
            assert build(bench, lines).manifest == first.manifest
            assert bench.store.resolve("wheels", tag) == digest


def test_bytes_that_the_lock_does_not_know_are_not_kept(
    bench: Bench, settings: Settings, hidden: Path
):
    lines = two(hidden)
    wheel(hidden, "one", {"one.py": "x = 'another'\n"})  # under the same name and version
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        with pytest.raises(BuildError):
            build(bench, lines)
    assert bench.store.tags("wheels") == {}


def test_sources_are_built_beside_what_is_kept(bench: Bench, settings: Settings, hidden: Path):
    from tests.system.build.test_build_credentials import SOURCE  # noqa: PLC0415

    lines = wheel(hidden, "one", {"one.py": "x = 1\n"}) + sdist(hidden, "from-source", SOURCE)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        # as the environment says it: what runs in a base does not see this machine's settings
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UV_DEFAULT_INDEX", f"http://{place}")
            built = build(bench, lines, allow_builds=("from-source",))
    assert len(listed(bench.store)) == 1
    assert bench.python(built, "import one, from_source; print(one.x)") == "1\n"
