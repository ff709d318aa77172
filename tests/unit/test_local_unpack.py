"""Layers are archives from strangers: nothing lands outside, nothing dangerous lands at all."""

import contextlib
import gzip
import io
import os
import tarfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.adapters import unpack
from mlops.adapters.rootfs import remove
from mlops.adapters.unpack import LayerError
from mlops.domain.digest import Digest


def entry(name, kind=tarfile.REGTYPE, content=b"", link="", mode=0o644, mtime=7):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, mtime
    info.size = len(content)
    return info, content


def archive(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def unpacked(tmp_path):
    """Unpack entries, below a directory beside which a canary lies."""
    (tmp_path / "canary").write_text("alive")
    into = tmp_path / "into"
    into.mkdir()

    def run(*entries, packed=True, merge=False):
        plain = archive(*entries) if isinstance(entries[0], tuple) else entries[0]
        content = gzip.compress(plain, 1) if packed else plain
        path = tmp_path / "layer"
        path.write_bytes(content)
        return unpack.extract(path, into, Digest.of(content), Digest.of(plain), merge=merge)

    run.into = into
    run.layer = tmp_path / "layer"
    yield run
    assert (tmp_path / "canary").read_text() == "alive"
    assert {path.name for path in tmp_path.iterdir()} <= {"canary", "into", "layer"}


@pytest.mark.parametrize("packed", [True, False])
def test_what_an_honest_layer_holds(unpacked, packed):
    whiteouts = unpacked(
        entry("./", tarfile.DIRTYPE, mode=0o700),
        entry("./d", tarfile.DIRTYPE, mode=0o1777),
        entry("./d/f", content=b"text", mode=0o640),
        entry("deep/er/f", content=b"x" * 3_000_000),
        entry("link", tarfile.SYMTYPE, link="/etc/passwd"),
        entry("hard", tarfile.LNKTYPE, link="./d/f"),
        entry("secret", content=b"s", mode=0o4000),
        entry("shut", tarfile.DIRTYPE, mode=0o000),
        entry("dev/null", tarfile.CHRTYPE),
        entry("pipe", tarfile.FIFOTYPE),
        packed=packed,
    )
    into = unpacked.into
    assert whiteouts is False
    assert (into / "d/f").read_bytes() == b"text"
    assert (into / "d/f").stat().st_mode & 0o7777 == 0o640
    assert (into / "d/f").stat().st_mtime == 7
    assert (into / "d").stat().st_mode & 0o7777 == 0o1777
    assert (into / "deep/er/f").stat().st_size == 3_000_000
    assert str((into / "link").readlink()) == "/etc/passwd"
    assert (into / "hard").stat().st_ino == (into / "d/f").stat().st_ino
    assert (into / "secret").stat().st_mode & 0o7777 == 0o400
    assert (into / "shut").stat().st_mode & 0o7777 == 0o700
    assert not (into / "dev").exists()


HOSTILE = {
    "leads out of it": [
        [entry("../x", content=b"x")],
        [entry("/x", content=b"x")],
        [entry("a/../../x", content=b"x")],
        [entry("..", tarfile.DIRTYPE)],
        [entry("hard", tarfile.LNKTYPE, link="../canary")],
        [entry("hard", tarfile.LNKTYPE, link="/etc/passwd")],
    ],
    "goes through": [
        [entry("l", tarfile.SYMTYPE, link=".."), entry("l/canary", content=b"x")],
        [entry("l", tarfile.SYMTYPE, link="/tmp"), entry("l/d", tarfile.DIRTYPE)],
        [entry("l", tarfile.SYMTYPE, link=".."), entry("l", tarfile.DIRTYPE)],
        [entry("f", content=b"x"), entry("f/x", content=b"x")],
    ],
    "links to what is not there": [
        [entry("hard", tarfile.LNKTYPE, link="nowhere")],
        [entry("l", tarfile.SYMTYPE, link=".."), entry("hard", tarfile.LNKTYPE, link="l/canary")],
    ],
    "is a device": [[entry("disk", tarfile.BLKTYPE)], [entry("etc/tty", tarfile.CHRTYPE)]],
    "take a directory's place": [
        [entry("d", tarfile.DIRTYPE), entry("d", tarfile.SYMTYPE, link="..")]
    ],
    "links to the root": [[entry("hard", tarfile.LNKTYPE, link=".")]],
}


@pytest.mark.parametrize(
    ("message", "entries"), [(m, e) for m, cases in HOSTILE.items() for e in cases]
)
def test_what_reaches_out_is_refused(unpacked, message, entries):
    with pytest.raises(LayerError, match=message):
        unpacked(*entries)


def test_a_link_is_replaced_and_not_written_through(unpacked):
    unpacked(entry("f", tarfile.SYMTYPE, link="../canary"), entry("f", content=b"own"))
    assert not (unpacked.into / "f").is_symlink()
    assert (unpacked.into / "f").read_bytes() == b"own"


def test_merging_puts_a_directory_in_a_links_place(unpacked):
    unpacked(entry("l", tarfile.SYMTYPE, link=".."), entry("d/x", content=b"x"))
    unpacked(entry("l/canary", content=b"x"), entry("d", content=b"file"), merge=True)
    assert (unpacked.into / "l/canary").read_bytes() == b"x"
    assert (unpacked.into / "d").read_bytes() == b"file"


def test_whiteouts_are_told_and_applied(unpacked):
    unpacked(
        entry("d/gone", content=b"x"),
        entry("d/kept", content=b"x"),
        entry("o/below/f", content=b"x"),
        entry("l", tarfile.SYMTYPE, link=".."),
    )
    assert unpacked(
        entry("o/own", content=b"x"),
        entry("o/.wh..wh..opq"),
        entry("d/.wh.gone"),
        entry("l/.wh.canary"),
        entry("no/where/.wh.x"),
        entry(".wh..."),
        merge=True,
    )
    unpack.apply_whiteouts(unpacked.layer, unpacked.into)
    assert sorted(path.name for path in (unpacked.into / "d").iterdir()) == ["kept"]
    assert list((unpacked.into / "o").iterdir()) == []  # applied before the layer goes in


@pytest.mark.parametrize("wrong", ["digest", "diff_id"])
def test_bytes_that_are_not_what_their_name_says(unpacked, tmp_path, wrong):
    plain = archive(entry("f", content=b"x"))
    unpacked.layer.write_bytes(plain)
    digests = {"digest": Digest.of(plain), "diff_id": Digest.of(plain)}
    digests[wrong] = Digest.of(b"other")
    with pytest.raises(LayerError, match="corrupt"):
        unpack.extract(unpacked.layer, unpacked.into, **digests)


def test_bytes_after_the_archive_count(unpacked):
    plain = archive(entry("f", content=b"x"))
    unpacked.layer.write_bytes(plain + b"\0" * 512)
    with pytest.raises(LayerError, match="corrupt"):
        unpack.extract(unpacked.layer, unpacked.into, Digest.of(plain), Digest.of(plain))


def test_a_header_that_would_fill_memory(unpacked):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 7 << 30
    with pytest.raises(LayerError, match="header of unreasonable size"):
        unpacked(info.tobuf() + b"\0" * 10240)


def test_a_layer_without_end(unpacked, monkeypatch):
    monkeypatch.setattr(unpack, "_LARGEST_LAYER", 1 << 20)
    with pytest.raises(LayerError, match="larger than"):
        unpacked(entry("f", content=bytes(4 << 20)))


def test_entries_without_end(unpacked, monkeypatch):
    monkeypatch.setattr(unpack, "_MOST_ENTRIES", 3)
    with pytest.raises(LayerError, match="over 3 entries"):
        unpacked(*[entry(f"f{n}") for n in range(4)])


def of_zstd(unpacked, packed, plain):
    unpacked.layer.write_bytes(packed)
    return unpack.extract(unpacked.layer, unpacked.into, Digest.of(packed), Digest.of(plain))


def test_zstd_in_several_frames(unpacked):
    plain = archive(entry("f", content=b"text" * 5000))
    halves = plain[:3000], plain[3000:]
    of_zstd(unpacked, b"".join(zstandard.ZstdCompressor().compress(half) for half in halves), plain)
    assert (unpacked.into / "f").read_bytes() == b"text" * 5000


def test_zstd_that_wants_much_memory(unpacked):
    """A frame that asks for a window of a gigabyte: its reader would allocate it."""
    plain = archive(entry("f", content=b"text"))
    long = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=False)
    stream = zstandard.ZstdCompressor(compression_params=long).compressobj()
    with pytest.raises(LayerError, match="no readable archive"):
        of_zstd(unpacked, stream.compress(plain) + stream.flush(), plain)


