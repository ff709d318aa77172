"""The state workspace: what the tasks of one run hand on to each other. Training never sees it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.errors import OutsideError


@dataclass(frozen=True, slots=True)
class State:
    """The directory, and the names in it (docs/explanation/contract.md)."""

    root: Path

    @property
    def git(self) -> Path:
        """A bare clone, where the repository is a URL."""
        return self.root / "git"

    @property
    def cache(self) -> Path:
        """DVC's cache of this run."""
        return self.root / "dvc-cache"

    @property
    def lock(self) -> Path:
        """The recorded dvc.lock files, at their paths below the project's root."""
        return self.root / "lock"

    @property
    def kept(self) -> Path:
        """The `cache: false` outputs that the release's tag keeps, at their paths."""
        return self.root / "kept"

    @property
    def taken(self) -> Path:
        """The model artifact as validated, at its path below the project's root."""
        return self.root / "taken"

    @property
    def training(self) -> Path:
        """The train step's own end of the exchange."""
        return self.root / "training"

    def write(self, name: str, value: Mapping[str, Any] | list[Any]) -> None:
        """Write a JSON file whole, or not at all."""
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        write_file(self.root / name, text.encode())

    def read(self, name: str) -> Any:
        """A JSON file that an earlier task wrote. Raises OutsideError where it is not there."""
        try:
            return json.loads((self.root / name).read_bytes())
        except FileNotFoundError as exc:
            raise OutsideError(
                f"{self.root / name} is missing: an earlier task of this run writes it",
                hint="Run again: mlops run --again",
            ) from exc
        except ValueError as exc:
            raise OutsideError(
                f"{self.root / name} is damaged: {exc}", hint="Run again: mlops run --again"
            ) from exc

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()


def write_file(path: Path, content: bytes) -> None:
    """Write beside the target, sync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def emptied(path: Path) -> Path:
    """The directory, there and empty; what an attempt before this one left is gone."""
    path.mkdir(parents=True, exist_ok=True)
    for entry in path.iterdir():  # the directory itself stays: it may be a mount
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return path
