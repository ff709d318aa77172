"""The images of this machine: the project's, those of other layouts, and what was pulled.

Names are looked up as a container engine does: through the map first, then by digest among what is
here, else in the registry. What a registry gives is kept in the machine's cache.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlops.adapters import ociindex
from mlops.adapters.layout import OciLayout
from mlops.adapters.ociindex import REF_NAME
from mlops.adapters.pulling import pull
from mlops.adapters.registry import Registry
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.imagename import ImageMap, ImageName, InLayout
from mlops.errors import RegistryError, UnreachableError
from mlops.ports import ImageFiles

_T = TypeVar("_T")
_ELSE = "Map it to an image that is here: --image FROM=TO"


@dataclass(frozen=True, slots=True)
class Found:
    """An image that is here. `note` is what a user must hear of how it was found."""

    ref: ImageRef
    note: str = ""


class Images:
    """Meets `ports.ImageFiles`. `own` is the project's store; `ours` the host of its registry,
    which alone is told the credentials in the environment. Relative layouts lie below `base`."""

    def __init__(
        self,
        own: ImageFiles,
        cache: Path,
        mapping: ImageMap = ImageMap(),  # noqa: B008  frozen
        *,
        base: Path = Path(),
        ours: str = "",
    ) -> None:
        self.location = own.location
        self._own = own
        self._pulled = OciLayout(cache / "images")
        self._mapping = mapping
        self._base = base
        self._ours = ours
        self._lock = threading.Lock()
        self._others: dict[Path, OciLayout] = {}

    def manifest(self, digest: Digest) -> bytes:
        return self._first(lambda store: store.manifest(digest), f"manifest {digest}")

    def blob_path(self, digest: Digest) -> Path:
        return self._first(lambda store: store.blob_path(digest), f"blob {digest}")

    def has(self, digest: Digest) -> bool:
        """Whether the image is here."""
        with contextlib.suppress(RegistryError):
            return bool(self.manifest(digest))
        return False

    def find(self, text: str, wanted: Callable[[], bool] = lambda: True) -> Found:
        """The image that a document names, brought here; `wanted` is asked on the way whether to go on.

        Raises UsageError on what names no image, RegistryError where there is none, it is damaged or
        cannot be had.
        """
        name = ImageName.parse(text)
        target = self._mapping.lead(name) or name
        if isinstance(target, InLayout):
            return Found(ImageRef(name.written, self._in_layout(target)))
        if target.digest is not None:
            if not self.has(target.digest):
                self._pull(target, target.digest, wanted)
            return Found(ImageRef(name.written, target.digest))
        return self._tagged(name.written, target, wanted)

    def check(self, text: str) -> None:
        """See whether the image that a document names is to be had, without bringing it here.

        Raises as `find`."""
        name = ImageName.parse(text)
        target = self._mapping.lead(name) or name
        if isinstance(target, InLayout):
            self._in_layout(target)
        elif target.digest is None:
            self._check_tag(target)
        elif not self.has(target.digest):
            with _naming(target):
                if not self._registry(target).has_manifest(target.digest):
                    raise RegistryError(
                        f"{target} is not there: {target.repository} has no such digest", hint=_ELSE
                    )

    def _check_tag(self, name: ImageName) -> None:
        if self._own_tag(name) is None and self._pulled.resolve(name.repository, name.tag) is None:
            with _naming(name):
                if self._registry(name).resolve(name.tag) is None:
                    raise _no_tag(name)

    # -- by digest

    def _stores(self) -> Iterator[ImageFiles]:
        yield self._own
        with self._lock:
            others = list(self._others.values())
        yield from others
        yield self._pulled

    def _first(self, ask: Callable[[ImageFiles], _T], what: str) -> _T:
        damaged: RegistryError | None = None
        for store in self._stores():
            try:
                return ask(store)
            except RegistryError as exc:
                damaged = damaged or exc
            except FileNotFoundError:
                continue
        raise damaged or RegistryError(f"{what} is not here")

    def _pull(self, name: ImageName, digest: Digest, wanted: Callable[[], bool]) -> None:
        with _naming(name):
            pull(self._registry(name), digest, self._pulled, wanted)

    def _registry(self, name: ImageName) -> Registry:
        return Registry(name.repository, ours=name.host == self._ours)

    # -- by tag

    def _tagged(self, written: str, name: ImageName, wanted: Callable[[], bool]) -> Found:
        """What the project's own store calls so; else what the registry does, asked each time."""
        digest = self._own_tag(name)
        if digest is not None:
            return Found(ImageRef(written, digest))
        registry = self._registry(name)
        try:
            digest = registry.resolve(name.tag)
        except UnreachableError as exc:
            return self._kept(written, name, exc)
        if digest is None:
            raise _no_tag(name)
        if not self.has(digest):
            pull(registry, digest, self._pulled, wanted)
        self._keep(name, digest)
        return Found(ImageRef(written, digest))

    def _own_tag(self, name: ImageName) -> Digest | None:
        if not isinstance(self._own, OciLayout) or self._own.root == self._pulled.root:
            return None  # what was pulled is not the project's: its tags are asked for each time
        resolve = self._own.resolve
        return resolve(name.written, name.tag) or resolve(name.repository, name.tag)

    def _keep(self, name: ImageName, digest: Digest) -> None:
        """Remember what the tag named, for when the registry cannot be asked."""
        if self._pulled.resolve(name.repository, name.tag) != digest and self._pulled.has_manifest(
            digest
        ):
            content = self._pulled.manifest(digest)
            kind = str(ociindex.parse(content).get("mediaType", ""))
            self._pulled.put_manifest(content, kind, name.repository, name.tag)

    def _kept(self, written: str, name: ImageName, exc: UnreachableError) -> Found:
        digest = self._pulled.resolve(name.repository, name.tag)
        if digest is None:
            with _naming(name):
                raise exc
        return Found(
            ImageRef(written, digest),
            f"{name} is what it was when it was last pulled: {exc.message}",
        )

    # -- in a layout

    def _in_layout(self, target: InLayout) -> Digest:
        root = self._base / target.directory
        with self._lock:
            layout = self._others.setdefault(root, OciLayout(root))
        if not (root / "index.json").is_file():
            raise RegistryError(f"{root} is no OCI image layout")
        _, at, digest = target.name.partition("@")
        if at:
            layout.manifest(Digest.parse(digest))
            return Digest.parse(digest)
        named = {
            ociindex.digest_of(entry)
            for entry in layout.entries()
            if not target.name or _is_called(ociindex.annotation(entry, REF_NAME), target.name)
        }
        if len(named) != 1:
            what = f"images called {target.name}" if target.name else "images"
            raise RegistryError(
                f"{layout.location} has {len(named) or 'no'} {what}, one is needed",
                hint="Name one of it: oci:DIR//name:tag or oci:DIR//name@sha256:…",
            )
        return named.pop()


