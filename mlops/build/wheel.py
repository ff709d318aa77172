"""A wheel of mlops, as a tool image is made of one and held against one (PEP 427, core metadata)."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from hashlib import file_digest
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mlops.domain.digest import Digest
from mlops.errors import BuildError

DISTRIBUTION = "mlops-gitops"
TOOL_IMAGE = (
    "mlops/_data/tool-image.yaml"  # names the image of a release; no wheel in an image has it
)
_LARGEST = 1 << 20  # bytes of metadata
# what zipfile raises where bytes are not what they must be; RuntimeError: it would be encrypted
_DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
_HINT = "Build it from a checkout: uv build --wheel"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel file: `digest` is the sha256 of its bytes, `requires` what it needs, `names` its files."""

    path: Path
    digest: Digest
    version: str
    requires: tuple[Requirement, ...]
    names: tuple[str, ...]

    def line(self) -> str:
        """The line of a requirements file that installs it by its hash."""
        return f"{DISTRIBUTION} @ {self.path.resolve().as_uri()} --hash=sha256:{self.digest.hex}\n"

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Each file's name and bytes. Raises BuildError where it is damaged."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                for name in self.names:
                    yield name, archive.read(name)
        except _DAMAGED as exc:
            raise BuildError(f"{self.path} is damaged: {exc}", hint=_HINT) from exc


def read(path: Path) -> Wheel:
    """Read a wheel's name and metadata. Raises BuildError where it is no wheel of mlops."""
    try:
        with path.open("rb") as file:
            digest = Digest.parse(f"sha256:{file_digest(file, 'sha256').hexdigest()}")
        with zipfile.ZipFile(path) as archive:
            names = tuple(info.filename for info in archive.infolist() if not info.is_dir())
            headers = _headers(archive, names, path)
        requires = tuple(Requirement(text) for text in headers.get_all("Requires-Dist", ()))
    except (*_DAMAGED, InvalidRequirement) as exc:
        raise BuildError(f"{path} cannot be read as a wheel: {exc}", hint=_HINT) from exc
    name, version = str(headers.get("Name", "")), str(headers.get("Version", ""))
    if canonicalize_name(name) != DISTRIBUTION or not version:
        raise BuildError(f"{path} is a wheel of {name or 'nobody'}, not of mlops", hint=_HINT)
    return Wheel(path, digest, version, requires, names)


def _headers(archive: zipfile.ZipFile, names: Sequence[str], path: Path) -> Message:
    found = [
        name for name in names if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
    ]
    if len(found) != 1 or archive.getinfo(found[0]).file_size > _LARGEST:
        raise BuildError(f"{path} is no wheel: it has no metadata", hint=_HINT)
    return BytesHeaderParser().parsebytes(archive.read(found[0]))
