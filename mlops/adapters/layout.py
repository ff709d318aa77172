"""An OCI image layout on disk as the image store (OCI image-spec 1.1, image-layout.md).

One layout holds all repositories. `index.json` lists every manifest that was put: with
`org.opencontainers.image.ref.name` = `<repository>:<tag>` where it is tagged, and always with
`dev.mlops.repository`. Files are written below `tmp/`, synced and renamed, so that a killed process
leaves nothing but a file or directory there, which the next writer removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops.adapters import ociindex
from mlops.adapters.filelock import locked
from mlops.adapters.ociindex import REF_NAME, Descriptor
from mlops.domain.digest import Digest
from mlops.errors import RegistryError

_MANIFEST_CAP = 4 << 20  # bytes; what distribution-spec asks registries to accept
_INDEX_CAP = 64 << 20
_MARKER = b'{"imageLayoutVersion":"1.0.0"}\n'


class OciLayout:
    """Meets `ports.ImageStore` with a directory, which is made at the first write."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 (Path.absolute keeps "..")
        self.location = f"oci:{self.root}"

    # -- reading

    def manifest(self, digest: Digest) -> bytes:
        path = self._blob(digest)
        content = self._read(path, _MANIFEST_CAP)
        if content is None:
            raise RegistryError(f"manifest {digest} is not in {self.location}")
        if Digest.of(content) != digest:
            raise self._damaged("manifest", digest)
        return content

    def has_manifest(self, digest: Digest) -> bool:
        return self._blob(digest).is_file()

    def blob_path(self, digest: Digest, *, size: int | None = None, verify: bool = False) -> Path:
        """The blob's file; `size` in bytes is compared where given, the digest with `verify`."""
        path = self._blob(digest)
        try:
            found = path.stat().st_size
        except OSError as exc:
            raise RegistryError(f"blob {digest} is not in {self.location}") from exc
        if (size is not None and found != size) or (verify and file_digest(path) != digest):
            raise self._damaged("blob", digest)
        return path

    def has_blob(self, digest: Digest) -> bool:
        return self._blob(digest).is_file()

    def resolve(self, repository: str, tag: str) -> Digest | None:
        return self.tags(repository).get(tag)

    def tags(self, repository: str) -> Mapping[str, Digest]:
        """Every tag of a repository, and the manifest that it names."""
        prefix = f"{repository}:"
        return {
            name.removeprefix(prefix): ociindex.digest_of(entry)
            for entry in self.entries()
            if (name := ociindex.annotation(entry, REF_NAME)).startswith(prefix)
        }

    def entries(self) -> tuple[Descriptor, ...]:
        """The descriptors of index.json, as they stand there; none before the first write."""
        path = self.root / "index.json"
        content = self._read(path, _INDEX_CAP)
        if content is None:
            return ()
        try:
            return tuple(ociindex.listed(ociindex.parse(content)))
        except RegistryError as exc:
            raise RegistryError(
                f"{path} is no OCI image index: {exc.message}",
                hint="Restore it, or move the directory away and build again",
            ) from exc

    def referrers(self, subject: Digest) -> tuple[Mapping[str, Any], ...]:
        """By the referrers tag schema (distribution-spec 1.1): the index tagged `sha256-<hex>`."""
        suffix = f":{ociindex.fallback_tag(subject)}"
        found: dict[str, Descriptor] = {}
        for entry in self.entries():
            if ociindex.annotation(entry, REF_NAME).endswith(suffix):
                for descriptor in self._listed(ociindex.digest_of(entry)):
                    found.setdefault(str(descriptor["digest"]), descriptor)
        return tuple(found.values())

    # -- writing

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A directory in the layout for files on their way in; it goes when the block ends."""
        path = self.root / "tmp" / secrets.token_hex(8)
        with self._locked():
            # Held before the layout's lock is given up: whoever has that lock and finds a
            # directory here that nobody holds knows that its owner is dead.
            try:
                path.mkdir(parents=True)
                held = _hold(path)
            except OSError as exc:
                raise self._unwritable(exc) from exc
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)

    def put_blob(self, path: Path, digest: Digest, *, known: bool = False) -> None:
        """Files in `staging()` are moved in, others are copied; `known` where the caller has held
        the bytes against the digest already."""
        if not known and file_digest(path) != digest:
            raise RegistryError(f"{path} has other bytes than {digest}")
        target = self._blob(digest)
        if target.is_file() and target.stat().st_size == path.stat().st_size:
            return
        if path.is_relative_to(self.root / "tmp"):
            self._move(path, target)
            return
        with self.staging() as staging:
            copy = staging / digest.hex
            try:
                shutil.copyfile(path, copy)
            except OSError as exc:
                raise self._unwritable(exc) from exc
            if file_digest(copy) != digest:  # it changed while it was copied
                raise RegistryError(f"{path} has other bytes than {digest}")
            self._move(copy, target)

    def put_manifest(
        self, content: bytes, media_type: str, repository: str, tag: str = "", *, name: str = ""
    ) -> Digest:
        """Store a manifest; one with a `subject` is entered into that one's referrers too. `name` is
        what it is called in the layout where that is not `<repository>:<tag>`."""
        document = ociindex.parse(content)
        digest = Digest.of(content)
        descriptor = {"mediaType": media_type, "digest": str(digest), "size": len(content)}
        with self._locked():
            self._write(self._blob(digest), content)
            entries = ociindex.entered(
                self.entries(), descriptor, repository, name or _called(repository, tag)
            )
            if isinstance(document.get("subject"), Mapping):
                entries = self._refer(entries, descriptor, document, repository)
            if entries != list(self.entries()):
                self._write_index(entries)
        return digest

    # -- under the layout's lock

    def _refer(
        self,
        entries: Sequence[Descriptor],
        descriptor: Descriptor,
        manifest: Mapping[str, Any],
        repository: str,
    ) -> list[Descriptor]:
        tag = ociindex.fallback_tag(ociindex.digest_of(manifest["subject"]))
        name = _called(repository, tag)
        old = next((e for e in entries if ociindex.annotation(e, REF_NAME) == name), None)
        referrers = [] if old is None else self._listed(ociindex.digest_of(old))
        if all(found["digest"] != descriptor["digest"] for found in referrers):
            referrers.append(ociindex.referrer(descriptor, manifest))
        content = ociindex.index_document(referrers)
        digest = Digest.of(content)
        self._write(self._blob(digest), content)
        new = {"mediaType": ociindex.INDEX_TYPE, "digest": str(digest), "size": len(content)}
        others = [entry for entry in entries if entry is not old]  # no list of past referrers
        return ociindex.entered(others, new, repository, name)

    def _write_index(self, entries: Sequence[Descriptor]) -> None:
        document = {
            "schemaVersion": 2,
            "mediaType": ociindex.INDEX_TYPE,
            "manifests": list(entries),
        }
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        self._write(self.root / "index.json", text.encode(), replace=True)

    def _write(self, target: Path, content: bytes, *, replace: bool = False) -> None:
        if not replace and target.is_file() and target.stat().st_size == len(content):
            return
        path = self.root / "tmp" / secrets.token_hex(8)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as exc:
            path.unlink(missing_ok=True)
            raise self._unwritable(exc) from exc
        self._move(path, target)

    def _clean(self) -> None:
        """Remove what killed processes left: files, and directories that nobody holds."""
        with contextlib.suppress(FileNotFoundError):
            for path in (self.root / "tmp").iterdir():
                if not path.is_dir():
                    path.unlink(missing_ok=True)
                    continue
                with contextlib.suppress(OSError):
                    held = _hold(path)
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(held)

    # -- inside

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        what = f"the image layout {self.root}"
        with locked(self.root / ".lock", what=what, error=RegistryError):
            self._clean()
            if not (self.root / "oci-layout").exists():
                self._write(self.root / "oci-layout", _MARKER)
            if not (self.root / "index.json").exists():
                self._write_index(())
            yield

    def _move(self, path: Path, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync(path)
            path.replace(target)
            _sync(target.parent)
        except OSError as exc:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise self._unwritable(exc) from exc

    def _read(self, path: Path, cap: int) -> bytes | None:
        """At most `cap` bytes; None where there is no such file. Raises RegistryError."""
        try:
            with path.open("rb") as file:
                content = file.read(cap + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise RegistryError(f"cannot read {path}: {exc.strerror}") from exc
        if len(content) > cap:
            raise RegistryError(f"{path} is over {cap} bytes: it is no manifest")
        return content

    def _listed(self, digest: Digest) -> list[Descriptor]:
        return ociindex.listed(ociindex.parse(self.manifest(digest)))

    def _blob(self, digest: Digest) -> Path:
        return self.root / "blobs" / "sha256" / digest.hex

    def _damaged(self, what: str, digest: Digest) -> RegistryError:
        return RegistryError(
            f"{what} {digest} in {self.location} is damaged: its bytes are others",
            hint=f"Remove {self._blob(digest)} and build or pull the image again",
        )

    def _unwritable(self, exc: OSError) -> RegistryError:
        return RegistryError(
            f"cannot write to {self.location}: {exc.strerror or exc}",
            hint="What was there before is unharmed: make room or mend the permissions, and repeat",
            retryable=True,
        )


def file_digest(path: Path) -> Digest:
    """The sha256 of a file's bytes, read in pieces. Raises RegistryError."""
    try:
        with path.open("rb") as file:
            return Digest(hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as exc:
        raise RegistryError(f"cannot read {path}: {exc.strerror}") from exc


def _called(repository: str, tag: str) -> str:
    return f"{repository}:{tag}" if tag else ""


def _hold(path: Path) -> int:
    """Lock a directory. Raises BlockingIOError where its owner lives."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
