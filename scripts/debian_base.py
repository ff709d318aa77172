"""A small Debian with Python as an OCI image layout: a base that is not `host`, for tests.

    python scripts/debian_base.py DIRECTORY [PACKAGE…]

mmdebstrap makes it from Debian's own packages, reproducibly as long as their mirror is the same. What was made is
kept below `~/.cache/mlops-tests`, under the hash of what it is made from: a second call copies it, without a network.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mlops.adapters.filelock import locked
from mlops.adapters.layout import OciLayout
from mlops.build import image
from mlops.build.host import host_platform
from mlops.build.layers import Layer, LayerKind
from mlops.domain.digest import Digest
from mlops.errors import OutsideError

SUITE = "bookworm"
TAG = "debian:bookworm"
_PACKAGES = ("python3", "libstdc++6", "ca-certificates")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_EPOCH = "1700000000"  # of every file; nothing depends on which time it is


def main() -> int:
    if len(sys.argv) < 2:
        sys.stderr.write(__doc__ or "")
        return 2
    shutil.copytree(layout(*sys.argv[2:]), sys.argv[1], dirs_exist_ok=True)
    return 0


def layout(*more: str) -> Path:
    """The directory of the layout, made where it is not there yet; it holds `debian:bookworm`, with
    `more` packages.

    Raises CalledProcessError where mmdebstrap fails; its complaint is on stderr.
    """
    command = _command(more)
    key = hashlib.sha256("\0".join([_EPOCH, host_platform(), *command]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-tests"
    place = cache / f"debian-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"debian-{key}.lock", what=TAG, error=OutsideError, patience=900):
        if not (place / "index.json").is_file():
            _make(command, place)
    return place


def _command(more: tuple[str, ...]) -> list[str]:
    argv = ["mmdebstrap", "--quiet", "--variant=essential", "--skip=output/dev"]
    argv += [f"--include={','.join((*_PACKAGES, *more))}"]
    argv += [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
    return [*argv, SUITE]


def _make(command: list[str], place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        tar = Path(scratch, "root.tar")
        env = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
        subprocess.run([*command, str(tar)], env=env, check=True)
        beside = Path(scratch, "layout")
        _assemble(OciLayout(beside), tar)
        beside.rename(place)


def _assemble(store: OciLayout, tar: Path) -> None:
    plain = tar.read_bytes()
    packed = tar.with_suffix(".gz")
    packed.write_bytes(gzip.compress(plain, 6, mtime=0))
    digest = Digest.of(packed.read_bytes())
    layer = Layer(LayerKind.BASE, digest, Digest.of(plain), packed.stat().st_size)
    store.put_blob(packed, digest)
    path = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    whole = image.Image(host_platform(), (layer,), env=(path,), command=("python3",))
    repository, _, tag = TAG.partition(":")
    image.put(store, whole, repository, tag)


if __name__ == "__main__":
    raise SystemExit(main())
