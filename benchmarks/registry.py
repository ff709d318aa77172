"""Push and pull of an image against `skopeo copy`, on a real registry of this machine.

Run: python benchmarks/registry.py [ROUNDS] [MEGABYTES]. Needs docker-registry and skopeo. Each push goes
to a registry of its own, empty; each pull into a new layout. Whole processes, in turn.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import compiled, median_ratio, seconds, write

sys.path.insert(0, str(Path(__file__).parent.parent))
from mlops.adapters.layout import OciLayout
from mlops.domain.digest import Digest
from tests.system.registry.servers import start

LAYERS = 6
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PUSH = """
import sys
from pathlib import Path
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images
from mlops.domain.digest import Digest
images.push(OciLayout(Path(sys.argv[1])), Digest.parse(sys.argv[2]), Registry(sys.argv[3]), tag="v1")
"""
PULL = """
import sys
from pathlib import Path
from mlops.adapters.layout import OciLayout
from mlops.adapters.pulling import pull
from mlops.adapters.registry import Registry
from mlops.domain.digest import Digest
pull(Registry(sys.argv[3]), Digest.parse(sys.argv[2]), OciLayout(Path(sys.argv[1])))
"""
OURS, THEIRS = "mlops", "skopeo copy"


def image(layout: OciLayout, megabytes: int) -> Digest:
    """An image of layers that do not compress, the first half of the bytes in one of them."""
    sizes = [megabytes // 2, *[megabytes // 2 // (LAYERS - 1)] * (LAYERS - 1)]
    described, diff_ids = [], []
    for size in sizes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo("content")
            info.size = size << 20
            tar.addfile(info, io.BytesIO(os.urandom(info.size)))
        packed = gzip.compress(out.getvalue(), 1, mtime=0)
        diff_ids.append(str(Digest.of(out.getvalue())))
        described.append(put(layout, packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(layout, config, "application/vnd.oci.image.config.v1+json"),
        "layers": described,
    }
    return layout.put_manifest(json.dumps(document).encode(), MANIFEST, "bench", "v1")


def put(layout: OciLayout, content: bytes, kind: str) -> dict[str, object]:
    digest = Digest.of(content)
    with layout.staging() as staging:
        (staging / "x").write_bytes(content)
        layout.put_blob(staging / "x", digest)
    return {"mediaType": kind, "digest": str(digest), "size": len(content)}


@contextmanager
def registry(scratch: Path) -> Iterator[str]:
    """An empty registry; its `host:port`."""
    place = Path(tempfile.mkdtemp(dir=scratch))
    running = start(place)
    try:
        yield next(running).host
    finally:
        running.close()
        shutil.rmtree(place)


def push(who: str, layout: OciLayout, digest: Digest, host: str) -> float:
    ours = [sys.executable, "-c", PUSH, str(layout.root), str(digest), f"{host}/bench"]
    theirs = [
        *("skopeo", "copy", "--quiet", "--dest-tls-verify=false"),
        *(f"oci:{layout.root}:bench:v1", f"docker://{host}/bench:v1"),
    ]
    return seconds(ours if who == OURS else theirs)


def pull(who: str, scratch: Path, digest: Digest, host: str) -> float:
    place = scratch / "pulled"
    ours = [sys.executable, "-c", PULL, str(place), str(digest), f"{host}/bench"]
    theirs = [
        *("skopeo", "copy", "--quiet", "--src-tls-verify=false"),
        *(f"docker://{host}/bench:v1", f"oci:{place}:v1"),
    ]
    try:
        return seconds(ours if who == OURS else theirs)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    compiled()
    load = os.getloadavg()[0]
    times: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        layout = OciLayout(scratch / "layout")
        digest = image(layout, megabytes)
        for turn in range(rounds + 1):
            for who in (OURS, THEIRS):
                with registry(scratch) as host:
                    took = {
                        "push": push(who, layout, digest, host),
                        "push again": push(who, layout, digest, host),
                        "pull": pull(who, scratch, digest, host),
                    }
                for what, each in took.items() if turn else ():
                    times.setdefault((what, who), []).append(each)
    rows = [
        (
            what,
            who,
            f"{statistics.median(found):.2f}",
            f"{megabytes / statistics.median(found):.0f}",
            f"{median_ratio(found, times[what, THEIRS]):.2f}",
        )
        for (what, who), found in times.items()
    ]
    remark = (
        f"{megabytes} MiB in {LAYERS} layers, Debian's docker-registry on loopback, {rounds} rounds in"
        " turn, whole processes. Ours writes what it pulls through to the disk before it has its name."
        f" Load average when it began: {load:.1f}."
    )
    headings = ("what", "by", "median, s", "MiB/s", "ratio to skopeo")
    write("registry", "An image to and from a registry", headings, rows, remark)


if __name__ == "__main__":
    main()
