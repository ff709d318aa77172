"""Packages in custody: copies of locked wheels and sdists in the image store, where builds look for them first.

An index may lose a release, a company its index; what was released must be built again then. So the files
of a requirements lock lie beside the images, as an artifact (OCI image-spec 1.1, "Guidelines for artifact
usage") in the repository `wheels`: a layer for each file, whose digest is the hash that the lock has of it. Its tag is
made of the lock and of what wheels were chosen for, so a build finds it without asking any index. A second tag names
the list that a model's last build wrote: of a lock that changed since, it has what did not change.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.build.image import MANIFEST_TYPE, canonical
from mlops.build.locked import Pin
from mlops.domain.digest import Digest
from mlops.domain.packagefile import PackageFile
from mlops.errors import RegistryError, UsageError
from mlops.ports import ImageStore, Target

REPOSITORY = "wheels"
ARTIFACT = "application/vnd.mlops.wheels.v1"
WHEEL = "application/vnd.mlops.wheel.v1+zip"
SDIST = "application/vnd.mlops.sdist.v1"
_TITLE = "org.opencontainers.image.title"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}(?:\.whl|\.tar\.gz|\.zip)", re.ASCII)
_MOST = 2000  # files


@dataclass(frozen=True, slots=True)
class Need:
    """What a build wants of custody: pins, the names among them that are built from source, and what wheels are
    chosen for."""

    pins: tuple[Pin, ...]
    target: Target
    sources: frozenset[str] = frozenset()

    @property
    def tag(self) -> str:
        lines = sorted(pin.line for pin in self.pins)
        return _tag("lock", [*_words(self.target), *lines, *sorted(self.sources)])

    def matched(self, files: Iterable[PackageFile]) -> dict[Pin, PackageFile]:
        """For each pin the file that has one of its hashes, where there is one: a wheel, or the sdist of what
        is built from source."""
        known = {file.digest: file for file in files}
        found = {}
        for pin in self.pins:
            for digest in pin.hashes:
                file = known.get(digest)
                if file is not None and file.is_wheel == (pin.name not in self.sources):
                    found[pin] = file
        return found


@dataclass(frozen=True, slots=True)
class Held:
    """What the lists in custody have of a need. `exact`: the need's own list has all of it and nothing
    beside; `broken` says what is wrong with a list."""

    files: Mapping[Pin, PackageFile]
    exact: bool = False
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Custody:
    """The custody of one store. `prefix` stands before repository names, empty in a layout; `model` is whose
    builds ask."""

    store: ImageStore
    prefix: str = ""
    model: str = ""

    @property
    def repository(self) -> str:
        return f"{self.prefix}{REPOSITORY}"

    @property
    def place(self) -> str:
        """Where that is, for people."""
        return self.repository if self.prefix else f"{REPOSITORY} in {self.store.location}"

    def held(self, need: Need) -> Held:
        """What is listed of a need; no bytes are looked at. Raises RegistryError where the store cannot be asked."""
        broken = ""
        found: dict[Pin, PackageFile] = {}
        for tag in (need.tag, self._last(need.target)):
            digest = self.store.resolve(self.repository, tag)
            if digest is None:
                continue
            try:
                files = tuple(_files(self.store.manifest(digest), digest))
            except _NoListError as exc:
                broken = str(exc)
                continue
            found = need.matched(files) | found
            if len(found) == len(need.pins):
                return Held(found, tag == need.tag and len(files) == len(found), broken)
        return Held(found, broken=broken)

    def file(self, file: PackageFile) -> Path | None:
        """The bytes of a listed file, whose digest is for the caller to check; None where the store lost
        them. Raises RegistryError."""
        try:
            return self.store.blob_path(file.digest)
        except RegistryError:
            if self.store.has_blob(file.digest):
                raise
            return None

    def record(self, files: Mapping[Pin, PackageFile], need: Need) -> None:
        """List the files of a need, all of which the store has: from now on it has them in custody.

        Raises RegistryError where the store does not take them."""
        described = [
            _described(file, self.store.blob_path(file.digest).stat().st_size)
            for file in sorted(set(files.values()), key=lambda each: each.name)
        ]
        with self.store.staging() as staging:
            path = staging / secrets.token_hex(8)
            try:
                path.write_bytes(_EMPTY)
            except OSError as exc:
                raise RegistryError(
                    f"cannot write to {self.place}: {exc.strerror}", retryable=True
                ) from exc
            self.store.put_blob(path, Digest.of(_EMPTY))
        content = canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": ARTIFACT,
                "config": {
                    "mediaType": _EMPTY_TYPE,
                    "digest": str(Digest.of(_EMPTY)),
                    "size": len(_EMPTY),
                },
                "layers": described,
            }
        )
        for tag in (need.tag, self._last(need.target)):
            self.store.put_manifest(content, MANIFEST_TYPE, self.repository, tag)

    def _last(self, target: Target) -> str:
        return _tag("last", [self.model, *_words(target)])


def _words(target: Target) -> list[str]:
    return [target.platform, target.python, target.libc]


def _tag(kind: str, words: Sequence[str]) -> str:
    return f"{kind}-{hashlib.sha256(chr(10).join(words).encode()).hexdigest()[:24]}"


def _described(file: PackageFile, size: int) -> dict[str, Any]:
    kind = WHEEL if file.is_wheel else SDIST
    named = {_TITLE: file.name}
    return {"mediaType": kind, "digest": str(file.digest), "size": size, "annotations": named}


class _NoListError(Exception):
    """What a tag names is none of our lists."""


def _files(content: bytes, digest: Digest) -> Iterator[PackageFile]:
    """What a manifest lists: from a store that others write to, so nothing of it is taken on trust."""
    try:
        layers = json.loads(content)["layers"]
        if len(layers) > _MOST:
            raise ValueError(f"{len(layers)} wheels")
        for layer in layers:
            name = layer["annotations"][_TITLE]
            if not isinstance(name, str) or _NAME.fullmatch(name) is None:
                raise ValueError(name)
            yield PackageFile(name, Digest.parse(layer["digest"]), int(layer["size"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UsageError) as exc:
        raise _NoListError(f"{digest} is no list of wheels: {exc!r:.200}") from exc
