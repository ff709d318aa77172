"""Tar archives whose bytes depend on names, contents and the executable bit alone.

Headers are written here and not by `tarfile`, so that another Python gives the same bytes: ustar
(POSIX.1-2001), with a pax extended header only where a name or a size does not fit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlops.errors import BuildError

BLOCK = 512
_RECORD = 20 * BLOCK  # the archive is padded to this, as POSIX has it
_CHUNK = 1 << 20
_USTAR_SIZE = 1 << 33  # eleven octal digits

FILE, SYMLINK, DIRECTORY, _PAX = b"0", b"2", b"5", b"x"

Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class File:
    """A regular file, read from `source` when the archive is written."""

    source: Path
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A regular file whose bytes are given."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link to `target`."""

    target: str


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; needed only where it is empty or its mode is not 0755."""

    mode: int = 0o755


Entry = File | Content | Link | Directory
Tree = Mapping[str, Entry]  # path in the image without a leading slash → what stands there


def write(tree: Tree, sink: Sink) -> None:
    """Write the archive of a tree to `sink`: parents first, sorted, owner 0, time 0.

    Raises BuildError where a path is not canonical, lies below a file, or cannot be read.
    """
    written = 0
    for path, entry in _ordered(tree):
        written += _write_entry(path, entry, sink)
    written += 2 * BLOCK
    sink(b"\0" * (2 * BLOCK + -written % _RECORD))


def read_tree(root: Path, below: str = "") -> dict[str, Entry]:
    """What stands in a directory, as a tree with `below` before each path.

    Raises BuildError at anything but files, directories and links, and where it cannot be read.
    """
    tree: dict[str, Entry] = {}
    for directory, names, files in os.walk(root, onerror=_raise):
        at = Path(directory)
        inside = PurePosixPath(below, at.relative_to(root).as_posix())
        if not names and not files:
            tree[str(inside)] = Directory()
        for name in (*files, *(n for n in names if (at / n).is_symlink())):
            tree[str(inside / name)] = entry_of(at / name)
    tree.pop(".", None)
    return tree


def entry_of(path: Path) -> Entry:
    """What stands at a path of this machine, links not followed. Raises BuildError."""
    try:
        if path.is_symlink():
            return Link(str(path.readlink()))
        if path.is_dir():
            return Directory()
        if path.is_file():
            return File(path, executable=bool(path.stat().st_mode & 0o100))
    except OSError as exc:
        raise BuildError(f"cannot read {path}: {exc.strerror}") from exc
    what = "is not there" if not path.exists() else "is neither file, directory nor link"
    raise BuildError(f"{path} {what}", hint="An image cannot hold it: remove it, or leave it out")


def _raise(error: OSError) -> None:
    raise BuildError(f"cannot read {error.filename}: {error.strerror}") from error


def _ordered(tree: Tree) -> Iterator[tuple[str, Entry]]:
    """Entries and the directories above them, sorted by path component."""
    whole: dict[str, Entry] = dict(tree)
    for path in tree:
        parts = path.split("/")
        if not {"", ".", ".."}.isdisjoint(parts):
            raise BuildError(f"{path!r} is no path for an image")
        above, _, _ = path.rpartition("/")
        while above:
            if not isinstance(whole.setdefault(above, Directory()), Directory):
                raise BuildError(f"{path} lies below {above}, which is no directory")
            above, _, _ = above.rpartition("/")
    return iter(sorted(whole.items(), key=lambda item: os.fsencode(item[0]).split(b"/")))


def _write_entry(path: str, entry: Entry, sink: Sink) -> int:
    body = 0
    pieces: Iterable[bytes] = ()
    match entry:
        case Directory(mode):
            head = _headers(os.fsencode(path) + b"/", DIRECTORY, mode)
        case Link(target):
            head = _headers(os.fsencode(path), SYMLINK, 0o777, link=os.fsencode(target))
        case File() | Content():
            size = _size(entry)
            head = _headers(os.fsencode(path), FILE, 0o755 if entry.executable else 0o644, size)
            body = size + -size % BLOCK
            pieces = _pieces(entry, size)
    sink(head)
    for piece in pieces:
        sink(piece)
    return len(head) + body


def _size(entry: File | Content) -> int:
    if isinstance(entry, Content):
        return len(entry.content)
    source = entry.source
    try:
        return source.stat().st_size
    except OSError as exc:
        raise BuildError(f"cannot read {source}: {exc.strerror}") from exc


def _pieces(entry: File | Content, size: int) -> Iterator[bytes]:
    if isinstance(entry, Content):
        yield entry.content
        yield b"\0" * (-size % BLOCK)
        return
    source, left = entry.source, size
    try:
        with source.open("rb") as file:
            while left and (piece := file.read(min(left, _CHUNK))):
                left -= len(piece)
                yield piece
            changed = left or file.read(1)
    except OSError as exc:
        raise BuildError(f"cannot read {source}: {exc.strerror}") from exc
    if changed:
        raise BuildError(f"{source} changed while it was packed", hint="Let nobody write to it")
    yield b"\0" * (-size % BLOCK)


def _headers(name: bytes, kind: bytes, mode: int, size: int = 0, link: bytes = b"") -> bytes:
    """The entry's header, and a pax header before it where ustar cannot say it."""
    extra: dict[bytes, bytes] = {}
    short, prefix = _split(name)
    if short is None:
        extra[b"path"] = name
        short, prefix = name[:100], b""
    if len(link) > 100 or not link.isascii():
        extra[b"linkpath"] = link
        link = link[:100]
    if size >= _USTAR_SIZE:
        extra[b"size"] = b"%d" % size
    header = _ustar((short, prefix), kind, mode, 0 if b"size" in extra else size, link)
    if not extra:
        return header
    records = b"".join(_pax_record(key, extra[key]) for key in sorted(extra))
    pax = _ustar((b"PaxHeaders/0", b""), _PAX, 0o644, len(records))
    return pax + records + b"\0" * (-len(records) % BLOCK) + header


def _split(name: bytes) -> tuple[bytes | None, bytes]:
    """A name as ustar's `name` (100 bytes) and `prefix` (155), None where it does not fit."""
    if not name.isascii():
        return None, b""
    if len(name) <= 100:
        return name, b""
    cut = name.rfind(b"/", 0, 156)
    while cut > 0:
        if len(name) - cut - 1 > 100:
            return None, b""
        if len(name) - cut - 1 > 0:
            return name[cut + 1 :], name[:cut]
        cut = name.rfind(b"/", 0, cut)
    return None, b""


def _ustar(
    name: tuple[bytes, bytes], kind: bytes, mode: int, size: int, link: bytes = b""
) -> bytes:
    short, prefix = name
    fields = (
        short.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0",  # owner
        b"0000000\0",  # group
        b"%011o\0" % size,
        b"%011o\0" % 0,  # modification time
        b"        ",  # the checksum counts as blanks
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        b"\0" * 64,  # names of owner and group
        b"0000000\0" * 2,  # device
        prefix.ljust(155, b"\0"),
        b"\0" * 12,
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Length, key and value in a line, the length counting itself (POSIX pax, extended header)."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest
