"""An image as one file: an OCI layout in a tar, which is what `docker save` writes too.

Beside the layout (OCI image-spec 1.1, image-layout.md) stands docker's manifest.json (docker's image specification
1.2), which names the same blobs, so that older programs read it. The same image gives the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mlops.adapters import ociindex
from mlops.adapters.registry import images
from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageName
from mlops.errors import RegistryError

_BLOBS = "blobs/sha256"
_NAMED = "io.containerd.image.name"


def parts(
    source: images.Source, top: Digest, name: ImageName
) -> Iterator[tuple[str, Path | bytes]]:
    """Names and contents of the archive's files: the image called `name`, each blob once.

    Raises RegistryError where a blob is absent.
    """
    found = list(images.parts(source.manifest, top))
    yield "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
    yield "index.json", _index(found[-1], name)
    yield "manifest.json", _dockers([part for part in found if part.blobs], name)
    seen: set[Digest] = set()
    for part in found:
        for digest in part.blobs:
            if digest not in seen:
                seen.add(digest)
                yield f"{_BLOBS}/{digest.hex}", source.blob_path(digest)
        yield f"{_BLOBS}/{part.digest.hex}", part.content


def _index(top: images.Part, name: ImageName) -> bytes:
    annotations = {ociindex.REF_NAME: name.tag, _NAMED: f"{name.repository}:{name.tag}"}
    descriptor = {
        "mediaType": top.media_type,
        "digest": str(top.digest),
        "size": len(top.content),
        "annotations": annotations,
    }
    document = {"schemaVersion": 2, "mediaType": ociindex.INDEX_TYPE, "manifests": [descriptor]}
    return json.dumps(document, sort_keys=True).encode()


def _dockers(found: list[images.Part], name: ImageName) -> bytes:
    """Docker's own list; of an image for several platforms the first, for it knows no others."""
    document = ociindex.parse(found[0].content)
    config, *layers = (
        f"{_BLOBS}/{ociindex.digest_of(each).hex}"
        for each in (document["config"], *document["layers"])
    )
    tag = f"{name.written}:{name.tag}"
    return json.dumps([{"Config": config, "RepoTags": [tag], "Layers": layers}]).encode()


def write(into: IO[bytes], files: Iterator[tuple[str, Path | bytes]]) -> None:
    """The tar: entries as they come, all times and owners zero. Raises OSError."""
    with tarfile.open(fileobj=into, mode="w|", bufsize=1 << 20, format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            add(tar, name, content)


def add(tar: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    """One file of a tar, from bytes or from a file. Raises RegistryError where that one gives less
    than it is long."""
    info = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    info.size = content.stat().st_size
    if info.size >= 8 << 30:  # what ustar cannot say
        tar.format = tarfile.GNU_FORMAT
    with content.open("rb") as file:
        try:
            tar.addfile(info, file)
        except OSError as exc:
            if "unexpected end of data" in str(exc):
                raise RegistryError(f"{content} became shorter while it was read") from exc
            raise
        finally:
            tar.format = tarfile.USTAR_FORMAT
