"""Holds a released wheel of mlops against the tool image that it names: the same files, but for that name."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from mlops.build.environment import VENV
from mlops.build.image import load
from mlops.build.layers import Layer, LayerKind
from mlops.build.toolrelease import VERSION
from mlops.build.wheel import TOOL_IMAGE, Wheel
from mlops.domain.digest import Digest
from mlops.errors import BuildError
from mlops.ports import ImageStore

_SITE = "site-packages"


def own_layer(store: ImageStore, manifest: Digest) -> Layer:
    """The layer of a tool image that holds mlops itself: the uppermost. Raises BuildError, RegistryError."""
    layers = load(store, manifest).layers
    if not layers or layers[-1].kind != LayerKind.CODE:
        raise BuildError(f"{manifest} is no tool image: it has no layer of mlops' own on top")
    return layers[-1]


def differences(store: ImageStore, manifest: Digest, wheel: Wheel) -> Iterator[str]:
    """What the image holds otherwise than the wheel, as texts; none where both hold one mlops.

    RECORD is left out, since it lists scripts and the wheel's own extra file. The store has the image's
    configuration and its own layer. Raises BuildError, RegistryError.
    """
    version = load(store, manifest).label(VERSION)
    if version != wheel.version:
        yield f"the image is of mlops {version or 'of no version'}, the wheel of {wheel.version}"
        return
    there = dict(_files(store, own_layer(store, manifest)))
    ours = {name: content for name, content in wheel.contents() if _counts(name)}
    for name in sorted({*there, *ours}):
        if name not in there:
            yield f"{name} is in the wheel alone"
        elif name not in ours:
            yield f"{name} is in the image alone"
        elif there[name] != ours[name]:
            yield f"{name} is another in the image"


def _counts(name: str) -> bool:
    return name != TOOL_IMAGE and not name.endswith((".pyc", ".dist-info/RECORD"))


def _files(store: ImageStore, layer: Layer) -> Iterator[tuple[str, bytes]]:
    """Files of the image's own layer by their names in a wheel."""
    library = PurePosixPath(f"{VENV}/lib".lstrip("/"))
    try:
        with tarfile.open(store.blob_path(layer.digest)) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if not member.isreg() or not path.is_relative_to(library):
                    continue
                name = "/".join(path.relative_to(library).parts[1:]).removeprefix(f"{_SITE}/")
                file = tar.extractfile(member) if _counts(name) else None
                if file is not None:
                    yield name, file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as exc:
        raise BuildError(f"layer {layer.digest} cannot be read: {exc}") from exc
