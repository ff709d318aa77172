"""Packages in custody: copies of locked wheels in the image store, where builds look for them first.

An index may lose a release, a company its index; what was released must be built again then. So the wheels
of a requirements lock lie beside the images, as an artifact (OCI image-spec 1.1, "Guidelines for artifact
usage") in the repository `wheels`: a layer for each wheel, whose digest is the hash that the lock has of it. Its tag is
made of the lock and of what wheels were chosen for, so a build finds it without asking any index.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlops.build.image import MANIFEST_TYPE, canonical
from mlops.build.locked import Pin
from mlops.domain.digest import Digest
from mlops.domain.wheel import Wheel
from mlops.errors import BuildError, MlopsError, RegistryError, UsageError
from mlops.ports import ImageStore, Target

REPOSITORY = "wheels"
ARTIFACT = "application/vnd.mlops.wheels.v1"
WHEEL = "application/vnd.mlops.wheel.v1+zip"
_TITLE = "org.opencontainers.image.title"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}\.whl", re.ASCII)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_MOST = 2000  # wheels


class PackageSource(Protocol):
    """Where wheels come from the first time. `adapters.wheels.IndexedWheels` is one."""

    def find(self, requirements: bytes, target: Target) -> Sequence[Wheel]:
        """The wheels that hashed requirements stand for on a target. Raises BuildError where an index
        is away, or has none that fits."""
        ...

    def bring(self, wheel: Wheel, into: Path) -> None:
        """Write the bytes of a wheel that `find` gave; they have its digest. Raises BuildError."""
        ...


@dataclass(frozen=True, slots=True)
class Custody:
    """The custody of one store. `prefix` stands before repository names, empty in a layout."""

    store: ImageStore
    prefix: str = ""

    @property
    def repository(self) -> str:
        return f"{self.prefix}{REPOSITORY}"

    def held(self, pins: Sequence[Pin], target: Target) -> tuple[Wheel, ...]:
        """The wheels of a lock, all of them; none where it is not in custody.

        Raises RegistryError where the store cannot be asked, or what it has is damaged."""
        digest = self.store.resolve(self.repository, _tag(pins, target))
        if digest is None:
            return ()
        wheels = tuple(_wheels(self.store.manifest(digest), digest))
        return wheels if _covers(wheels, pins) else ()

    def keep(self, pins: Sequence[Pin], target: Target, source: PackageSource) -> tuple[Wheel, ...]:
        """Take the wheels of a lock into custody; what the store has of them is not brought again.

        The artifact is there once all of it is. Raises BuildError where the source does not give a
        wheel, RegistryError where the store does not take it."""
        wheels = tuple(sorted(source.find(_requirements(pins), target), key=lambda each: each.name))
        if not _covers(wheels, pins):
            raise BuildError("the index does not have a wheel for each line of the lock")
        described = []
        with self.store.staging() as staging:
            for wheel in wheels:
                if not self.store.has_blob(wheel.digest):
                    path = staging / secrets.token_hex(8)
                    source.bring(wheel, path)
                    self.store.put_blob(path, wheel.digest)
                size = self.store.blob_path(wheel.digest).stat().st_size
                described.append(_described(wheel, size))
            self._put_empty(staging)
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
        self.store.put_manifest(content, MANIFEST_TYPE, self.repository, _tag(pins, target))
        return wheels

    def lend(self, wheels: Sequence[Wheel], into: Path) -> Path:
        """Copy wheels into a directory, under their names. Raises RegistryError where one is damaged."""
        try:
            into.mkdir()
            for wheel in wheels:
                shutil.copyfile(self.store.blob_path(wheel.digest), into / wheel.name)
                if _digest(into / wheel.name) != wheel.digest:
                    raise RegistryError(
                        f"{self.store.location} has other bytes of {wheel.name} than its name says",
                        hint=f"Remove the blob {wheel.digest} there; the next build brings it again",
                    )
        except OSError as exc:
            raise BuildError(f"cannot lay out wheels: {exc}") from exc
        return into

    def _put_empty(self, staging: Path) -> None:
        digest = Digest.of(_EMPTY)
        if not self.store.has_blob(digest):
            path = staging / secrets.token_hex(8)
            path.write_bytes(_EMPTY)
            self.store.put_blob(path, digest)


def shelf(
    custody: Custody | None,
    source: PackageSource | None,
    pins: Sequence[Pin],
    target: Target,
    into: Path,
) -> tuple[Path | None, tuple[str, ...]]:
    """A directory with all wheels of the pins, from custody, where they are brought first if they are
    not there; and what there is to say. None where a build has to do without.

    A lock with wheels by URL is not kept: its lines name their place themselves."""
    if custody is None or source is None or not pins or any(pin.url for pin in pins):
        return None, ()
    try:
        wheels = custody.held(pins, target) or custody.keep(pins, target, source)
    except MlopsError as exc:
        # a build that can do without must not fail for it; but who reads the run must hear of it
        return None, (f"packages are not in custody: {exc.message}",)
    return custody.lend(wheels, into), ()


def _requirements(pins: Sequence[Pin]) -> bytes:
    return "".join(f"{pin.line}\n" for pin in pins).encode()


def _tag(pins: Sequence[Pin], target: Target) -> str:
    words = [target.platform, target.python, target.libc, *sorted(pin.line for pin in pins)]
    return f"lock-{hashlib.sha256(chr(10).join(words).encode()).hexdigest()[:24]}"


def _described(wheel: Wheel, size: int) -> dict[str, Any]:
    named = {_TITLE: wheel.name}
    return {"mediaType": WHEEL, "digest": str(wheel.digest), "size": size, "annotations": named}


def _wheels(content: bytes, digest: Digest) -> Iterator[Wheel]:
    """What a manifest lists: from a store that others write to, so nothing of it is taken on trust."""
    try:
        layers = json.loads(content)["layers"]
        if len(layers) > _MOST:
            raise ValueError(f"{len(layers)} wheels")
        for layer in layers:
            name = layer["annotations"][_TITLE]
            if not isinstance(name, str) or _NAME.fullmatch(name) is None:
                raise ValueError(name)
            yield Wheel(name, Digest.parse(layer["digest"]), int(layer["size"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UsageError) as exc:
        raise RegistryError(f"{digest} is no list of wheels: {exc!r:.200}") from exc


def _covers(wheels: Sequence[Wheel], pins: Sequence[Pin]) -> bool:
    """Whether there is a wheel with a locked hash for every pin, and none beside."""
    left = {wheel.digest.hex for wheel in wheels}
    for pin in pins:
        hashes = set(_HASH.findall(pin.line))
        if not hashes & left:
            return False
        left -= hashes
    return not left


def _digest(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())