@pytest.mark.parametrize("cut", [1, 40])
def test_zstd_that_is_cut_short_or_is_none(unpacked, cut):
    plain = archive(entry("f", content=os.urandom(1000)))
    packed = zstandard.ZstdCompressor().compress(plain)
    with pytest.raises(LayerError):
        of_zstd(unpacked, packed[:-cut], plain)
    with pytest.raises(LayerError, match="no readable archive"):
        of_zstd(unpacked, packed[:4] + b"x" * 100, plain)


@pytest.mark.parametrize("pack", [lambda plain: gzip.compress(plain, 9), zstandard.compress])
def test_a_bomb_of_zeros(unpacked, monkeypatch, pack):
    """Some kilobytes that unpack to gigabytes end at the limit, whoever packed them."""
    monkeypatch.setattr(unpack, "_LARGEST_LAYER", 8 << 20)
    plain = archive(entry("f", content=bytes(64 << 20)))
    packed = pack(plain)
    assert len(packed) < len(plain) // 500
    with pytest.raises(LayerError, match="larger than"):
        of_zstd(unpacked, packed, plain)


@pytest.mark.parametrize("cut", [1, 100, 700])
def test_a_layer_that_is_cut_short(unpacked, cut):
    content = gzip.compress(archive(entry("f", content=os.urandom(1000))))
    unpacked.layer.write_bytes(content[:-cut])
    with pytest.raises(LayerError):
        unpack.extract(unpacked.layer, unpacked.into, Digest.of(content), Digest.of(b""))


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(min_size=1, max_size=2000), offset=st.integers(0, 3000))
def test_damaged_archives_end_in_one_kind_of_error(tmp_path_factory, noise, offset):
    plain = bytearray(
        archive(
            entry("a/b", content=b"x" * 600), entry("l", tarfile.SYMTYPE, link="../.."), entry("l2")
        )
    )
    plain[offset : offset + len(noise)] = noise
    path = tmp_path_factory.mktemp("damaged")
    (path / "layer").write_bytes(plain)
    (path / "into").mkdir()
    with contextlib.suppress(LayerError):
        unpack.extract(path / "layer", path / "into", Digest.of(plain), Digest.of(plain))
    assert {each.name for each in path.iterdir()} == {"layer", "into"}
    remove(path)


def test_removing_what_nobody_may_enter(tmp_path):
    inner = tmp_path / "a/b/c"
    inner.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (inner / "link").symlink_to(tmp_path / "outside")
    for directory in (inner, inner.parent):
        directory.chmod(0)
    remove(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside"]
    remove(tmp_path / "a")
