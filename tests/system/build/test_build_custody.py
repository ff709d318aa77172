"""Wheels in custody: an environment is built again when its index is gone."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mlops.build import image
from mlops.domain.digest import Digest
from mlops.errors import BuildError, PackageIndexError, RegistryError
from tests.fakes.secrets import places
from tests.fakes.wheels import index, wheel
from tests.system.build.conftest import Bench
from tests.system.build.custody import SECRET, Settings, build, counting, forget, listed, lose, two


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
