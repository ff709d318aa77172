"""Layers: the same files give the same bytes; readers other than ours understand them."""

import gzip
import hashlib
import io
import os
import random
import resource
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops.adapters.layout import OciLayout
from mlops.build import tar
from mlops.build.layers import Layer, LayerKind, put_layer
from mlops.errors import BuildError, RegistryError

names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"),
    min_size=1,
    max_size=60,
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255)
paths = st.lists(names, min_size=1, max_size=6).map("/".join)
entries = st.one_of(
    st.builds(tar.Content, st.binary(max_size=2000), st.booleans()),
    st.builds(
        tar.Link,
        st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=200),
    ),
    st.builds(tar.Directory, st.sampled_from([0o755, 0o1777])),
)


def is_a_tree(tree: dict[str, tar.Entry]) -> bool:
    inner = {path.rsplit("/", n)[0] for path in tree for n in range(1, path.count("/") + 1)}
    return not any(path in inner and not isinstance(e, tar.Directory) for path, e in tree.items())


trees = st.dictionaries(paths, entries, max_size=8).filter(is_a_tree)


def archive(tree: dict[str, tar.Entry]) -> bytes:
    out = io.BytesIO()
    tar.write(tree, out.write)
    return out.getvalue()


@given(trees, st.randoms())
def test_order_does_not_matter(tree: dict[str, tar.Entry], chance: random.Random):
    items = list(tree.items())
    chance.shuffle(items)
    assert archive(dict(items)) == archive(tree)


@given(trees)
def test_tarfile_reads_what_was_written(tree: dict[str, tar.Entry]):
    with tarfile.open(fileobj=io.BytesIO(archive(tree)), encoding="utf-8") as found:
        members = {member.name: member for member in found.getmembers()}
        for path, entry in tree.items():
            member = members.pop(path)
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (
                0,
                0,
                "",
                "",
                0,
            )
            match entry:
                case tar.Content(content, executable):
                    file = found.extractfile(member)
                    assert file is not None
                    assert file.read() == content
                    assert member.mode == (0o755 if executable else 0o644)
                case tar.Link(target):
                    assert member.issym()
                    assert member.linkname == target
                case tar.Directory(mode):
                    assert member.isdir()
                    assert member.mode == mode
        assert all(member.isdir() for member in members.values())


@given(trees)
def test_parents_come_first_and_once(tree: dict[str, tar.Entry]):
    with tarfile.open(fileobj=io.BytesIO(archive(tree)), encoding="utf-8") as found:
        seen: set[str] = set()
        for name in found.getnames():
            assert name not in seen
            assert "/" not in name or name.rsplit("/", 1)[0] in seen
            seen.add(name)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None
)
@given(
    files=st.dictionaries(
        names.filter(lambda n: len(n.encode()) < 200),
        st.binary(max_size=300),
        min_size=1,
        max_size=5,
    ),
    umask=st.sampled_from([0, 0o022, 0o077]),
    when=st.integers(0, 4_000_000_000),
)
def test_directory_umask_and_time_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], umask: int, when: int
):
    roots = [tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("another")]
    orders = [list(files), list(reversed(files))]
    old = os.umask(umask)
    try:
        for root, order in zip(roots, orders, strict=True):
            (root / "in").mkdir(mode=0o700)
            for name in order:
                (root / "in" / name).write_bytes(files[name])
            os.umask(0o022)
        for path in (roots[0] / "in").iterdir():
            os.utime(path, (when, when))
    finally:
        os.umask(old)
    assert archive(tar.read_tree(roots[0], "app")) == archive(tar.read_tree(roots[1], "app"))


def layers_of(tmp_path: Path, tree: dict[str, tar.Entry]) -> tuple[Layer, bytes]:
    store = OciLayout(tmp_path / "registry")
    layer = put_layer(store, LayerKind.CODE, tree)
    return layer, store.blob_path(layer.digest, size=layer.size, verify=True).read_bytes()


