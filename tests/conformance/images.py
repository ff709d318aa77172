"""Images made of this machine's own programs, in a store of blobs."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlops.domain.digest import Digest, ImageRef
from mlops.errors import RegistryError

BASIC = "sh cat chmod cp cut date dd echo env false grep head hostname id ln ls mkdir mv nproc printf pwd readlink rm sed seq sleep sort stat tail tee test touch tr true uname wc".split()  # fmt: skip


class Store:
    """Meets `ports.ImageStore`: blobs in a directory, each under its digest."""

    def __init__(self, root: Path) -> None:
        self.location = str(root)
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def add(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        (self._root / digest.hex).write_bytes(content)
        return digest

    def manifest(self, digest: Digest) -> bytes:
        return self.blob_path(digest).read_bytes()

    def has_manifest(self, digest: Digest) -> bool:
        return (self._root / digest.hex).exists()

    def blob_path(self, digest: Digest) -> Path:
        path = self._root / digest.hex
        if not path.exists():
            raise RegistryError(f"{self.location} has no {digest}")
        return path

    def image(self, layer: bytes, **config: Any) -> ImageRef:
        """An image of one layer, a plain tar; `config` is what the image says of how it runs."""
        packed = gzip.compress(layer, 1, mtime=0)
        about = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer))]},
        }
        blob = json.dumps(about).encode()
        kind = "application/vnd.oci.image"
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": {"digest": str(self.add(blob)), "size": len(blob)},
            "layers": [
                {
                    "mediaType": f"{kind}.layer.v1.tar+gzip",
                    "digest": str(self.add(packed)),
                    "size": len(packed),
                }
            ],
        }
        return ImageRef("image", self.add(json.dumps(manifest).encode()))


def root_filesystem(programs: Iterable[str], files: Mapping[str, bytes | Path] | None = None) -> bytes:
    """A tar with programs in /bin, the libraries they need, and files. Raises LookupError where a program is not here."""
    entries: dict[str, bytes | Path] = {
        "etc/passwd": b"root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n",
        "etc/group": b"root:x:0:\nada:x:1001:\n",
        **(files or {}),
    }
    libraries: set[Path] = set()
    for name in programs:
        program = shutil.which(name)
        if program is None:
            raise LookupError(f"{name} is needed, and not here")
        libraries |= _libraries(program)
        entries[f"bin/{name}"] = Path(program).resolve()
    for library in sorted(libraries):
        entries[str(library).lstrip("/")] = library.resolve()
    return _tar(entries)


def _libraries(program: str) -> set[Path]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", told)}


def _tar(entries: Mapping[str, bytes | Path]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for directory in ("tmp", "root", "usr/bin"):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            archive.addfile(info)
        link = tarfile.TarInfo("usr/bin/env")
        link.type, link.linkname = tarfile.SYMTYPE, "/bin/env"
        archive.addfile(link)
        for name, what in entries.items():
            content = what if isinstance(what, bytes) else what.read_bytes()
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
