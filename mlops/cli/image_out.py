"""`mlops image export` and `copy`: a release's image as a file, and into other places."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from mlops.cli import image_refs, opening, options, render, wiring_images
from mlops.cli.image_refs import Ref
from mlops.errors import OutsideError, UsageError

if TYPE_CHECKING:
    from mlops.adapters.layout import OciLayout
    from mlops.adapters.registry.images import Holder, Source
    from mlops.domain.digest import Digest, ReleaseId
    from mlops.domain.imagename import ImageName

_LAYOUT = "oci:"
_STDOUT = "-"


def export(
    ref: Ref,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The archive to write; - is standard output.")
    ],
    *,
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME[:TAG]", help="What it is called where it is loaded."),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it is there.")] = False,
    repo: options.Repo = options.HERE,
    verbose: options.Verbose = False,
) -> None:
    """Write an image into one archive: an OCI layout in a tar, which is also what `docker save` writes.

    docker, podman and containerd load it; skopeo reads it as oci-archive: and as docker-archive:.
    The same image gives the same bytes.

    Examples:  mlops image export spam@prod spam.tar    mlops image export spam@prod - | podman load
    """
    from mlops.adapters import imagearchive  # noqa: PLC0415

    opened = opening.open_project(repo)
    release = image_refs.record(opened, ref).release
    called = _called(name or f"{release.model}:{release.digest.hex[:12]}")
    target = Path(file)
    if file == _STDOUT and sys.stdout.isatty():
        raise UsageError("an archive is nothing for a terminal", hint="Name a file, or use a pipe")
    if file != _STDOUT and target.exists() and not force:
        raise UsageError(f"{file} is there already", hint="Name another file, or add --force")
    if file != _STDOUT and target.exists() and not target.is_file():
        raise UsageError(f"{file} is no file to be replaced", hint="Name a file")
    wiring_images.bring(opened, release)
    source = opened.local_images
    if file == _STDOUT:
        imagearchive.write(sys.stdout.buffer, imagearchive.parts(source, release.digest, called))
        return
    _write(target, source, release.digest, called)
    size = render.size(target.stat().st_size)
    render.line(f"{file}: {release.short} as {called.written}:{called.tag}, {size}")
    render.note(f"load it: podman load -i {file}")
    _tell_packing(source, release.digest)


def _called(text: str) -> ImageName:
    from mlops.domain.imagename import ImageName  # noqa: PLC0415

    name = ImageName.parse(text)
    if name.digest is not None:
        raise UsageError("an archive's name has no digest", hint="Use NAME or NAME:TAG")
    return name


def _write(target: Path, source: Source, digest: Digest, name: ImageName) -> None:
    """Beside its place first: nobody finds half an archive."""
    from mlops.adapters import imagearchive  # noqa: PLC0415

    if not target.parent.is_dir():
        raise UsageError(
            f"cannot write {target}: there is no directory {target.parent}",
            hint=f"Make it: mkdir -p {target.parent}",
        )
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("xb") as stream:
            _pour(stream, imagearchive.parts(source, digest, name))
        beside.replace(target)
    except OSError as exc:
        raise OutsideError(
            f"cannot write {target}: {exc.strerror}",
            hint="Choose another place, or make room there",
        ) from exc
    finally:
        beside.unlink(missing_ok=True)


def _pour(stream: IO[bytes], parts: Iterator[tuple[str, Path | bytes]]) -> None:
    from mlops.adapters import imagearchive  # noqa: PLC0415

    imagearchive.write(stream, parts)
    stream.flush()
    os.fsync(stream.fileno())


def copy(
    ref: Ref,
    to: Annotated[
        str,
        typer.Argument(metavar="TO", help="HOST[:PORT]/NAME[:TAG], or oci:DIRECTORY[:NAME]."),
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be copied; write nothing.")
    ] = False,
    repo: options.Repo = options.HERE,
    verbose: options.Verbose = False,
) -> None:
    """Copy an image, and all that is attached to it, elsewhere: every byte and digest stays.

    No pin moves; to let an environment have images in a registry of its own, see `registry:` in its
    environment.yaml.

    Examples:  mlops image copy spam@prod registry.example.com/ml/spam:prod    mlops image copy spam@prod oci:out:prod
    """
    from mlops.adapters.layout import OciLayout  # noqa: PLC0415
    from mlops.adapters.registry import Registry, images  # noqa: PLC0415
    from mlops.domain.imagename import layout_place  # noqa: PLC0415

    opened = opening.open_project(repo)
    release = image_refs.record(opened, ref).release
    source: Source = opened.images_of(release.model)
    if not source.has_manifest(release.digest):
        wiring_images.bring(opened, release)
        source = opened.local_images
    say = render.note
    if to.startswith(_LAYOUT):
        place = layout_place(to)
        layout = OciLayout(Path(place.directory))
        if not _would(source, release, layout, to, dry_run=dry_run):
            before = _named(layout, place.name)
            images.copy_to_layout(
                source, release.digest, layout, release.model, name=place.name, say=say
            )
            render.line(f"{_LAYOUT}{place.directory}@{release.digest}")
            _tell_moved(to, before, release.digest)
            _tell_packing(source, release.digest)
        return
    name = _called(to)
    registry = Registry(name.repository, ours=name.host == opened.registry_host)
    full = f"{name.repository}:{name.tag}"
    if not _would(source, release, registry, full, dry_run=dry_run):
        before = registry.resolve(name.tag)
        images.copy(source, release.digest, registry, tag=name.tag, say=say)
        render.line(f"{full}@{release.digest}")
        if not to.endswith(f":{name.tag}"):
            render.note(f"no tag was named: it is {full}")
        _tell_moved(full, before, release.digest)


def _named(layout: OciLayout, name: str) -> Digest | None:
    """What a layout calls so now."""
    from mlops.adapters import ociindex  # noqa: PLC0415

    named = (
        entry
        for entry in layout.entries()
        if name and ociindex.annotation(entry, ociindex.REF_NAME) == name
    )
    return next(map(ociindex.digest_of, named), None)


def _tell_moved(name: str, before: Digest | None, now: Digest) -> None:
    if before not in (None, now):
        render.note(f"{name} moved: it was {before}")


def _tell_packing(source: Source, digest: Digest) -> None:
    """Not everything reads zstd."""
    from mlops.adapters.registry import images  # noqa: PLC0415

    if any(b"+zstd" in part.content for part in images.parts(source.manifest, digest)):
        render.note(
            "its layers are packed with zstd: docker 23, containerd 1.5, podman 4 and later read them, "
            "umoci does not (build: {compression: gzip})"
        )


def _would(source: Source, release: ReleaseId, into: Holder, to: str, *, dry_run: bool) -> bool:
    """Whether it ends with saying what would be copied."""
    from mlops.adapters.registry import images  # noqa: PLC0415

    if not dry_run:
        return False
    absent, manifest = images.lacking(source, release.digest, into)
    blobs = "1 blob" if len(absent) == 1 else f"{len(absent)} blobs"
    what = f"{blobs}, {images.told_size(sum(absent.values()))}" if absent else "its manifest"
    render.line(
        f"would copy {release.short} to {to}: {what if absent or manifest else 'all of it is there'}"
    )
    render.note("nothing was written: --dry-run")
    return True
