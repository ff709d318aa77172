"""The CustomResourceDefinitions of Argo CD and Flux, as their own releases have them.

They come from the Go modules of pinned versions, by the Go toolchain's own cache outside of the checkout.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tests.cluster import pins


@dataclass(frozen=True, slots=True)
class Release:
    """A module at a version, the hash of its content as go.sum has it, and its files."""

    module: str
    version: str
    sum: str
    files: tuple[str, ...]


RELEASES = (
    Release(
        "github.com/argoproj/argo-cd/v3",
        "v3.5.7",
        "h1:Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0=",
        ("manifests/crds/application-crd.yaml", "manifests/crds/applicationset-crd.yaml"),
    ),
    Release(
        "github.com/fluxcd/kustomize-controller",
        "v1.9.6",
        "h1:XB+G3A0mky0j5uVHZWv4oSlS2RvZBoNIUhstIvY0JKE=",
        ("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",),
    ),
    Release(
        "github.com/fluxcd/source-controller",
        "v1.9.6",
        "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc=",
        ("config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",),
    ),
)


@cache
def definitions() -> tuple[Path, ...]:
    """The files. Fails where a module is not to be had, or is another than was pinned."""
    return tuple(_module(each) / name for each in RELEASES for name in each.files)


def names() -> tuple[str, ...]:
    """What they define: `applications.argoproj.io` and others."""
    return tuple(
        str(found["metadata"]["name"])
        for path in definitions()
        for found in yaml.safe_load_all(path.read_text())
        if found
    )


def _module(wanted: Release) -> Path:
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"{wanted.module}@{wanted.version}"],
        cwd=pins.MODULES / "etcd",  # any module: without one, go takes flags for one amiss
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["Sum"] == wanted.sum, f"{wanted.module}: {found['Sum']} is not what was pinned"
    return Path(found["Dir"])
