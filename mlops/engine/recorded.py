"""The records below releases/, followed from commit to commit without listing them anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.release import ReleaseRecord
from mlops.errors import ConfigError
from mlops.ports import FileEntry, SourceReader

_RECORD = re.compile(r"(?P<model>[^/]+)/(?P<hex>[0-9a-f]{64})\.json", re.ASCII)
_REGULAR = ("100644", "100755")


class Recorded:
    """Release → blob of its record, as of the commit that `follow` was told of last."""

    def __init__(self, reader: SourceReader, path: str, files: Iterable[FileEntry]) -> None:
        self._reader = reader
        self._prefix = f"{path}/releases/"
        self._blobs: dict[ReleaseId, str] = {}
        self._models: dict[Digest, set[str]] = {}
        for entry in files:
            release = self._release(entry.path)
            if release is not None:
                self._put(release, entry)

    @property
    def models(self) -> frozenset[str]:
        """The models that have a record."""
        return frozenset(release.model for release in self._blobs)

    def follow(self, files: Iterable[FileEntry]) -> Iterator[tuple[str, str]]:
        """Go on to the commit that leaves `files` changed; gives the path of each record that it
        spoils, and what happened to it. All of it must be read."""
        for entry in files:
            release = self._release(entry.path)
            if release is None:
                continue
            old = self._blobs.get(release)
            self._put(release, entry)
            if old is not None and self._blobs.get(release) != old:
                yield entry.path, "is changed" if entry.blob else "is removed"
            elif old is None and entry.blob and self._own(release) is None:
                yield entry.path, f"is not the record of {release.short}"

    def find(self, pinned: ReleaseId) -> ReleaseRecord | None:
        """The record of what an image pins: its own, else another model's of the same digest; None where
        there is none, or it is damaged."""
        models = sorted(self._models.get(pinned.digest, ()), key=lambda name: name != pinned.model)
        found = (self._own(ReleaseId(model, pinned.digest)) for model in models)
        return next((record for record in found if record is not None), None)

    def _release(self, path: str) -> ReleaseId | None:
        inside = path.removeprefix(self._prefix)
        match = _RECORD.fullmatch(inside) if inside != path else None
        return ReleaseId(match["model"], Digest(match["hex"])) if match else None

    def _put(self, release: ReleaseId, entry: FileEntry) -> None:
        if entry.blob and entry.mode in _REGULAR:
            self._blobs[release] = entry.blob
            self._models.setdefault(release.digest, set()).add(release.model)
        else:
            self._blobs.pop(release, None)
            self._models.get(release.digest, set()).discard(release.model)

    def _own(self, release: ReleaseId) -> ReleaseRecord | None:
        blob = self._blobs.get(release)
        if blob is None:
            return None
        try:
            record = ReleaseRecord.parse(self._reader.blob(blob), release.short)
        except ConfigError:
            return None
        return record if record.release == release else None
