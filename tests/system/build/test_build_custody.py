"""Wheels in custody: an environment is built again when its index is gone."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.packages import IndexedPackages
from mlops.adapters.uv import Uv
from mlops.build import image, locked, strategy
from mlops.build.custody import ARTIFACT, SDIST, WHEEL
from mlops.build.shelf import PackageSource
from mlops.build.strategy import BuiltImage, EnvironmentRequest, Toolchain
from mlops.domain.digest import Digest
from mlops.domain.packagefile import PackageFile
from mlops.errors import BuildError, PackageIndexError, RegistryError
from mlops.ports import Target
from tests.fakes.secrets import places
from tests.fakes.wheels import index, sdist, wheel
from tests.system.build.conftest import Bench
from tests.system.build.test_build_credentials import SOURCE
from tests.system.build.test_build_sources import BUILT, tools

SECRET = "hunter2-Qx7k"
Settings = Callable[[str], None]


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """Where the wheels of the index lie; the bench's own directory has none."""
    (tmp_path / "hidden").mkdir()
    return tmp_path / "hidden"


def build(
    bench: Bench, requirements: str, source: PackageSource | None = None, **more: object
) -> BuiltImage:
    uv = Uv(bench.wheels)
    request = EnvironmentRequest(
        "wine", bench.base, requirements.encode(), bench.wheels, server=False, rebuild=True
    )
    tools = Toolchain(uv, bench.runner, None, source or IndexedPackages(uv, bench.wheels))
    return strategy.build_environment(bench.store, replace(request, **more), tools)


class Counting:
    """A source that remembers what it was asked for."""

    def __init__(self, source: IndexedPackages) -> None:
        self.source = source
        self.asked, self.brought = list[list[str]](), list[str]()

    def find(
        self, requirements: bytes, target: Target, sources: Collection[str] = ()
    ) -> Sequence[PackageFile]:
        self.asked.append([pin.name for pin in locked.parse(requirements)])
        return self.source.find(requirements, target, sources)

    def bring(self, file: PackageFile, into: Path) -> None:
        self.brought.append(file.name)
        self.source.bring(file, into)


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


def counting(bench: Bench) -> Counting:
    return Counting(IndexedPackages(Uv(bench.wheels), bench.wheels))


def lose(bench: Bench, name: str) -> None:
    """A file of that package is no longer in the store."""
    (found,) = (
        each["digest"]
        for each in listed(bench.store)
        if str(each["annotations"]["org.opencontainers.image.title"]).startswith(f"{name}-")
    )
    bench.store.blob_path(Digest.parse(str(found))).unlink()


