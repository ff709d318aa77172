"""The train step's end of the exchange: lays the runner down, makes the shell that DVC starts."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops.errors import ExecutorError, RefusedError
from mlops.steps import shim

_HERE = Path(__file__).resolve().parent
_POLL = 0.01  # seconds


@dataclass(frozen=True, slots=True)
class Failure:
    """A command that failed; `reason` is empty where it ended by itself, with `code`."""

    stage: str
    code: int
    reason: str
    command: str

    @property
    def text(self) -> str:
        what = f"stage {self.stage}" if self.stage else f"command {self.command!r}"
        told = f"{what} failed (exit {self.code})"
        return f"{told}: {self.reason}" if self.reason else told


@dataclass(frozen=True, slots=True)
class Exchange:
    """`directory` is shared with the sidecar, `own` is the step's alone."""

    directory: Path
    own: Path

    def prepare(self, env: Mapping[str, str]) -> None:
        """Lay the runner down for the sidecar, and `shell` and the variables for the shim."""
        self.own.mkdir(parents=True, exist_ok=True)
        for left in (self.own / "failure", self.own / "took", self.directory / shim.SOCKET):
            left.unlink(missing_ok=True)  # of an attempt before this one
        pairs = (os.fsencode(f"{name}={value}") for name, value in env.items())
        (self.own / "environment").write_bytes(b"\0".join(pairs))
        program = shlex.join([sys.executable, "-IS", str(_HERE / "shim.py")])
        self.shell.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        self.shell.chmod(0o755)
        laid = self.directory / "runner.py"
        new = self.directory / "runner.py.new"
        new.write_bytes((_HERE / "runner.py").read_bytes())
        new.replace(laid)  # the sidecar waits for the name: it must never see half a file

    def keep(self, tree: Path) -> None:
        """Remember DVC's configuration of `tree`, which the shim puts back after each command."""
        kept = self.own / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        for name in ("config", "config.local"):
            path = tree / ".dvc" / name
            if path.is_file():
                (kept / name).write_bytes(path.read_bytes())

    @property
    def shell(self) -> Path:
        return self.own / "shell"

    def variables(self, source: Path) -> dict[str, str]:
        """What the shim needs in its environment; `source` is the source workspace here."""
        return {
            "SHELL": str(self.shell),
            "MLOPS_SHIM": str(self.own),
            "MLOPS_EXCHANGE": str(self.directory),
            "MLOPS_SOURCE": str(source),
        }

    def wait(self, image: str, timeout: float = 120.0) -> None:
        """Until the sidecar listens; `timeout` in seconds. Raises RefusedError where the image has
        no Python for the runner, ExecutorError where nothing answers."""
        end = time.monotonic() + timeout
        refused = self.directory / "refused"
        while not (self.directory / shim.SOCKET).exists():
            if refused.is_file() and not refused.is_symlink():
                with refused.open("rb") as file:
                    why = file.read(500).decode(errors="replace").strip()
                raise RefusedError(f"{image}: {why}", hint="Choose another base in mlops.yaml")
            if time.monotonic() > end:
                raise ExecutorError(f"the sidecar of {image} did not answer in {timeout:g} s")
            time.sleep(_POLL)

    def took(self) -> dict[str, float]:
        """Stage → seconds that its commands took, in the order they ran."""
        found: dict[str, float] = {}
        try:
            text = (self.own / "took").read_text(errors="surrogateescape")
        except FileNotFoundError:
            return found
        for line in text.splitlines():
            stage, _, seconds = line.rpartition("\t")
            found[stage] = found.get(stage, 0.0) + float(seconds)
        return found

    def failure(self) -> Failure | None:
        """What failed last, None where nothing did."""
        try:
            text = (self.own / "failure").read_text(errors="surrogateescape")
        except FileNotFoundError:
            return None
        stage, code, reason, command = text.split("\n", 3)
        return Failure(stage, int(code), reason, command)
