"""The programs of the cluster, built by Go from the modules that modules/*/go.mod pin.

They are kept below the cache by the hash of pins, flags and Go's version, and found there the next time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.layout import CACHE, HERE, MissingError

MODULES = HERE / "modules"
TEKTON = "github.com/tektoncd/pipeline"
KUBERNETES = "v1.36.3"
_ROOM = 15 << 30  # bytes that Go's caches and the programs may take
_VERSION = {
    "gitVersion": KUBERNETES,
    "gitMajor": "1",
    "gitMinor": "36",
    "gitTreeState": "clean",
}
_FLAGS: Mapping[str, str] = {
    "kubernetes": " ".join(
        f"-X {package}.{key}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for key, value in _VERSION.items()
    )
}
_ORDER = ("tekton", "kubernetes", "etcd", "containerd")


def binaries() -> Path:
    """The directory of the programs, built where they are not there. Raises MissingError without Go."""
    go = _go()
    directory = CACHE / f"bin-{_key(go)}"
    if (directory / ".whole").exists():
        return directory
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "building").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / ".whole").exists():
            _build(go, directory)
    return directory


def module_directory(name: str = TEKTON) -> Path:
    """The source of a pinned module of Tekton's: its configuration lies there."""
    found = subprocess.run(
        [_go(), "mod", "download", "-json", name],
        cwd=MODULES / "tekton",
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(json.loads(found.stdout)["Dir"])


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise MissingError(
            "Go builds the cluster's programs, and is not here: apt-get install golang-go"
        )
    return found


def _key(go: str) -> str:
    hashed = hashlib.sha256()
    version = subprocess.run([go, "env", "GOVERSION"], check=True, capture_output=True).stdout
    hashed.update(version + repr(sorted(_FLAGS.items())).encode())
    for name in _ORDER:
        for file in ("go.mod", "go.sum"):
            hashed.update((MODULES / name / file).read_bytes())
    return hashed.hexdigest()[:16]


def _build(go: str, directory: Path) -> None:
    free = shutil.disk_usage(CACHE).free
    if free < _ROOM:
        raise MissingError(
            f"building the cluster takes up to {_ROOM >> 30} GB, and {CACHE} has {free >> 30} left"
        )
    beside = directory.with_name(f"{directory.name}.tmp")
    beside.mkdir(exist_ok=True)
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    began = time.monotonic()
    for name in _ORDER:
        flags = f"-s -w {_FLAGS.get(name, '')}".strip()
        print(f"building {name} …", file=sys.stderr, flush=True)
        since = time.monotonic()
        subprocess.run(
            [go, "build", "-trimpath", "-ldflags", flags, "-o", f"{beside}/", "tool"],
            cwd=MODULES / name,
            env=env,
            check=True,
        )
        print(f"  {time.monotonic() - since:.0f} s", file=sys.stderr, flush=True)
    (beside / ".whole").touch()
    shutil.rmtree(directory, ignore_errors=True)
    beside.rename(directory)
    for old in CACHE.glob("bin-*"):
        if old != directory:
            shutil.rmtree(old, ignore_errors=True)
    print(f"built in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
