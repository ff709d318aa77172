"""Layers: deterministic archives, compressed and digested in one pass.

gzip by zlib-ng at level 2: the fastest compressor whose bytes are the same on every CPU tried.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from zlib_ng import zlib_ng

from mlops.build import tar
from mlops.domain.digest import Digest
from mlops.errors import RegistryError
from mlops.ports import ImageStore

KIND = "dev.mlops.layer"  # the annotation of a layer's descriptor
MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
COMPRESSOR = f"zlib-ng {zlib_ng.ZLIBNG_VERSION} level 2"
_LEVEL = 2
_CHUNK = 1 << 20
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # RFC 1952: no name, no time, system unknown


class LayerKind(StrEnum):
    """Which group a layer belongs to, in the order in which groups lie on each other."""

    BASE = "base"
    DEPENDENCIES = "dependencies"
    SERVER = "server"
    CODE = "code"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Layer:
    """A stored layer: digest and size in bytes of the compressed blob, diff_id of the plain tar."""

    kind: LayerKind
    digest: Digest
    diff_id: Digest
    size: int
    media_type: str = MEDIA_TYPE

    def document(self) -> Mapping[str, Any]:
        """As release records list it: `{kind, digest, diffID, size}`."""
        return {
            "kind": str(self.kind),
            "digest": str(self.digest),
            "diffID": str(self.diff_id),
            "size": self.size,
        }


def put_layer(store: ImageStore, kind: LayerKind, tree: tar.Tree) -> Layer:
    """Write the tree as a layer into the store, in constant memory.

    Raises BuildError where a file cannot be read, RegistryError where the store cannot be written;
    nothing of the layer is left then.
    """
    with store.staging() as staging:
        path = staging / secrets.token_hex(8)
        digest, diff_id, size = _write(path, tree, store.location)
        store.put_blob(path, digest)
    return Layer(kind, digest, diff_id, size)


def _write(path: Path, tree: tar.Tree, location: str) -> tuple[Digest, Digest, int]:
    try:
        with path.open("wb") as file:
            stream = _GzipStream(file)
            tar.write(tree, stream.write)
            stream.finish()
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise RegistryError(
            f"cannot write a layer to {location}: {exc.strerror or exc}",
            hint="What was there before is unharmed: make room, and repeat",
            retryable=True,
        ) from exc
    return stream.digest, stream.diff_id, stream.size


class _GzipStream:
    """Compresses what is written, and digests both sides."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS)
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        self._pending = bytearray()
        self._crc = 0
        self._length = 0
        self.size = 0
        self._emit(_GZIP_HEAD)

    def write(self, data: bytes) -> None:
        """Pieces of one fixed size reach the compressor, whatever the caller's pieces are."""
        self._pending += data
        while len(self._pending) >= _CHUNK:
            self._compress(bytes(self._pending[:_CHUNK]))
            del self._pending[:_CHUNK]

    def finish(self) -> None:
        self._compress(bytes(self._pending))
        self._emit(self._compressor.flush())
        self._emit(struct.pack("<II", self._crc, self._length & 0xFFFFFFFF))

    @property
    def digest(self) -> Digest:
        return Digest(self._packed.hexdigest())

    @property
    def diff_id(self) -> Digest:
        return Digest(self._plain.hexdigest())

    def _compress(self, data: bytes) -> None:
        self._plain.update(data)
        self._crc = zlib_ng.crc32(data, self._crc)
        self._length += len(data)
        self._emit(self._compressor.compress(data))

    def _emit(self, data: bytes) -> None:
        self._packed.update(data)
        self._sink.write(data)
        self.size += len(data)
