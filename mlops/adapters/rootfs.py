"""Root filesystems of images: what an image's config says, and its layers unpacked once.

Each layer becomes a directory `<cache>/layers/<diffID hex>/`, written beside it and renamed, its
bytes checked against digest and diffID while they are read. Where a layer removes files of the
layers below (whiteouts), the whole image is unpacked into one directory instead, so that what is
here needs no special files.

OCI image-spec 1.1: config.md, layer.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.adapters import unpack
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UsageError
from mlops.ports import ImageFiles

INDEXES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_LARGEST_CONFIG = 4 << 20
_LAYER_KIND = "dev.mlops.layer"


@dataclass(frozen=True, slots=True)
class Layer:
    """`kind` is the annotation `dev.mlops.layer`, empty where an image was not built by us."""

    digest: Digest
    diff_id: Digest
    media_type: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """What running an image needs to know; `env` is in the image's order."""

    digest: Digest
    layers: tuple[Layer, ...]
    env: tuple[tuple[str, str], ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = "/"
    user: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")


def read_image(images: ImageFiles, digest: Digest) -> Image:
    """Manifest and config of an image; from an index, the manifest for this machine.

    Raises RegistryError where a blob is absent, or is no manifest or config.
    """
    manifest = _document(images.manifest(digest), f"manifest {digest}")
    if manifest.get("mediaType") in INDEXES or "manifests" in manifest:
        digest = for_this_machine(manifest, digest)
        manifest = _document(images.manifest(digest), f"manifest {digest}")
    try:
        config_digest = Digest.parse(manifest["config"]["digest"])
        path = images.blob_path(config_digest)
        if path.stat().st_size > _LARGEST_CONFIG:
            raise RegistryError(f"the config of image {digest} is too large")
        content = path.read_bytes()
        if Digest.of(content) != config_digest:
            raise RegistryError(f"blob {config_digest} in {images.location} is corrupt")
        return _image(digest, manifest, _document(content, f"config {config_digest}"))
    except (KeyError, TypeError, AttributeError, ValueError, UsageError) as exc:
        raise RegistryError(f"{digest} in {images.location} is no image that can be run") from exc


def _document(content: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise RegistryError(f"{what} is not JSON") from exc
    if not isinstance(document, dict):
        raise RegistryError(f"{what} is no JSON object")
    return document


def for_this_machine(index: Mapping[str, Any], digest: Digest) -> Digest:
    """The manifest that an index has for this machine. Raises RegistryError where it has none."""
    wanted = _MACHINES.get(platform.machine(), platform.machine())
    try:
        for entry in index["manifests"]:
            about = entry.get("platform") or {}
            if about.get("os") == "linux" and about.get("architecture") == wanted:
                return Digest.parse(entry["digest"])
    except (KeyError, TypeError, AttributeError, UsageError) as exc:
        raise RegistryError(f"index {digest} cannot be read") from exc
    raise RegistryError(f"image {digest} has nothing for linux/{wanted}")


def _image(digest: Digest, manifest: Mapping[str, Any], config: Mapping[str, Any]) -> Image:
    diff_ids, described = config["rootfs"]["diff_ids"], manifest["layers"]
    if len(diff_ids) != len(described):
        raise ValueError("layers and diff_ids differ in number")
    layers = tuple(
        Layer(
            Digest.parse(each["digest"]),
            Digest.parse(diff_id),
            str(each["mediaType"]),
            str((each.get("annotations") or {}).get(_LAYER_KIND, "")),
        )
        for each, diff_id in zip(described, diff_ids, strict=True)
    )
    run = config.get("config") or {}
    env = tuple((pair.split("=", 1)[0], pair.partition("=")[2]) for pair in run.get("Env") or ())
    labels = run.get("Labels") or {}
    return Image(
        digest=digest,
        layers=layers,
        env=env,
        entrypoint=_strings(run.get("Entrypoint")),
        cmd=_strings(run.get("Cmd")),
        working_dir=str(run.get("WorkingDir") or "/"),
        user=str(run.get("User") or ""),
        labels=tuple((str(key), str(value)) for key, value in labels.items()),
    )


def _strings(value: Any) -> tuple[str, ...]:
    found = tuple(value or ())
    if isinstance(value, str) or not all(isinstance(each, str) for each in found):
        raise TypeError("not a list of strings")
    return found


@dataclass(frozen=True, slots=True)
class RootFilesystems:
    """The unpacked layers of a machine, below `cache`; safe for many processes at once."""

    images: ImageFiles
    cache: Path

    def directories(self, image: Image) -> tuple[Path, ...]:
        """The directories that make up the image's root, lowest first: overlay them.

        Raises RegistryError where a layer is absent, corrupt or hostile.
        """
        found = [self.layer(layer) for layer in image.layers]
        if any(self._marker(layer).exists() for layer in image.layers):
            return (self.merged(image),)
        return tuple(dict.fromkeys(reversed(found)))[::-1]  # a layer that is there twice: the upper

    def layer(self, layer: Layer) -> Path:
        """One layer's directory. Without meaning alone where the layer holds whiteouts."""
        target = self.cache / "layers" / layer.diff_id.hex
        with self._making(target) as fresh:
            if fresh is not None and self._extract(layer, fresh):
                self._marker(layer).touch()
        return target

    def merged(self, image: Image) -> Path:
        """All layers in one directory, whiteouts carried out."""
        return self.installed(image.layers, "merged", lambda _fresh, _target: None)

    def installed(
        self, layers: Sequence[Layer], place: str, finish: Callable[[Path, Path], None]
    ) -> Path:
        """Some layers in one directory below `<cache>/<place>/`.

        `finish(directory, final)` may change what was unpacked before it becomes `final`.
        """
        key = hashlib.sha256(" ".join(layer.diff_id.hex for layer in layers).encode()).hexdigest()
        target = self.cache / place / key
        with self._making(target) as fresh:
            if fresh is not None:
                for layer in layers:
                    self._extract(layer, fresh, merge=True)
                finish(fresh, target)
        return target

    def places(self, names: Mapping[str, int]) -> Path:
        """A directory of empty directories, name → mode, to lie over an image's layers: a container's
        mounts then need none made in its own writable part."""
        key = hashlib.sha256(repr(sorted(names.items())).encode()).hexdigest()[:16]
        target = self.cache / "mountpoints" / key
        with self._making(target) as fresh:
            if fresh is not None:
                for name, mode in names.items():
                    (fresh / name).mkdir()
                    (fresh / name).chmod(mode)
        return target

    def _marker(self, layer: Layer) -> Path:
        return self.cache / "layers" / f"{layer.diff_id.hex}.whiteouts"

    def _extract(self, layer: Layer, into: Path, *, merge: bool = False) -> bool:
        path = self.images.blob_path(layer.digest)
        try:
            if merge:
                unpack.apply_whiteouts(path, into)
            return unpack.extract(path, into, layer.digest, layer.diff_id, merge=merge)
        except unpack.LayerError as exc:
            raise RegistryError(
                f"layer {layer.digest} in {self.images.location}: {exc}",
                hint="Fetch or build the image again",
            ) from exc
        except OSError as exc:
            raise RegistryError(
                f"layer {layer.digest} cannot be unpacked into {self.cache}: {exc.strerror or exc}",
                hint="Make room, or set MLOPS_CACHE to another directory",
            ) from exc

    @contextlib.contextmanager
    def _making(self, target: Path) -> Iterator[Path | None]:
        """None where `target` stands; else a directory to fill, which becomes it at the end."""
        if target.is_dir():
            yield None
            return
        with _locked(target.parent, target.name):
            if target.is_dir():
                yield None
                return
            fresh = Path(tempfile.mkdtemp(prefix=f".{target.name[:12]}-", dir=target.parent))
            try:
                fresh.chmod(0o755)
                yield fresh
                fresh.rename(target)
            except BaseException:
                remove(fresh)
                raise


@contextlib.contextmanager
def _locked(directory: Path, name: str) -> Iterator[None]:
    """Hold the lock of one name; what a killed holder left half done is removed."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as exc:
        raise RegistryError(f"cannot write to the cache {directory}: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in directory.glob(f".{name[:12]}-*"):
            remove(left)
        yield
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a tree, directories that nobody may enter included; quiet where it is gone."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError:
        with contextlib.suppress(OSError):
            path.chmod(0o700)
        for directory, names, _ in os.walk(path):
            for name in names:
                entry = Path(directory, name)
                with contextlib.suppress(OSError):
                    if not entry.is_symlink():
                        entry.chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)


def machine_cache() -> Path:
    """Where unpacked layers are kept between projects: $MLOPS_CACHE, else the user's own cache."""
    chosen = os.environ.get("MLOPS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops"