def test_what_the_lock_before_had_is_neither_asked_for_nor_brought_again(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        build(bench, lines)
        source = counting(bench)
        build(bench, lines + wheel(hidden, "three", {"three.py": ""}), source)
        assert source.asked == [["three"]]
        assert source.brought == ["three-1.0-py3-none-any.whl"]
        build(bench, lines.splitlines()[0] + "\n", source)
        assert source.asked == [["three"]]


def test_what_another_model_brought_is_not_brought_again(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        build(bench, lines)
        source = counting(bench)
        build(bench, lines, source, model="beer")
        assert source.asked == []
        build(bench, lines + wheel(hidden, "three", {"three.py": ""}), source, model="stout")
    assert source.brought == ["three-1.0-py3-none-any.whl"]


def test_one_that_is_lost_comes_from_the_index_and_is_kept(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        first = build(bench, lines)
        lose(bench, "two")
        forget(tmp_path)
        source = counting(bench)
        again = build(bench, lines, source)
    assert again.manifest == first.manifest
    assert again.notes == ()
    assert source.asked == [["two"]]
    assert source.brought == ["two-1.0-py3-none-any.whl"]
    forget(tmp_path)
    settings("no-index = true\n")
    assert build(bench, lines).manifest == first.manifest


@pytest.mark.parametrize("way", ["lost", "never kept"])
def test_one_that_is_nowhere_is_named_with_both_places(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path, way: str
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        build(bench, lines)
        if way == "lost":
            lose(bench, "two")
        else:
            lines = lines.splitlines()[0] + "\n"
            lines += wheel(hidden, "two", {"two.py": "x = 22\n"}, version="2.0")
    forget(tmp_path)
    with pytest.raises(PackageIndexError) as caught:
        build(bench, lines)
    version = "1.0" if way == "lost" else "2.0"
    head = f"wheels in {bench.store.location} (custody) lacks two {version}, and "
    assert caught.value.message.startswith(
        f"{head}the package index cannot be asked for http://{place}two/: "
    )
    assert "UV_INDEX=URL mlops run --again" in caught.value.hint


def test_one_that_was_withdrawn_whole_is_named_too(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    """Its index is up, lists it and has it no more."""
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        build(bench, lines)
        lose(bench, "two")
        next(hidden.glob("two-*")).unlink()
        forget(tmp_path)
        with pytest.raises(PackageIndexError, match=r"\(custody\) lacks two 1\.0, and two "):
            build(bench, lines)


def test_one_that_uv_has_unpacked_is_enough_to_build(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    """The rest comes from custody: uv never saw it."""
    one, other = two(hidden).splitlines(keepends=True)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        first = build(bench, one + other)
        lose(bench, "two")
        forget(tmp_path)
        bench.build(other)
    again = build(bench, one + other)
    assert again.manifest == first.manifest
    host = place.removesuffix("/simple/")
    assert f"has no two 1.0: {host} does not give two-1.0-py3-none-any.whl: " in again.notes[0]
    assert "mlops run --again" in again.notes[0]


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
    with pytest.raises(BuildError, match=r"lacks one 1\.0, two 1\.0, and the package index cannot"):
        build(bench, lines)


def test_a_damaged_wheel_is_named_and_not_used(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        first = build(bench, lines)
    digest = Digest.parse(str(listed(bench.store)[0]["digest"]))
    path = bench.store.blob_path(digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    forget(tmp_path)
    with pytest.raises(RegistryError, match=r"other bytes of one-1\.0-py3-none-any\.whl") as caught:
        build(bench, lines)
    command = caught.value.hint.partition(": ")[2]
    assert command == f"rm {path} && mlops run --again"
    subprocess.run(["sh", "-c", command.partition(" && ")[0]], check=True)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        assert build(bench, lines).manifest == first.manifest


@pytest.mark.parametrize("name", ["../one.whl", "/etc/one.whl", "one.txt", "", 7])
def test_names_that_would_lead_elsewhere(
    bench: Bench, settings: Settings, hidden: Path, name: object, tmp_path: Path
):
    """Somebody else may write to that repository too."""
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        build(bench, lines)
        ((tag, digest), _) = bench.store.tags("wheels").items()
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
        ((tag, digest), _) = bench.store.tags("wheels").items()
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


def test_sources_are_kept_with_the_tools_that_the_lock_names(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The index has a newer tool, and is gone when the release is built again."""
    lines = tools(hidden) + sdist(hidden, "built", BUILT)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        # as the environment says it: what runs in a base does not see this machine's settings
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{place}")
        first = build(bench, lines, allow_builds=("built",))
    assert first.notes == ()
    assert [each["mediaType"] for each in listed(bench.store)] == [SDIST, WHEEL]
    assert bench.python(first, "import built; print(built.by)") == "1.0\n"
    forget(tmp_path)
    shutil.rmtree(tmp_path / "mlops-builds")
    again = build(bench, lines, allow_builds=("built",))
    assert again.notes == ()
    assert again.manifest == first.manifest


def test_a_stranger_that_is_built_cannot_reach_what_is_kept(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whatever it writes over what it sees of the shelf, the store's own files are others."""
    spoil = "import ctypes, pathlib\nctypes.CDLL(None).umount2(b'/mnt/mlops/shelf', 2)\n"
    spoil += "for path in pathlib.Path('/mnt').rglob('*.whl'):\n    try:\n"
    spoil += "        path.chmod(0o666)\n        path.write_text('spoiled')\n"
    spoil += "    except OSError:\n        pass\n"
    lines = wheel(hidden, "one", {"one.py": "x = 1\n"})
    lines += sdist(hidden, "from-source", SOURCE | {"backend.py": spoil + SOURCE["backend.py"]})
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{place}")
        first = build(bench, lines, allow_builds=("from-source",))
    assert first.notes == ()
    for each in listed(bench.store):
        bench.store.blob_path(Digest.parse(str(each["digest"])), verify=True)
    again = build(bench, lines, allow_builds=("from-source",))
    assert (again.manifest, again.notes) == (first.manifest, ())


def test_looking_for_a_source_runs_none_of_it(settings: Settings, hidden: Path, tmp_path: Path):
    """Its names and version are known; a build would run with this machine's credentials."""
    ran = tmp_path / "ran"
    backend = f"import pathlib\npathlib.Path({str(ran)!r}).write_text('ran')\nraise SystemExit(3)\n"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    project += '[project]\nname = "evil"\ndynamic = ["version", "dependencies"]\n'
    line = sdist(hidden, "evil", {"backend.py": backend, "pyproject.toml": project}, static=False)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        source = IndexedPackages(Uv(tmp_path), tmp_path)
        found = source.find(line.encode(), Target("linux/amd64", "3.11.7", "2.36"), {"evil"})
    assert [file.name for file in found] == ["evil-1.0.tar.gz"]
    assert not ran.exists()


def by_url(place: str, hidden: Path, name: str) -> str:
    """A line that names the URL of a wheel in the index."""
    (path,) = hidden.glob(f"{name}-*.whl")
    locked = hashlib.sha256(path.read_bytes()).hexdigest()
    url = f"http://{place.removesuffix('simple/')}files/{path.name}"
    return f"{name} @ {url.replace('+', '%2B')} --hash=sha256:{locked}\n"


def test_wheels_by_url_are_kept(bench: Bench, settings: Settings, hidden: Path, tmp_path: Path):
    line = wheel(hidden, "one", {"one.py": "x = 1\n"})
    wheel(hidden, "torch", {"torch.py": "x = 2\n"}, version="2.0+cpu")
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        lines = line + by_url(place, hidden, "torch")
        plain = bench.build(lines)  # from its URL, and without custody
        first = build(bench, lines)
    assert first.notes == ()
    assert first.manifest == plain.manifest
    assert len(listed(bench.store)) == 2
    forget(tmp_path)
    again = build(bench, lines)
    assert again.notes == ()
    assert again.manifest == first.manifest
    lose(bench, "torch")
    forget(tmp_path)
    with pytest.raises(
        PackageIndexError, match=r"lacks torch, and \S+ does not give torch-2\.0\+cpu-py3"
    ):
        build(bench, lines)


def test_a_url_that_is_gone_is_named(bench: Bench, settings: Settings, hidden: Path):
    wheel(hidden, "one", {"one.py": "x = 1\n"})
    with index(hidden) as (place, _):
        settings("no-index = true\n")
        line = by_url(place, hidden, "one")
        next(hidden.glob("one-*")).unlink()
        with pytest.raises(PackageIndexError) as caught:
            build(bench, line)
        host = place.removesuffix("/simple/")
        assert f"(custody) lacks one, and {host} does not give one-1.0" in caught.value.message
        assert "404" in caught.value.message
        with pytest.raises(PackageIndexError, match=r"has no http://\S+/one-1\.0-\S+ any more"):
            bench.build(line)


def test_who_forbids_uv_the_network_forbids_it_here(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = two(hidden)
    with index(hidden) as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        bench.build(lines)
        monkeypatch.setenv("UV_OFFLINE", "1")
        found = build(bench, lines)
        assert (
            "127.0.0.1 is not asked for one-1.0-py3-none-any.whl: UV_OFFLINE is set"
            in found.notes[0]
        )
        forget(tmp_path)
        with pytest.raises(
            PackageIndexError, match=r"lacks one 1\.0, two 1\.0, and one is not in uv's"
        ):
            build(bench, lines)
        wanted = by_url(place, hidden, "one")
        with pytest.raises(PackageIndexError, match=r"^one is not in uv's cache, and UV_OFFLINE"):
            bench.build(wanted)


@pytest.mark.parametrize("named", [True, False])
def test_netrc_opens_what_it_opens_for_uv(
    bench: Bench, settings: Settings, hidden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    named: bool,
):  # fmt: skip
    """By the variable, and in the home; readable by others too, which uv does not mind."""
    lines = two(hidden)
    home = tmp_path / "home"
    home.mkdir()
    path = tmp_path / "our-netrc" if named else home / ".netrc"
    path.write_text(f"machine 127.0.0.1 login bot password {SECRET}\n")
    path.chmod(0o644)
    monkeypatch.setenv("HOME", str(home))
    if named:
        monkeypatch.setenv("NETRC", str(path))
    with index(hidden, f"bot:{SECRET}") as (place, _):
        settings(f'[[index]]\nurl = "http://{place}"\ndefault = true\n')
        assert build(bench, lines).notes == ()
    assert len(listed(bench.store)) == 2
    assert places(bench.store.root, SECRET) == []