@contextlib.contextmanager
def _naming(name: ImageName) -> Iterator[None]:
    """Say which image it is that a registry cannot be asked for."""
    try:
        yield
    except UnreachableError as exc:
        raise UnreachableError(
            f"{name} is not here, and {exc.message}",
            hint=f"{exc.hint or 'Try again'}; or {_ELSE[0].lower()}{_ELSE[1:]}",
            retryable=exc.retryable,
        ) from exc


def _no_tag(name: ImageName) -> RegistryError:
    return RegistryError(
        f"{name} is not there: {name.repository} has no tag {name.tag}", hint=_ELSE
    )


def _is_called(name: str, asked: str) -> bool:
    """By its whole name; by repository or tag alone where that is all that either has."""
    return asked in (name, name.removesuffix(":latest"), name.rpartition(":")[0])


class ImagesOfRun:
    """What the names of one run's documents stand for: each is looked up once."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._found: dict[str, Found] = {}

    def find(self, text: str, wanted: Callable[[], bool] = lambda: True) -> Found:
        """As `Images.find`; a failure is not remembered."""
        with self._lock:
            lock = self._locks.setdefault(text, threading.Lock())
        with lock:
            if text not in self._found:
                self._found[text] = self._images.find(text, wanted)
            return self._found[text]
