"""Layers: deterministic archives, compressed and digested in one pass."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mlops.build import tar
from mlops.build.compression import Compression, Stream
from mlops.domain.digest import Digest
from mlops.errors import RegistryError
from mlops.ports import ImageStore

KIND = "dev.mlops.layer"  # annotations of a layer's descriptor
PACKAGE = "dev.mlops.layer.package"
COMPRESSOR = Compression.GZIP.version  # of what is packed from this machine


class LayerKind(StrEnum):
    """Which group a layer belongs to, in the order in which groups lie on each other."""

    BASE = "base"
    DEPENDENCIES = "dependencies"
    SERVER = "server"
    CODE = "code"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Layer:
    """A stored layer: digest and size in bytes of the compressed blob, diff_id of the plain tar.

    `package` names the one that has a layer of its own (`numpy 2.2.6`), empty elsewhere.
    """

    kind: LayerKind
    digest: Digest
    diff_id: Digest
    size: int
    media_type: str = Compression.GZIP.media_type
    package: str = ""

    def document(self) -> Mapping[str, Any]:
        """As release records list it: `{kind, digest, diffID, size}`."""
        return {
            "kind": str(self.kind),
            "digest": str(self.digest),
            "diffID": str(self.diff_id),
            "size": self.size,
        }


def put_layer(
    store: ImageStore,
    kind: LayerKind,
    tree: tar.Tree,
    compression: Compression = Compression.GZIP,
    package: str = "",
) -> Layer:
    """Write the tree as a layer into the store, in constant memory.

    Raises BuildError where a file cannot be read, RegistryError where the store cannot be written;
    nothing of the layer is left then.
    """
    with store.staging() as staging:
        path = staging / secrets.token_hex(8)
        digest, diff_id, size = _write(path, tree, compression, store.location)
        store.put_blob(path, digest)
    return Layer(kind, digest, diff_id, size, compression.media_type, package)


def _write(
    path: Path, tree: tar.Tree, compression: Compression, location: str
) -> tuple[Digest, Digest, int]:
    try:
        with path.open("wb") as file:
            stream = Stream(file, compression)
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
