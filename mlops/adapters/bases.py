"""Bases from this machine's own files: OCI layouts, and archives of images.

`oci:DIRECTORY[:TAG|@DIGEST]`, `oci-archive:FILE[:TAG|@DIGEST]`; an archive is a tar of a layout, or
what `docker save` writes. They are copied by digest; nothing of them is changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import ociindex
from mlops.adapters.layout import OciLayout, file_digest
from mlops.adapters.ociindex import REF_NAME, Descriptor
from mlops.adapters.platforms import check, chosen
from mlops.adapters.registry import images
from mlops.domain.digest import Digest
from mlops.domain.lock import BASES, base_tag
from mlops.errors import BuildError, ConfigError
from mlops.ports import ImageStore

REPOSITORY = BASES
LAYOUT = "oci:"
ARCHIVES = ("oci-archive:", "docker-archive:", "archive:")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_NAMED = "io.containerd.image.name"
_DIGEST = re.compile(r"(?P<path>.+)@(?P<digest>sha256:[0-9a-f]{64})\Z", re.DOTALL)
_MOST_FILES = 10_000
_ARCHIVES_MADE = (
    "Make one: docker save, podman save, or skopeo copy IMAGE oci-archive:FILE. A root file system is "
    "none: podman import makes an image of it"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A reference, taken apart: the path, and the tag or digest that it asks for."""

    path: Path
    archive: bool
    tag: str = ""
    digest: Digest | None = None


class LocalBases:
    """Meets `build.toolchain.BaseSource`."""

    def fetch(
        self, ref: str, project: Path, platform: str, store: ImageStore
    ) -> tuple[Digest, Digest]:
        """Copy the image into the store: its top-level digest, and its manifest for the platform.

        Raises BuildError where there is none, RegistryError where its bytes are damaged.
        """
        place = parse(ref, project)
        with contextlib.ExitStack() as stack:
            if place.archive:
                staging = stack.enter_context(store.staging())
                layout = _unpacked(place.path, staging / "image")
            else:
                layout = OciLayout(place.path)
            top = _chosen(layout, place, ref)
            manifest = chosen(layout.manifest, top, platform, ref)
            return top, _copied(layout, manifest, platform, ref, store)


def parse(ref: str, project: Path) -> Place:
    """Take a reference apart. Raises BuildError where it is of no such form, or nothing is there."""
    prefix = next((word for word in (LAYOUT, *ARCHIVES) if ref.startswith(word)), None)
    if prefix is None:
        raise ConfigError(f"mlops.yaml: build.base: {ref} names neither a layout nor an archive")
    text = ref.removeprefix(prefix)
    archive = prefix != LAYOUT
    if match := _DIGEST.match(text):
        digest = Digest.parse(match["digest"])  # which wins over a tag before it
        found = Place(_tagged(project, match["path"], archive).path, archive, digest=digest)
    else:
        found = _tagged(project, text, archive)
    if not (found.path.is_file() if archive else (found.path / "index.json").is_file()):
        what = "an image archive" if archive else "an OCI image layout"
        raise BuildError(f"the base {ref} is not there: {found.path} is not {what}")
    return found


def _tagged(project: Path, text: str, archive: bool) -> Place:
    """Both a path and a tag may have colons: the path is the shortest one that is there."""
    parts = text.split(":")
    for count in range(1, len(parts)):
        path = project / ":".join(parts[:count])
        if path.exists():
            return Place(path, archive, ":".join(parts[count:]))
    return Place(project / text, archive)


def _chosen(layout: OciLayout, place: Place, ref: str) -> Digest:
    entries = layout.entries()
    if place.digest is not None:
        if not layout.has_manifest(place.digest):
            raise BuildError(
                f"the base {ref} is not there: no such digest in it",
                hint="Bring that image back, or move on: mlops lock --upgrade base",
            )
        return place.digest
    if place.tag:
        entries = tuple(entry for entry in entries if _is_named(entry, place.tag))
    found = sorted({str(ociindex.digest_of(entry)) for entry in entries})
    if len(found) != 1:
        names = {ociindex.annotation(entry, REF_NAME) for entry in layout.entries()} - {""}
        raise BuildError(
            f"the base {ref} names {len(found)} images; one is needed",
            hint=f"Name a tag or digest. There are: {', '.join(sorted(names)) or 'no tags'}",
        )
    return Digest.parse(found[0])


