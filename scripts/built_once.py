"""Builds releases once, from what a description names, in a process of its own that an emulator may carry.

    [qemu-x86_64 -cpu MODEL] python scripts/built_once.py DESCRIPTION < /dev/null

DESCRIPTION is a JSON file, see `scripts/processors.py`. It prints a JSON object: by model, the digest of its release.
With MLOPS_EMULATOR (a path and its arguments, as a shell has them), the programs that a build starts, uv and the base's
Python, run in that emulator too: one that emulates a process does not follow it into others.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.bases import LocalBases
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import strategy
from mlops.build.strategy import EnvironmentRequest, PinnedBase, ReleaseRequest, Toolchain
from mlops.domain.digest import Digest
from mlops.domain.source import Commit
from mlops.ports import Bind

_INSIDE = "/mnt/emulator"


@dataclass(frozen=True, slots=True)
class EmulatedBase:
    """Meets `build.toolchain.BaseRunner`: as a sandbox does, with each program below an emulator."""

    base: SandboxedBase
    emulator: tuple[str, ...]

    def root(self, manifest: Digest) -> Path:
        return self.base.root(manifest)

    def run(
        self,
        manifest: Digest,
        argv: Sequence[str],
        *,
        doing: str,
        binds: Sequence[Bind] = (),
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        network: bool = False,
        timeout: float = 600.0,
    ) -> bytes:
        if self.emulator:
            program, *arguments = self.emulator
            binds = (*binds, Bind(Path(program), _INSIDE))
            argv = (_INSIDE, *arguments, *argv)
        return self.base.run(
            manifest,
            argv,
            doing=doing,
            binds=binds,
            env=env,
            stdin=stdin,
            network=network,
            timeout=timeout * 20,
        )


def installer(place: Path, emulator: Sequence[str]) -> Uv:
    """uv, below the emulator where there is one."""
    uv = Uv(place)
    if emulator:
        shim = place / "uv"
        shim.write_text(
            f'#!/bin/sh\nexec {shlex.join(emulator)} {shlex.quote(str(uv.program))} "$@"\n'
        )
        shim.chmod(0o755)
        uv.__dict__["program"] = shim  # a cached property
    return uv


def build(told: Mapping[str, Any], emulator: Sequence[str]) -> dict[str, str]:
    """The environment once, and on it each release. Raises BuildError, RegistryError."""
    place = Path(told["place"])
    place.mkdir(parents=True)
    store = OciLayout(place / "registry")
    runner = EmulatedBase(SandboxedBase(store, place / "cache"), tuple(emulator))
    tools = Toolchain(installer(place, emulator), runner, LocalBases())
    base = told["base"]
    pinned = PinnedBase(
        base["ref"], Digest.parse(base["digest"]), Digest.parse(base["manifest"]), base["platform"]
    )
    lock = Path(told["requirements"]).read_bytes()
    wanted = EnvironmentRequest(told["releases"][0]["model"], pinned, lock, place)
    environment = strategy.build_environment(store, wanted, tools).manifest
    made = {}
    for release in told["releases"]:
        request = ReleaseRequest(
            release["model"],
            Commit(release["commit"]),
            datetime.fromisoformat(release["committed"]),
            environment,
            Path(release["tree"]),
            tuple(release["code"]),
            release["artifact"],
        )
        made[release["model"]] = str(strategy.build_release(store, request).manifest)
    return made


def main() -> int:
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    emulator = shlex.split(os.environ.get("MLOPS_EMULATOR", ""))
    sys.stdout.write(json.dumps(build(told, emulator)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