def test_digest_diff_id_and_size_are_of_the_bytes(tmp_path: Path):
    tree: dict[str, tar.Entry] = {f"d/{n}": tar.Content(os.urandom(n * 1000)) for n in range(50)}
    layer, blob = layers_of(tmp_path, tree)
    assert gzip.decompress(blob) == archive(tree)
    assert layer.diff_id.hex == hashlib.sha256(archive(tree)).hexdigest()
    assert layer.size == len(blob)
    assert dict(layer.document()) == {
        "kind": "code",
        "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}",
        "diffID": str(layer.diff_id),
        "size": len(blob),
    }


def test_the_bytes_are_these(tmp_path: Path):
    """Golden: another Python or zlib-ng that gives others must be noticed, and `builder` moved on."""
    tree: dict[str, tar.Entry] = {
        "app/src/train.py": tar.Content(b"print('hello')\n" * 4000),
        "app/run": tar.Content(b"#!/bin/sh\n", executable=True),
        "app/" + "é" * 60: tar.Link("x" * 150),
        "tmp": tar.Directory(0o1777),
    }
    layer, _ = layers_of(tmp_path, tree)
    assert layer.diff_id.hex == "27dcae590d3a26985095db4babcf29215d4af717915342c77515ad87280e33d4"
    assert layer.digest.hex == "8e474df353a164b2ca7b025d05d7ed487e1b419e880d33e715d395bb28bb161b"


def test_a_large_file_takes_no_memory(tmp_path: Path):
    path = tmp_path / "model"
    with path.open("wb") as file:
        file.truncate(160 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    layer = put_layer(OciLayout(tmp_path / "registry"), LayerKind.MODEL, {"m": tar.File(path)})
    assert layer.size < 2 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_a_size_over_eight_gigabytes_is_written(tmp_path: Path):
    path = tmp_path / "model"
    with path.open("wb") as file:
        file.truncate((8 << 30) + 1)
    pieces: list[bytes] = []

    class EnoughError(Exception):
        pass

    def sink(data: bytes) -> None:
        pieces.append(data)
        raise EnoughError

    with pytest.raises(EnoughError):
        tar.write({"m": tar.File(path)}, sink)
    header = tarfile.TarFile(fileobj=io.BytesIO(b"".join(pieces) + b"\0" * 2048))
    member = header.next()
    assert member is not None
    assert member.size == (8 << 30) + 1


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", "a//b", "./a", "", "a/"])
def test_paths_that_lead_elsewhere_are_refused(path: str):
    with pytest.raises(BuildError, match="is no path for an image"):
        archive({path: tar.Content(b"")})


def test_a_file_below_a_file_is_refused():
    with pytest.raises(BuildError, match="lies below a, which is no directory"):
        archive({"a": tar.Content(b""), "a/b": tar.Content(b"")})


def test_sockets_and_devices_are_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BuildError, match="neither file, directory nor link"):
        tar.read_tree(tmp_path)


def test_a_file_that_vanishes_or_grows_is_an_error_and_leaves_nothing(tmp_path: Path):
    store = OciLayout(tmp_path / "registry")
    gone = tmp_path / "gone"
    with pytest.raises(BuildError, match=f"cannot read {gone}: No such file"):
        put_layer(store, LayerKind.CODE, {"a": tar.File(gone)})
    growing = tmp_path / "growing"
    growing.write_bytes(b"x" * 100)

    class Growing(type(growing)):  # type: ignore[misc]
        def open(self, *args, **kwargs):
            with growing.open("ab") as file:
                file.write(b"more")
            return growing.open(*args, **kwargs)

    with pytest.raises(BuildError, match="changed while it was packed"):
        put_layer(store, LayerKind.CODE, {"a": tar.File(Growing(growing))})
    assert not (store.root / "blobs").exists()
    assert list((store.root / "tmp").iterdir()) == []


def test_an_unwritable_store_is_a_registry_error(tmp_path: Path):
    (tmp_path / "registry").write_bytes(b"")
    with pytest.raises(RegistryError):
        put_layer(OciLayout(tmp_path / "registry"), LayerKind.CODE, {})


def test_layers_do_not_depend_on_the_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tree: dict[str, tar.Entry] = {"a": tar.Content(b"x" * 5000)}
    one, first = layers_of(tmp_path / "one", tree)
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
    two, second = layers_of(tmp_path / "two", tree)
    assert (one, first) == (two, second)
