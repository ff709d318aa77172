"""kustomize, by its own command or kubectl's: renders overlays as Argo CD and Flux would."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mlops.adapters import process
from mlops.errors import OutsideError

_OLDEST = 5  # kustomize 4 reads `images:` otherwise; Debian's own kubectl carries it
_VERSION = re.compile(r"v?(\d+)\.\d+\.\d+")
_ASKING = 5.0  # seconds


class Kustomize:
    """Meets `ports.Renderer`. Finds `kustomize` or `kubectl` (with kustomize 5 or later) on PATH."""

    @cached_property
    def name(self) -> str:
        return " ".join(self._command)

    @cached_property
    def _command(self) -> tuple[str, ...]:
        """How to call it; empty where neither is there, or they are too old."""
        ways = (
            (("kustomize", "build"), ("kustomize", "version")),
            (("kubectl", "kustomize"), ("kubectl", "version", "--client")),
        )
        for command, version in ways:
            if shutil.which(command[0]) is None:
                continue
            try:
                done = process.run(
                    version, doing="asking kustomize for its version", timeout=_ASKING
                )
            except OutsideError:
                continue
            if _new_enough(done.text):
                return command
        return ()

    def render(self, files: Mapping[str, bytes], overlay: str, timeout: float) -> bytes:
        """See `ports.Renderer`. Writes the files into a directory of its own, and removes it.

        Raises OutsideError where a path leads out of that directory, too."""
        if not self._command:
            raise OutsideError(
                "neither kustomize nor kubectl (with kustomize 5) is here", hint="Run: mlops doctor"
            )
        with tempfile.TemporaryDirectory(prefix="mlops-render-") as scratch:
            root = Path(scratch).resolve()
            for path, content in files.items():
                target = (root / path).resolve()
                if not target.is_relative_to(root):
                    raise OutsideError(f"{path!r} leads out of the repository")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            done = process.run(
                [*self._command, str(root / overlay)],
                doing=f"rendering {overlay}",
                timeout=timeout,
                check=False,
            )
            if done.code != 0:
                said = done.complaint.replace(f"{root}/", "")
                raise OutsideError(f"{overlay} does not render: {said}")
            return done.stdout


def _new_enough(text: str) -> bool:
    """Whether `kustomize version` or `kubectl version --client` speaks of kustomize 5 or later."""
    line = next((line for line in text.splitlines() if "kustomize" in line.lower()), text.strip())
    found = _VERSION.search(line)
    return found is not None and int(found[1]) >= _OLDEST
