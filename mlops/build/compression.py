"""Compressors of layers whose bytes depend on the content alone: on no processor, thread or caller.

gzip by zlib-ng at level 2, the fastest whose bytes were the same on every CPU tried; zstd at level 3 in
one thread (with workers its bytes are others). What is written reaches them in pieces of one size.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from enum import StrEnum
from typing import BinaryIO, Protocol

import zstandard
from zlib_ng import zlib_ng

from mlops.domain.digest import Digest

_GZIP_LEVEL, _ZSTD_LEVEL = 2, 3
_PIECE = 1 << 20
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # RFC 1952: no name, no time, system unknown


class Compression(StrEnum):
    """How layers are packed; the values are those of `build.compression`."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def media_type(self) -> str:
        """OCI image-spec 1.1, layer.md."""
        return f"application/vnd.oci.image.layer.v1.tar+{self}"

    @property
    def version(self) -> str:
        """Library, its version and the level: with another, bytes may differ."""
        if self is Compression.GZIP:
            return f"zlib-ng {zlib_ng.ZLIBNG_VERSION} level {_GZIP_LEVEL}"
        return f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} level {_ZSTD_LEVEL}"


class _Packer(Protocol):
    """One of the compressors, while it makes one blob."""

    head: bytes

    def pack(self, piece: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class Stream:
    """Compresses what is written into `sink`, and digests both sides."""

    def __init__(self, sink: BinaryIO, compression: Compression = Compression.GZIP) -> None:
        self._sink = sink
        self._packer: _Packer = _PACKERS[compression]()
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        self._pending = bytearray()
        self.size = 0
        self._emit(self._packer.head)

    def write(self, data: bytes) -> None:
        """Take any number of bytes."""
        self._pending += data
        while len(self._pending) >= _PIECE:
            self._pack(bytes(self._pending[:_PIECE]))
            del self._pending[:_PIECE]

    def finish(self) -> None:
        """Write what is left; nothing may be written after it."""
        self._pack(bytes(self._pending))
        self._emit(self._packer.end())

    @property
    def digest(self) -> Digest:
        """Of what was written into the sink."""
        return Digest(self._packed.hexdigest())

    @property
    def diff_id(self) -> Digest:
        """Of what was written into the stream."""
        return Digest(self._plain.hexdigest())

    def _pack(self, piece: bytes) -> None:
        self._plain.update(piece)
        self._emit(self._packer.pack(piece))

    def _emit(self, data: bytes) -> None:
        self._packed.update(data)
        self._sink.write(data)
        self.size += len(data)


class _Gzip:
    head = _GZIP_HEAD

    def __init__(self) -> None:
        self._compressor = zlib_ng.compressobj(_GZIP_LEVEL, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS)
        self._crc = 0
        self._length = 0

    def pack(self, piece: bytes) -> bytes:
        self._crc = zlib_ng.crc32(piece, self._crc)
        self._length += len(piece)
        return self._compressor.compress(piece)

    def end(self) -> bytes:
        tail = struct.pack("<II", self._crc, self._length & 0xFFFFFFFF)
        return self._compressor.flush() + tail


class _Zstd:
    head = b""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, threads=0).compressobj()

    def pack(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece)

    def end(self) -> bytes:
        return self._compressor.flush()


_PACKERS: dict[Compression, Callable[[], _Packer]] = {
    Compression.GZIP: _Gzip,
    Compression.ZSTD: _Zstd,
}
