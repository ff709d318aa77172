"""A real clone with overlays, records and pins in it, changed as people and other tools change it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops.domain.environment import Hold, QuarantineEntry
from mlops.domain.message import compose
from mlops.domain.release import record_path
from mlops.manifests import kustomization
from mlops.manifests.overlay import dump_holds, dump_quarantine
from tests.fakes.estate import digest, overlays, record

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
PROJECT = b"""apiVersion: mlops/v1
kind: Project
name: demo
models:
  eggs: {paths: ["**"]}
  spam: {paths: ["**"]}
"""


def held(name: str | None, model: str = "spam", **more: Any) -> Hold:
    """A hold in force, with the digest of the release `name` in it."""
    return replace(Hold(model, NOW, "Ada", "INC-7", digest(name) if name else None), **more)


def banned(name: str, model: str = "spam", **more: Any) -> QuarantineEntry:
    return replace(QuarantineEntry(model, digest(name), NOW, "Ada", "leaks"), **more)


@dataclass
class Deployment:
    """A repository of pins on disk; every method that changes it makes one commit and gives its SHA."""

    where: Path

    def git(self, *args: str, code: int = 0, text: str | None = None) -> str:
        done = subprocess.run(
            ["git", *args],
            cwd=self.where,
            env=dict(os.environ),
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout.strip()

    @classmethod
    def begin(cls, where: Path, *names: str) -> Deployment:
        """Overlays, and the records of the releases `names` of spam."""
        found = cls(where)
        files = {"mlops.yaml": PROJECT, **overlays()}
        files |= {record_path("environments", "spam", digest(n)): record(n).dump() for n in names}
        found.commit(files, "begin")
        return found

    def commit(self, files: Mapping[str, bytes | None], message: str = "by hand") -> str:
        self.change(files)
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    def change(self, files: Mapping[str, bytes | None]) -> None:
        for path, content in files.items():
            target = self.where / path
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        self.git("add", "-A")

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def pinned(
        self, name: str | None, environment: str = "prod", model: str = "spam"
    ) -> dict[str, bytes | None]:
        path = f"environments/{environment}/kustomization.yaml"
        content = (self.where / path).read_bytes()
        if name is None:
            return {path: kustomization.without_pin(content, model, path)}
        return {path: kustomization.with_pin(content, model, digest(name), path)}

    def holds(self, *holds: Hold, environment: str = "prod") -> dict[str, bytes | None]:
        return {f"environments/{environment}/holds.yaml": dump_holds(holds)}

    def quarantine(self, *entries: QuarantineEntry) -> dict[str, bytes | None]:
        return {"environments/quarantine.yaml": dump_quarantine(entries)}

    def recorded(self, name: str, model: str = "spam", **more: Any) -> dict[str, bytes | None]:
        made = record(name, model, **more)
        return {record_path("environments", model, digest(name)): made.dump()}

    def ours(self, action: str, files: Mapping[str, bytes | None], *more: tuple[str, str]) -> str:
        """With the trailers of ours."""
        return self.commit(files, compose(action, [("Mlops-Action", action), *more]))
