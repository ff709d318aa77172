"""What custody keeps beside wheels by name, sources and wheels by URL, and whom it may ask for them."""

import hashlib
import shutil
from pathlib import Path

import pytest

from mlops.adapters.packages import IndexedPackages
from mlops.adapters.uv import Uv
from mlops.build.custody import SDIST, WHEEL
from mlops.domain.digest import Digest
from mlops.errors import PackageIndexError
from mlops.ports import Target
from tests.fakes.secrets import places
from tests.fakes.wheels import index, sdist, wheel
from tests.system.build.conftest import Bench
from tests.system.build.custody import SECRET, Settings, build, forget, listed, lose, two
from tests.system.build.test_build_credentials import SOURCE
from tests.system.build.test_build_sources import BUILT, tools


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