def _is_named(entry: Descriptor, tag: str) -> bool:
    names = (ociindex.annotation(entry, REF_NAME), ociindex.annotation(entry, _NAMED))
    return any(name == tag or name.endswith((f":{tag}", f"/{tag}")) for name in names)


def _copied(
    layout: OciLayout, manifest: Digest, platform: str, ref: str, store: ImageStore
) -> Digest:
    content = layout.manifest(manifest)
    document = ociindex.parse(content)
    blobs = images.blobs(document, manifest)
    config = ociindex.digest_of(document["config"])
    check(layout.blob_path(config, size=blobs[config]), platform, ref)
    for digest, size in blobs.items():
        if not store.has_blob(digest):
            store.put_blob(layout.blob_path(digest, size=size), digest)
    kind = str(document.get("mediaType") or MANIFEST)
    return store.put_manifest(content, kind, REPOSITORY, base_tag(manifest))


def _unpacked(archive: Path, into: Path) -> OciLayout:
    """An archive as a layout: of a tar of one as it is, of `docker save` with a manifest made."""
    try:
        with tarfile.open(archive) as tar:
            for count, member in enumerate(tar):
                if count > _MOST_FILES:
                    raise BuildError(
                        f"{archive} is no image archive: it holds over {_MOST_FILES} files",
                        hint=_ARCHIVES_MADE,
                    )
                _extract(tar, member, into)
    except (OSError, tarfile.TarError, EOFError) as exc:
        raise BuildError(f"{archive} cannot be read as an image archive: {exc}") from exc
    if (into / "index.json").is_file():
        return OciLayout(into)
    if not (into / "manifest.json").is_file():
        raise BuildError(
            f"{archive} is no image archive: neither an OCI layout nor what docker save writes",
            hint=_ARCHIVES_MADE,
        )
    return _converted(into, archive)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    """Regular files; and links to files that came before, as docker writes equal layers. A link out of
    the archive is no such one, and left out."""
    path = _safe(into, member.name, str(tar.name))
    if member.issym() or member.islnk():
        above = posixpath.dirname(member.name) if member.issym() else ""
        inside = posixpath.normpath(posixpath.join(above, member.linkname))
        target = into / inside
        if not inside.startswith(("/", "..")) and target.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(target, path)
    elif member.isreg():
        path.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        if source is not None:
            with source, path.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def _safe(root: Path, name: str, archive: str) -> Path:
    path = posixpath.normpath(name)
    if path.startswith(("/", "..")):
        raise BuildError(f"{archive} names a file outside itself: {name!a}", hint=_ARCHIVES_MADE)
    return root / path


def _converted(saved: Path, archive: Path) -> OciLayout:
    layout = OciLayout(saved / "converted")
    try:
        for image in json.loads((saved / "manifest.json").read_bytes()):
            paths = [_within(saved, str(name)) for name in (image["Config"], *image["Layers"])]
            content = _made(layout, paths)
            names = [str(name) for name in image.get("RepoTags") or [""]]
            for name in names:
                repository, _, tag = name.rpartition(":")
                layout.put_manifest(content, MANIFEST, repository or REPOSITORY, tag)
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as exc:
        raise BuildError(f"{archive} is not what docker save writes: {exc!r}") from exc
    return layout


def _made(layout: OciLayout, paths: Sequence[Path]) -> bytes:
    """The manifest of a saved image: docker keeps none, so this is made, the same each time."""
    described = []
    for path in paths:
        digest = file_digest(path)
        layout.put_blob(path, digest)
        described.append({"digest": str(digest), "size": path.stat().st_size})
    layers = [
        {**part, "mediaType": _layer_type(path)}
        for part, path in zip(described[1:], paths[1:], strict=True)
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {**described[0], "mediaType": _CONFIG},
        "layers": layers,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _layer_type(path: Path) -> str:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if packed else "")


def _within(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()) or not path.is_file():
        raise ValueError(f"no file {name!r} in it")
    return path
