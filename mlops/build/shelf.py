"""A build's shelf: a directory with the files of locked packages, from custody, or from an index and then kept.

Nothing here fails a build that can do without: an installer may have the packages unpacked, or a registry may
take images and nothing else. Only damage does, since somebody must look into it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Protocol
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from mlops.build import locked
from mlops.build.custody import Custody, Held, Need
from mlops.build.locked import Pin
from mlops.domain.digest import Digest
from mlops.domain.packagefile import PackageFile
from mlops.errors import (
    BuildError,
    MlopsError,
    OutsideError,
    PackageIndexError,
    RegistryError,
    UnreachableError,
)
from mlops.ports import Target

_AGAIN = "mlops run --again"
_LARGE = 1_000_000  # bytes of a file that is worth a line
_NAMED = 5  # packages in a sentence


class PackageSource(Protocol):
    """Where files come from the first time. `adapters.wheels.IndexedPackages` is one."""

    def find(
        self, requirements: bytes, target: Target, sources: Collection[str] = ()
    ) -> Sequence[PackageFile]:
        """The wheels that hashed requirements stand for on a target, and the sdists of `sources`; no code of
        theirs runs. Raises PackageIndexError where an index is away, BuildError where it has none that fits."""
        ...

    def bring(self, file: PackageFile, into: Path) -> None:
        """Write the bytes of a file that has a place; they have its digest. Raises BuildError."""
        ...


@dataclass(frozen=True, slots=True)
class Shelf:
    """What there is for an installer. `missing` are the pins that neither custody, at `place`, nor an index gave,
    and `trouble` is why; `asked` is false where custody could not be. `notes` are for a person."""

    directory: Path | None = None
    files: Mapping[Pin, PackageFile] = field(default_factory=dict)
    missing: tuple[Pin, ...] = ()
    place: str = ""
    asked: bool = True
    trouble: OutsideError | None = None
    notes: tuple[str, ...] = ()

    def whole(self, pins: Iterable[Pin]) -> bool:
        """Whether all of them are here: then no index is to be asked."""
        return self.directory is not None and all(pin in self.files for pin in pins)

    def pins(self, pins: Iterable[Pin]) -> tuple[Pin, ...]:
        """The pins as an installer finds them here: what lies here is not asked of its own URL."""
        return tuple(
            pin.by_version(_version(self.files[pin])) if pin.url and pin in self.files else pin
            for pin in pins
        )

    def explained(self, error: PackageIndexError) -> BuildError:
        """An index's failure, by what custody lacks for it: what came of asking for that alone is closer to the
        cause than what an installer asked for first."""
        if not self.missing:
            return error
        cause = self.trouble or error
        lacks = "lacks" if self.asked else "cannot be asked for"
        return PackageIndexError(
            f"{self.place} (custody) {lacks} {_told(self.missing)}, and {cause.message}",
            hint=f"{error.hint}. Any index will do that has the same bytes: "
            f"UV_INDEX=URL {_AGAIN}; it is kept then",
            retryable=error.retryable,
        )


def fill(
    custody: Custody,
    source: PackageSource,
    need: Need,
    into: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Shelf:
    """A shelf with all that custody and, for what it lacks, the source have. Raises RegistryError where a file
    in custody is damaged, BuildError where there is no room."""
    need = Need(tuple(pin for pin in need.pins if _keepable(pin)), need.target, need.sources)
    if not need.pins:
        return Shelf()
    notes: list[str] = []
    asked = True
    try:
        held = custody.held(need)
        if held.broken:
            notes.append(f"{held.broken}: it is written anew")
    except RegistryError as exc:
        notes.append(_note(custody, "cannot be asked for packages", exc))
        held, asked = Held({}), False
    try:
        into.mkdir()
    except OSError as exc:
        raise _unwritable(exc) from exc
    # what is built from source is a stranger's code, and must not reach the store's own files
    lay = partial(_lent, custody, into, apart=bool(need.sources))
    files = {pin: file for pin, file in held.files.items() if lay(file)}
    lacking = [pin for pin in need.pins if pin not in files]
    brought: Mapping[Pin, PackageFile] = {}
    trouble: OutsideError | None = None
    if files:
        say(f"{_count(files)} from custody in {custody.place}")
    if lacking:
        brought, trouble = _brought(custody, source, need, lacking, lay, say)
        files |= brought
        lacking = [pin for pin in lacking if pin not in files]
        if lacking and trouble is not None:
            notes.append(_note(custody, f"has no {_told(lacking)}", trouble))
    if not lacking and (brought or not held.exact):
        try:
            custody.record(files, need)
        except RegistryError as exc:
            notes.append(_note(custody, "takes no packages", exc))
    return Shelf(into, files, tuple(lacking), custody.place, asked, trouble, tuple(notes))


def _brought(
    custody: Custody,
    source: PackageSource,
    need: Need,
    pins: Sequence[Pin],
    lay: Callable[[PackageFile], bool],
    say: Callable[[str], None],
) -> tuple[dict[Pin, PackageFile], OutsideError | None]:
    """What the source has of pins, in the store and on the shelf; and what went wrong."""
    trouble: OutsideError | None = None
    wanted = {pin: _by_url(pin) for pin in pins if pin.url}
    named = tuple(pin for pin in pins if not pin.url)
    if named:
        say(f"asking the index for {_count(named)}")
        try:
            part = Need(named, need.target, need.sources)
            names = {pin.name for pin in named} & need.sources
            found = source.find(locked.dump(named), need.target, names)
            wanted |= part.matched(found)
        except BuildError as exc:
            trouble = exc
    if len(wanted) < len(pins) and trouble is None:
        trouble = BuildError("the index does not have a file for each line of the lock")
    brought: dict[Pin, PackageFile] = {}
    away: set[str] = set()  # hosts that do not give what they should
    for number, (pin, file) in enumerate(wanted.items(), 1):
        host = urlsplit(file.place).netloc
        if host in away:
            continue
        try:
            if not custody.store.has_blob(file.digest):
                if not file.size or file.size >= _LARGE:
                    size = f" ({file.size / 1e6:.1f} MB)" if file.size else ""
                    say(f"bringing {file.name}{size} into custody, {number} of {len(wanted)}")
                with custody.store.staging() as staging:
                    path = staging / secrets.token_hex(8)
                    source.bring(file, path)
                    custody.store.put_blob(path, file.digest, known=True)
        except OutsideError as exc:
            trouble = exc
            if isinstance(exc, PackageIndexError):
                away.add(host)
            continue
        if lay(file):
            brought[pin] = file
    return brought, trouble


def _lent(custody: Custody, into: Path, file: PackageFile, *, apart: bool) -> bool:
    """Put a file of the store on the shelf, under its name; whether the store gives it. A link will do where
    it need not be `apart` from the store's own. Raises RegistryError where it is damaged."""
    try:
        path = custody.file(file)
    except UnreachableError:
        return False
    except RegistryError as exc:
        raise RegistryError(
            f"{file.name} cannot be had from custody in {custody.place}: {exc.message}",
            hint=exc.hint
            or f"Have {file.digest} removed there, then: {_AGAIN} (an index must have it)",
            retryable=exc.retryable,
        ) from exc
    if path is None:
        return False
    try:
        if _digest(path) != file.digest:
            raise RegistryError(
                f"{custody.place} (custody) has other bytes of {file.name} than its name says",
                hint=f"Remove them, and the next build brings them again: rm {quote(str(path))} && {_AGAIN}",
            )
        if apart or not _linked(path, into / file.name):
            shutil.copyfile(path, into / file.name)
    except OSError as exc:
        raise _unwritable(exc) from exc
    return True


