"""What stands at a commit, as `mlops guard` reads it: nothing is trusted to be there or to be sound."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from mlops.config.environment import parse_holds, parse_quarantine
from mlops.domain.digest import Digest
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.domain.source import Commit
from mlops.errors import ConfigError
from mlops.manifests import kustomization
from mlops.policy.guard import Overlay
from mlops.ports import SourceReader

_REGULAR = ("100644", "100755")
_REMEMBERED = 256  # parsed files: neighbours share a blob, and memory stays flat

T = TypeVar("T")


class Standing:
    """Overlays and quarantine below `path`; a file is parsed once, however many commits
    carry it."""

    def __init__(self, reader: SourceReader, path: str) -> None:
        self._reader = reader
        self._path = path
        self._pins = lru_cache(_REMEMBERED)(self._read_pins)
        self._holds = lru_cache(_REMEMBERED)(self._read_holds)
        self._entries = lru_cache(_REMEMBERED)(self._read_entries)

    def overlay(self, commit: Commit, name: str) -> Overlay | None:
        """The environment `name`; None where it has no kustomization.yaml and no holds.yaml."""
        path = f"{self._path}/{name}/kustomization.yaml"
        holds = f"{self._path}/{name}/holds.yaml"
        found, fault = self._asked(commit, path, self._pins)
        held, holds_fault = self._asked(commit, holds, self._holds)
        if found is None and held is None and not fault and not holds_fault:
            return None
        pins, tags = found or ({}, {})
        return Overlay(pins, tags, held or (), fault, holds_fault)

    def quarantine(self, commit: Commit | None) -> tuple[tuple[QuarantineEntry, ...], str]:
        """The entries, and why they cannot be read where they cannot."""
        if commit is None:
            return (), ""
        found, fault = self._asked(commit, f"{self._path}/quarantine.yaml", self._entries)
        return found or (), fault

    def _asked(
        self, commit: Commit, path: str, parsed: Callable[[str, str], T]
    ) -> tuple[T | None, str]:
        """What a file says, or why it cannot be read; neither where it is absent."""
        entries = self._reader.files(commit, path)
        if not entries:
            return None, ""
        if entries[0].path != path or entries[0].mode not in _REGULAR:
            return None, f"{path}: expected a regular file; found a link or a directory"
        try:
            return parsed(entries[0].blob, path), ""
        except ConfigError as exc:
            return None, str(exc)

    def _read_pins(self, blob: str, path: str) -> tuple[dict[str, Digest], dict[str, str]]:
        document, found = kustomization.read(self._reader.blob(blob), path)
        pins = {pin.model: pin.digest for pin in found}
        images = document.value.get("images") or ()
        tags = {
            each["name"]: str(each["newTag"]) for each in images if each.get("newTag") is not None
        }
        return pins, {name: tag for name, tag in tags.items() if name not in pins}

    def _read_holds(self, blob: str, path: str) -> tuple[Hold, ...]:
        return parse_holds(self._reader.blob(blob), path)

    def _read_entries(self, blob: str, path: str) -> tuple[QuarantineEntry, ...]:
        return parse_quarantine(self._reader.blob(blob), path)
