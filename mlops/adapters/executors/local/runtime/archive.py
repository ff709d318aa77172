"""An image as `docker save` writes it, poured into an engine's `load`."""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from mlops.adapters import process
from mlops.adapters.imagearchive import add
from mlops.adapters.rootfs import Image
from mlops.domain.digest import Digest
from mlops.errors import ExecutorError
from mlops.ports import ImageFiles

_PATIENCE = 600.0  # seconds that an engine may take after the last byte


def pour(argv: Sequence[str], images: ImageFiles, image: Image, name: str) -> None:
    """Hand an image to the command `argv`, which reads it from stdin; `name` is what it is called.

    Raises ExecutorError where the command fails, RegistryError where a blob is absent.
    """
    parts = list(_parts(images, image, name))
    with tempfile.TemporaryFile() as said:
        program = process.start(
            argv,
            doing="loading an image",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            error=ExecutorError,
        )
        try:
            _write(program.stdin, parts)
            code = program.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired as exc:
            raise ExecutorError(f"{argv[0]} takes over {_PATIENCE:g} s to load an image") from exc
        finally:
            process.kill_group(program.pid)
            program.wait()
        if code != 0:
            said.seek(0)
            raise ExecutorError(
                f"{argv[0]} does not load image {image.digest}: "
                f"{said.read(4000).decode(errors='replace').strip()}"
            )


def _write(stdin: IO[bytes] | None, parts: Sequence[tuple[str, Path | bytes]]) -> None:
    if stdin is None:
        return
    try:
        with stdin, tarfile.open(fileobj=stdin, mode="w|", bufsize=1 << 20) as tar:
            for name, content in parts:
                add(tar, name, content)
    except BrokenPipeError:
        return  # it has ended, and says why


def _parts(images: ImageFiles, image: Image, name: str) -> Iterator[tuple[str, Path | bytes]]:
    """Docker's image specification 1.2: manifest.json, the config, and each layer once."""
    config = json.loads(images.manifest(image.digest))["config"]["digest"]
    layers = [f"{layer.digest.hex}.tar" for layer in image.layers]
    hexadecimal = Digest.parse(config).hex
    described = [{"Config": f"{hexadecimal}.json", "RepoTags": [name], "Layers": layers}]
    yield "manifest.json", json.dumps(described).encode()
    yield f"{hexadecimal}.json", images.blob_path(Digest.parse(config))
    for layer in dict.fromkeys(image.layers):
        yield f"{layer.digest.hex}.tar", images.blob_path(layer.digest)