def _linked(path: Path, to: Path) -> bool:
    try:
        os.link(path, to)
    except OSError:  # another file system, or one without links
        return False
    return True


def _unwritable(exc: OSError) -> BuildError:
    return BuildError(
        f"cannot lay out packages: {exc}",
        hint="Make room there, and repeat: what was there before is unharmed",
        retryable=True,
    )


def _keepable(pin: Pin) -> bool:
    """By name, or a wheel by URL that says which bytes it means and what it is called."""
    if not pin.url:
        return True
    file = _by_url(pin)
    try:
        name = parse_wheel_filename(file.name)[0]
    except InvalidWheelFilename:
        return False
    return len(pin.hashes) == 1 and canonicalize_name(name) == pin.name


def _by_url(pin: Pin) -> PackageFile:
    name = unquote(urlsplit(pin.url).path.rpartition("/")[2])
    return PackageFile(name, pin.hashes[0], 0, pin.url)


def _version(file: PackageFile) -> str:
    return str(parse_wheel_filename(file.name)[1])


def _note(custody: Custody, what: str, exc: MlopsError) -> str:
    """The build goes on: what is not kept, why, and what keeps it later."""
    then = f"When that is mended, keep them: {_AGAIN}"
    return f"packages are not in custody: {custody.place} {what}: {exc.message}. {then}"


def _told(pins: Sequence[Pin]) -> str:
    names = [f"{pin.name} {pin.version}".strip() for pin in pins[:_NAMED]]
    more = len(pins) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _count(pins: Collection[object]) -> str:
    return f"{len(pins)} package{'s' if len(pins) != 1 else ''}"


def _digest(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())
