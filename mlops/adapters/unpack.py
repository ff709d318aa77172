"""Unpacks one layer, an archive from a stranger, so that nothing lands outside its directory.

Every directory on the way to an entry is opened without following links, so neither `..` nor a
symlink of the archive leads out. Symlinks are made as they are written; hard links join entries of
the same directory only. No devices, no setuid bits, no foreign owners; files stay readable.

OCI image-spec 1.1, layer.md. Whiteouts: layer.md#whiteouts.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mlops.domain.digest import Digest

_CHUNK = 1 << 20
_LARGEST_LAYER = 64 << 30  # bytes unpacked
_MOST_ENTRIES = 5_000_000
_LONGEST_HEADER = 1 << 20
_EXTENSIONS = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ZSTD = b"\x28\xb5\x2f\xfd"
_LARGEST_WINDOW = 128 << 20  # bytes: what `zstd --ultra` writes and container engines read


class LayerError(Exception):
    """The archive is corrupt, not what its name says, or reaches where it must not."""


def extract(
    path: Path, into: Path, digest: Digest, diff_id: Digest, *, merge: bool = False
) -> bool:
    """Unpack a tar, perhaps packed with gzip or zstd, into a directory; tells whether it holds whiteouts.

    With `merge` the directory holds the layers below already: whiteouts are skipped (they were
    applied), and a directory takes the place of a link. Raises LayerError where the bytes match
    not `digest` and `diff_id`, or an entry is not allowed; OSError where the disk fails.
    """
    whiteouts = False
    with _opened(path) as archive, _Tree.at(into, merge=merge) as tree:
        for member in archive.members():
            parts = _parts(member.name)
            if parts and parts[-1].startswith(_WHITEOUT):
                whiteouts = True
            else:
                tree.put(parts, member, archive.content)
        archive.drain()
        for what, wanted, found in (
            ("digest", digest, archive.digest),
            ("diffID", diff_id, archive.diff_id),
        ):
            if wanted != found:
                raise LayerError(f"its bytes are corrupt: {what} {found}, not {wanted}")
    return whiteouts


def apply_whiteouts(path: Path, into: Path) -> None:
    """Remove from a directory what a layer's whiteouts say: before the layer itself goes in."""
    with _opened(path) as archive, _Tree.at(into, merge=True) as tree:
        for member in archive.members():
            parts = _parts(member.name)
            if parts and parts[-1] == _OPAQUE:
                tree.empty(parts[:-1])
            elif parts and parts[-1].startswith(_WHITEOUT):
                tree.drop((*parts[:-1], parts[-1].removeprefix(_WHITEOUT)))


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise LayerError(f"entry {name!r:.200} leads out of it")
    return parts


class _Header(tarfile.TarInfo):
    """Refuses headers that would be read into memory whole and are larger than any honest one."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENSIONS and self.size > _LONGEST_HEADER:
            raise LayerError("it holds a header of unreasonable size")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


class _Hashing:
    """A reader that remembers the digest of all that went through it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self._hash.update(chunk)
        self.size += len(chunk)
        if self.size > _LARGEST_LAYER:
            raise LayerError(f"it is larger than {_LARGEST_LAYER >> 30} GiB")
        return chunk

    @property
    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())


@dataclass(frozen=True, slots=True)
class _Archive:
    raw: _Hashing
    plain: _Hashing
    tar: tarfile.TarFile

    def members(self) -> Iterator[tarfile.TarInfo]:
        for count, member in enumerate(self.tar):
            if count >= _MOST_ENTRIES:
                raise LayerError(f"it has over {_MOST_ENTRIES} entries")
            yield member
            self.tar.members.clear()  # type: ignore[attr-defined]  # else all stay in memory

    def content(self, member: tarfile.TarInfo, write: int) -> None:
        source = self.tar.extractfile(member)
        if source is None:
            raise LayerError(f"entry {member.name!r:.200} has no content")
        with source, open(write, "wb", closefd=False, buffering=0) as target:
            shutil.copyfileobj(source, target, _CHUNK)

    def drain(self) -> None:
        """Read to the end: what follows the last entry counts for the digests."""
        for reader in (self.plain, self.raw):
            while reader.read(_CHUNK):
                pass

    @property
    def digest(self) -> Digest:
        return self.raw.digest

    @property
    def diff_id(self) -> Digest:
        return self.plain.digest


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        raw = _Hashing(file)
        try:
            with contextlib.ExitStack() as stack:
                source: Any = raw
                if magic[:2] == b"\x1f\x8b":
                    source = stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb"))  # type: ignore[call-overload]
                elif magic == _ZSTD:
                    source = stack.enter_context(_of_zstd(raw))
                plain = _Hashing(source)
                tar = stack.enter_context(
                    tarfile.open(fileobj=plain, mode="r|", bufsize=_CHUNK, tarinfo=_Header)  # type: ignore[call-overload]
                )
                yield _Archive(raw, plain, tar)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, _ZstdError) as exc:
            raise LayerError(f"it is no readable archive: {exc}") from exc
        except (UnicodeError, ValueError, OverflowError) as exc:
            raise LayerError(f"an entry of it cannot be read: {exc}") from exc


