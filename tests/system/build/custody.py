"""Builds with custody, and a look into it."""

import json
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from mlops.adapters.layout import OciLayout
from mlops.adapters.packages import IndexedPackages
from mlops.adapters.uv import Uv
from mlops.build import locked, strategy
from mlops.build.custody import ARTIFACT
from mlops.build.shelf import PackageSource
from mlops.build.strategy import BuiltImage, EnvironmentRequest, Toolchain
from mlops.domain.digest import Digest
from mlops.domain.packagefile import PackageFile
from mlops.ports import Target
from tests.fakes.wheels import wheel
from tests.system.build.conftest import Bench

SECRET = "hunter2-Qx7k"
Settings = Callable[[str], None]


def build(
    bench: Bench, requirements: str, source: PackageSource | None = None, **more: object
) -> BuiltImage:
    uv = Uv(bench.wheels)
    request = EnvironmentRequest(
        "wine", bench.base, requirements.encode(), bench.wheels, server=False, rebuild=True
    )
    tools = Toolchain(uv, bench.runner, None, source or IndexedPackages(uv, bench.wheels))
    return strategy.build_environment(bench.store, replace(request, **more), tools)


class Counting:
    """A source that remembers what it was asked for."""

    def __init__(self, source: IndexedPackages) -> None:
        self.source = source
        self.asked, self.brought = list[list[str]](), list[str]()

    def find(
        self, requirements: bytes, target: Target, sources: Collection[str] = ()
    ) -> Sequence[PackageFile]:
        self.asked.append([pin.name for pin in locked.parse(requirements)])
        return self.source.find(requirements, target, sources)

    def bring(self, file: PackageFile, into: Path) -> None:
        self.brought.append(file.name)
        self.source.bring(file, into)


def forget(tmp_path: Path) -> None:
    """uv's cache is as on another machine."""
    shutil.rmtree(tmp_path / "uv-cache", ignore_errors=True)


def two(directory: Path) -> str:
    return wheel(directory, "one", {"one.py": "x = 1\n"}) + wheel(
        directory, "two", {"two.py": "x = 2\n"}
    )


def listed(store: OciLayout) -> list[dict[str, object]]:
    (digest,) = set(store.tags("wheels").values())
    document = json.loads(store.manifest(digest))
    assert document["artifactType"] == ARTIFACT
    return document["layers"]


def counting(bench: Bench) -> Counting:
    return Counting(IndexedPackages(Uv(bench.wheels), bench.wheels))


def lose(bench: Bench, name: str) -> None:
    """A file of that package is no longer in the store."""
    (found,) = (
        each["digest"]
        for each in listed(bench.store)
        if str(each["annotations"]["org.opencontainers.image.title"]).startswith(f"{name}-")
    )
    bench.store.blob_path(Digest.parse(str(found))).unlink()
