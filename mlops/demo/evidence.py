"""What really stands in the demo's repository and registry: read straight from git and the disk."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.adapters import process
from mlops.demo.stage import DemoError, Output
from mlops.domain.digest import ReleaseId
from mlops.errors import GitError

_RELEASE = re.compile(r"wine@sha256:[0-9a-f]{64}")
_PIN = re.compile(r"digest: [\"']?sha256:([0-9a-f]{64})")


def released(output: Output) -> ReleaseId:
    """The release that `mlops run` printed. Raises DemoError where it printed none."""
    found = _RELEASE.findall(output.text)
    if not found:
        raise DemoError("the demo stopped: mlops run printed no release")
    return ReleaseId.parse(found[-1])


@dataclass(frozen=True, slots=True)
class Evidence:
    """Reads the bare remote, where every change that counts has been pushed."""

    remote: Path

    def read(self, path: str) -> str:
        """A file on the remote's main branch; empty where there is none."""
        done = process.run(
            ["git", "--git-dir", str(self.remote), "show", f"main:{path}"],
            doing=f"reading {path}",
            check=False,
            error=GitError,
        )
        return done.text if done.code == 0 else ""

    def pin(self, environment: str) -> str:
        """The digest (hex) that an environment pins; empty where it pins none."""
        match = _PIN.search(self.read(f"environments/{environment}/kustomization.yaml"))
        return match.group(1) if match else ""

    def held(self, environment: str) -> bool:
        return "wine" in self.read(f"environments/{environment}/holds.yaml")

    def record(self, release: ReleaseId) -> dict[str, Any]:
        """The record of a release. Raises DemoError where there is none."""
        text = self.read(f"environments/releases/wine/{release.digest.hex}.json")
        if not text:
            raise DemoError(f"the demo stopped: {release.short} has no record")
        document: dict[str, Any] = json.loads(text)
        return document

    def layers(self, release: ReleaseId, *kinds: str) -> list[str]:
        """The digests of the layers of these kinds, in order."""
        layers = self.record(release)["layers"]
        return [layer["digest"] for layer in layers if layer["kind"] in kinds]
