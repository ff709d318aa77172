"""Layers: deterministic tar archives, compressed and digested in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mlops.domain.digest import Digest

KIND = "dev.mlops.layer"  # the annotation of a layer's descriptor
MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


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
