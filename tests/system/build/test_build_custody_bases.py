"""Bases on their way into custody, where machines die and two locks meet."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.adapters.basesources import BaseSources
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images
from mlops.build import image
from mlops.build.layers import LayerKind, put_layer
from mlops.build.tar import Content
from mlops.domain.digest import Digest
from tests.system.build.test_build_custody_faults import sound
from tests.system.registry.servers import Running, start

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from start(tmp_path_factory.mktemp("registry"))


DYING_BASE = """
import os, signal, sys
from pathlib import Path
from mlops.adapters import layout
from mlops.adapters.basesources import BaseSources

put, count = layout.OciLayout.put_blob, [0]

def dying(self, path, digest, **more):
    put(self, path, digest, **more)
    count[0] += 1
    if count[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)

layout.OciLayout.put_blob = dying
place = Path(sys.argv[1])
BaseSources().fetch(sys.argv[2], place, "linux/amd64", layout.OciLayout(place / "store"))
"""


def based(place: Path) -> Digest:
    """An image of three layers, in the layout `bases`."""
    bases = OciLayout(place / "bases")
    layers = tuple(
        put_layer(bases, LayerKind.BASE, {f"etc/{name}": Content(name.encode())})
        for name in ("one", "two", "three")
    )
    return image.put(bases, image.Image("linux/amd64", layers), "python", "slim")


@pytest.mark.parametrize("remotely", [True, False])
def test_a_base_whose_copy_was_killed_is_copied_by_the_next(
    registry: Running, tmp_path: Path, remotely: bool
):
    digest = based(tmp_path)
    ref = "oci:bases:slim"
    if remotely:
        ref = f"{registry.host}/bases/{tmp_path.name.replace('_', '-')}:slim"
        images.push(OciLayout(tmp_path / "bases"), digest, Registry(ref[:-5]), tag="slim")
    died = subprocess.run(
        [sys.executable, "-c", DYING_BASE, str(tmp_path), ref],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    store = OciLayout(tmp_path / "store")
    assert not image.complete(store, digest)
    assert store.tags("base") == {}
    sound(tmp_path / "store")
    assert BaseSources().fetch(ref, tmp_path, "linux/amd64", store)[1] == digest
    assert image.complete(store, digest)
    sound(tmp_path / "store")


def test_two_locks_copy_one_base_at_once(tmp_path: Path):
    digest = based(tmp_path)
    both = threading.Barrier(2)
    found: list[Digest] = []

    class Together(OciLayout):
        def put_blob(self, path: Path, digest: Digest, *, known: bool = False) -> None:
            if path.is_relative_to(tmp_path / "bases"):
                both.wait(60)  # neither has it, and both bring it
            super().put_blob(path, digest, known=known)

    def lock() -> None:
        store = Together(tmp_path / "store")
        store.has_blob = lambda _: False  # type: ignore[method-assign]
        found.append(BaseSources().fetch("oci:bases:slim", tmp_path, "linux/amd64", store)[1])

    threads = [threading.Thread(target=lock) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == [digest, digest]
    assert image.complete(OciLayout(tmp_path / "store"), digest)
    assert len(OciLayout(tmp_path / "store").tags("base")) == 1
    sound(tmp_path / "store")
