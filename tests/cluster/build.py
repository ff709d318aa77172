"""Compiles the cluster's programs, once for each state of the pins."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from tests.cluster import pins
from tests.cluster.requirements import MissingError

# Kubernetes 1.36 built with Go 1.27 answers a broken OpenAPI v2 document
GO = (1, 26)
ROOM = 20 * 10**9  # bytes: the build cache takes 10 GB, and what it makes 1


def say(line: str) -> None:
    """A line of the story."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def build(*modules: str) -> pins.Built:
    """Where the programs and manifests of each module are, made where they are not whole; of all modules
    where none is named.

    May be interrupted: what is built already stays. Raises MissingError, and
    subprocess.CalledProcessError where a program does not compile.
    """
    built = pins.built()
    wanted = modules or tuple(built.places)
    wanting = [module for module in wanted if not _whole(module, built.places[module])]
    if wanting:
        _check()
    for module in wanting:
        _build(module, built.places[module])
    return built


def _build(module: str, place: Path) -> None:
    (place / "bin").mkdir(parents=True, exist_ok=True)
    programs = pins.programs(module)
    with (place / "lock").open("w") as lock:
        _wait(lock)
        begun = time.monotonic()
        for number, program in enumerate(programs, 1):
            if not (place / "bin" / program.name).exists():
                _compile(program, place / "bin", f"{module} {number}/{len(programs)}")
        if module in pins.MANIFESTS:
            _config(module, place)
        say(f"built into {place} in {time.monotonic() - begun:.0f} s")


def _wait(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another process compiles the same programs: waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _whole(module: str, place: Path) -> bool:
    made = (place / "bin" / program.name for program in pins.programs(module))
    return all(path.exists() for path in made) and (
        module not in pins.MANIFESTS or (place / "config").is_dir()
    )


def _check() -> None:
    found = pins.toolchain()
    if found == (0, 0):
        raise MissingError("Go is not here, and the cluster is compiled: install Go 1.26")
    if found != GO:
        raise MissingError(f"Go is {found[0]}.{found[1]}, and the cluster needs {GO[0]}.{GO[1]}")
    pins.CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(pins.CACHE).free
    if free < ROOM:
        raise MissingError(
            f"{free // 10**9} GB are free below {pins.CACHE}, and compiling needs {ROOM // 10**9}"
        )


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "CGO_ENABLED": "0",  # static: they run in images from scratch too
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-p=2 -buildvcs=false -mod=readonly",
    }


def _compile(program: pins.Program, directory: Path, counted: str) -> None:
    begun = time.monotonic()
    say(f"[{counted}] compiling {program.name}")
    made = directory / f".{program.name}"
    subprocess.run(
        [
            *("nice", "-n", "10", "go", "build", "-trimpath"),
            *("-ldflags", pins.link_flags(program), "-o", str(made), program.package),
        ],
        cwd=pins.MODULES / program.module,
        env=_environment(),
        check=True,
    )
    made.replace(directory / program.name)
    size = (directory / program.name).stat().st_size
    say(f"[{counted}] {program.name}: {time.monotonic() - begun:.0f} s, {size / 1e6:.0f} MB")


def _config(module: str, place: Path) -> None:
    """The manifests, as they lie in the Go module."""
    if (place / "config").exists():
        return
    done = subprocess.run(
        ["go", "mod", "download", "-json", pins.MANIFESTS[module]],
        cwd=pins.MODULES / module,
        env=_environment(),
        check=True,
        stdout=subprocess.PIPE,
    )
    made = place / ".config"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(Path(json.loads(done.stdout)["Dir"]) / "config", made)
    for path in (made, *made.rglob("*")):  # the module cache is read-only
        path.chmod(0o755 if path.is_dir() else 0o644)
    made.rename(place / "config")
