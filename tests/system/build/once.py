"""Builds an environment and a release once, in a process of its own, and prints what came of it.

Run as a program: PLACE (a directory that it makes), BASES (the layout with the base), WHEELS, then the base's
digest and platform, and a requirements lock.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.layout import OciLayout
from mlops.adapters.packages import IndexedPackages
from mlops.adapters.uv import Uv
from mlops.build import image, strategy
from mlops.build.strategy import EnvironmentRequest, PinnedBase, ReleaseRequest, Toolchain
from mlops.domain.digest import Digest
from mlops.domain.source import Commit

COMMITTED = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def project(root: Path) -> Path:
    """The same files, written anew."""
    for name, text in {
        "src/use.py": "print('use')\n",
        "src/größe.txt": "x",
        "run.sh": "#!/bin/sh\n",
        "models/model.bin": "model" * 5000,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "run.sh").chmod(0o700)
    return root


def main() -> None:
    place, bases, wheels = map(Path, sys.argv[1:4])
    base = Digest.parse(sys.argv[4])
    store = OciLayout(place / "registry")
    image.copy(OciLayout(bases), store, base, "base")
    pinned = PinnedBase("oci:bases:slim", base, base, sys.argv[5])
    lock = Path(sys.argv[6]).read_bytes()
    uv = Uv(wheels)
    packages = IndexedPackages(uv, wheels)
    tools = Toolchain(uv, SandboxedBase(store, place / "cache"), packages=packages)
    request = EnvironmentRequest("wine", pinned, lock, place, rebuild=True)
    environment = strategy.build_environment(store, request, tools)
    release = ReleaseRequest(
        "wine",
        Commit("0123456789abcdef0123456789abcdef01234567"),
        COMMITTED,
        environment.manifest,
        project(place / "tree"),
        ("src", "run.sh"),
        "models/model.bin",
    )
    made = strategy.build_release(store, release)
    layers = [f"{layer.kind} {layer.digest}" for layer in made.layers]
    told = {
        "release": str(made.manifest),
        "layers": layers,
        "python": sys.version.split()[0],
        "custody": {tag: str(digest) for tag, digest in store.tags("wheels").items()},
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