class _ZstdError(Exception):
    """What is said to be zstd is not, or wants more memory than it may have."""


class _OfZstd:
    """Reads a zstd stream of one or more frames (RFC 8878), within a bounded window."""

    def __init__(self, raw: _Hashing) -> None:
        import zstandard  # noqa: PLC0415  few layers need it

        self._failure = zstandard.ZstdError
        limited = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        self._stream = limited.stream_reader(raw, read_across_frames=True, closefd=False)  # type: ignore[arg-type]
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except self._failure as exc:
            raise _ZstdError(str(exc)) from exc


def _of_zstd(raw: _Hashing) -> contextlib.AbstractContextManager[_OfZstd]:
    return contextlib.nullcontext(_OfZstd(raw))


class _Tree:
    """A directory that is written below, by names that never follow a link."""

    def __init__(self, root: int, *, merge: bool) -> None:
        self._root = root
        self._merge = merge
        self._parent: tuple[tuple[str, ...], int] | None = None

    @classmethod
    @contextlib.contextmanager
    def at(cls, directory: Path, *, merge: bool) -> Iterator[_Tree]:
        tree = cls(os.open(directory, _DIRECTORY), merge=merge)
        try:
            yield tree
        finally:
            tree._forget()
            os.close(tree._root)

    def put(self, parts: tuple[str, ...], member: tarfile.TarInfo, content: Any) -> None:
        """Make one entry; `content(member, descriptor)` writes a file's bytes."""
        if not parts:
            return  # the root itself: its mode is ours
        name = parts[-1]
        if member.isdir():
            self._directory(parts, member)
            return
        if member.ischr() or member.isblk():
            if parts[0] == "dev":  # /dev is mounted anew: nothing of it is ever seen
                return
            raise LayerError(f"entry {member.name!r:.200} is a device")
        parent = self._open(parts[:-1], make=True)
        self._clear(name, parent, member.name)
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.islnk():
            self._link(member, name, parent)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        elif member.isreg():
            self._file(member, name, parent, content)
        else:
            raise LayerError(f"entry {member.name!r:.200} is of an unknown type")

    def empty(self, parts: tuple[str, ...]) -> None:
        """Remove all that a directory holds; quiet where it is none."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, LayerError):
            directory = self._open(parts, make=False)
            for name in os.listdir(directory):  # noqa: PTH208  by descriptor
                _remove(name, directory)

    def drop(self, parts: tuple[str, ...]) -> None:
        """Remove one entry with all below it; quiet where there is none."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, LayerError):
            if parts[-1] in {"", ".", ".."}:
                raise LayerError("a whiteout names no entry")
            _remove(parts[-1], self._open(parts[:-1], make=False))

    def _directory(self, parts: tuple[str, ...], member: tarfile.TarInfo) -> None:
        directory = self._open(parts, make=True)
        os.fchmod(directory, (member.mode & 0o1777) | 0o700)

    def _file(self, member: tarfile.TarInfo, name: str, parent: int, content: Any) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            content(member, descriptor)
            os.fchmod(descriptor, (member.mode & 0o777) | 0o400)
            # compiled Python files are valid for one time of their source
            os.utime(descriptor, (max(member.mtime, 0), max(member.mtime, 0)))
        finally:
            os.close(descriptor)

    def _link(self, member: tarfile.TarInfo, name: str, parent: int) -> None:
        target = _parts(member.linkname)
        if not target:
            raise LayerError(f"entry {member.name!r:.200} links to the root")
        held = os.dup(parent)  # opening the target's directory may close the parent's
        try:
            source = self._open(target[:-1], make=False)
            os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=held, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise LayerError(f"entry {member.name!r:.200} links to what is not there") from exc
        finally:
            os.close(held)

    def _clear(self, name: str, parent: int, whole: str) -> None:
        """Make room for an entry that is no directory."""
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(there.st_mode) and not self._merge:
            raise LayerError(f"entry {whole!r:.200} would take a directory's place")
        _remove(name, parent)

    def _open(self, parts: tuple[str, ...], *, make: bool) -> int:
        """A descriptor of the directory, valid until the next call."""
        if self._parent is not None and self._parent[0] == parts:
            return self._parent[1]
        self._forget()
        here = os.dup(self._root)
        try:
            for part in parts:
                below = self._step(part, here, make=make)
                os.close(here)
                here = below
        except BaseException:
            os.close(here)
            raise
        self._parent = (parts, here)
        return here

    def _step(self, part: str, parent: int, *, make: bool) -> int:
        try:
            return os.open(part, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as exc:  # a link, or a file
            if not make:
                raise NotADirectoryError(part) from exc
            if not self._merge:
                raise LayerError(f"an entry goes through {part!r:.200}, no directory") from exc
            os.unlink(part, dir_fd=parent)
        os.mkdir(part, 0o755, dir_fd=parent)
        return os.open(part, _DIRECTORY, dir_fd=parent)

    def _forget(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None


def _remove(name: str, parent: int) -> None:
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)
