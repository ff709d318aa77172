"""Looks for a secret in every byte below a directory, packed or not."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote


def forms(secret: str) -> tuple[bytes, ...]:
    """The secret as it may be written: plain, in a URL, in a basic header at any offset."""
    raw = secret.encode()
    coded = {base64.b64encode(b"x" * pad + raw)[4 if pad else 0 : -4] for pad in range(3)}
    return (raw, quote(secret, safe="").encode(), *sorted(coded))


def places(root: Path, secret: str) -> list[Path]:
    """The files below `root` that hold it, in their names or in their bytes."""
    looked = forms(secret)
    found = []
    for path in sorted(root.rglob("*")):
        if secret in path.name or (path.is_symlink() and secret in str(path.readlink())):
            found.append(path)
        elif path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if any(form in text for text in _unpacked(content) for form in looked):
                found.append(path)
    return found


def _unpacked(content: bytes) -> Iterator[bytes]:
    yield content
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:4] == b"\x28\xb5\x2f\xfd":
        import zstandard  # noqa: PLC0415

        yield zstandard.ZstdDecompressor().decompressobj().decompress(content)
    elif content[:3] == b"BZh":
        yield bz2.decompress(content)
    elif content[:6] == b"\xfd7zXZ\0":
        yield lzma.decompress(content)
    elif content[:1] == b"\x78":  # a loose object of git
        try:
            yield zlib.decompress(content)
        except zlib.error:
            return
