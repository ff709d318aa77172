"""The memory that a release takes to build and push, by the size of its model.

Run: python benchmarks/model_memory.py. Needs docker-registry and 8 GB of disk. Each build is a process of its own; the
figure is its peak resident size.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import write

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.system.registry.servers import start

SIZES = (100, 2000)  # MB
BUILD = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images
from mlops.adapters.uv import Uv
from mlops.build import host, strategy
from mlops.build.strategy import EnvironmentRequest, PinnedBase, ReleaseRequest, Toolchain
from mlops.domain.source import Commit
place = Path(sys.argv[1])
store = OciLayout(place / "registry")
base, platform = host.pack(store, Uv(place))
pinned = PinnedBase("host", base, base, platform)
environment = strategy.build_environment(
    store, EnvironmentRequest("wine", pinned, b"", place, server=False), Toolchain(Uv(place))
)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = strategy.build_release(
    store,
    ReleaseRequest(
        "wine", Commit("0123456789abcdef0123456789abcdef01234567"), datetime(2024, 5, 6, tzinfo=UTC),
        environment.manifest, place / "tree", ("src",), "model.bin", ("python", "-m", "src.serve"),
    ),
)
built = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images.push(store, made.manifest, Registry(f"{sys.argv[2]}/wine"), tag="v1")
pushed = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(before, built, pushed)
"""


def measured(scratch: Path, megabytes: int, host: str) -> list[float]:
    """Peaks in MB before the release, after it is built, after it is pushed."""
    place = scratch / str(megabytes)
    (place / "tree/src").mkdir(parents=True)
    (place / "tree/src/serve.py").write_text("print('serving')\n")
    with (place / "tree/model.bin").open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(place), host], check=True, capture_output=True, text=True
    )
    return [int(text) * 1024 / 1e6 for text in done.stdout.split()]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "server").mkdir()
        running = start(scratch / "server")
        try:
            host = next(running).host
            found = {size: measured(scratch, size, host) for size in SIZES}
        finally:
            running.close()
    least = found[SIZES[0]]
    rows = [
        (
            f"{size} MB",
            *(f"{peak:.1f}" for peak in peaks),
            f"{peaks[-1] - least[-1]:+.1f}",
        )
        for size, peaks in found.items()
    ]
    headings = ("model", "before, MB", "built, MB", "pushed, MB", f"against {SIZES[0]} MB")
    remark = "Peak resident size of one process that builds the release and pushes it to docker-registry."
    write("model_memory", "Memory by the size of the model", headings, rows, remark)


if __name__ == "__main__":
    main()
