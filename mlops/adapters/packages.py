"""Wheels and sdists from package indexes, as files: uv says where they lie, and they are downloaded as they are.

uv keeps what it installs unpacked, and a wheel cannot be made again from that byte for byte; so the bytes come
from where uv would take them, and are held against the hash of the lock.
"""

from __future__ import annotations

import hashlib
import netrc
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.pylock import (
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)

from mlops.adapters.barehttpx import httpx
from mlops.adapters.uv import Uv, offline
from mlops.adapters.uvcomplaints import without_passwords
from mlops.config.sources.wanted import Wanted
from mlops.domain.digest import Digest
from mlops.domain.packagefile import PackageFile
from mlops.errors import BuildError, PackageIndexError
from mlops.ports import Target

_PATIENCE = httpx.Timeout(20.0, connect=5.0)
_LARGEST = 8 << 30  # bytes of a file
_PIECE = 1 << 20
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")


@dataclass(frozen=True, slots=True)
class IndexedPackages:
    """Meets `build.shelf.PackageSource` with the indexes of uv's settings in `project`.

    Who we are to an index is read from URLs in the environment and in uv's settings, from UV_INDEX_…_USERNAME and
    …_PASSWORD, then from netrc, as uv does it; no keyring is asked.
    """

    uv: Uv
    project: Path

    def find(
        self, requirements: bytes, target: Target, sources: Collection[str] = ()
    ) -> Sequence[PackageFile]:
        wanted = Wanted(target.platform, target.python, target.libc)
        try:
            lock = Pylock.from_dict(tomllib.loads(self.uv.located(requirements, target)))
            chosen = list(lock.select(environment=wanted.environment, tags=wanted.tags))
        except (PylockValidationError, PylockSelectError, ValueError, KeyError) as exc:
            raise BuildError(f"no wheels could be chosen for {wanted}: {exc}") from exc
        return tuple(
            self._file(package.name, package.sdist if package.name in sources else part)
            for package, part in chosen
        )

    def _file(self, package: str, part: object) -> PackageFile:
        if not isinstance(part, PackageWheel | PackageSdist) or not (part.url or part.path):
            raise BuildError(f"the index has no file of {package} that could be kept")
        sha256 = part.hashes.get("sha256", "")
        place = part.url or str(self.project / str(part.path))
        name = part.name or unquote(urlsplit(place).path.rpartition("/")[2])
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise BuildError(f"the index has no sha256 of {name}")
        return PackageFile(name, Digest(sha256), part.size or 0, place)

    def bring(self, file: PackageFile, into: Path) -> None:
        found = hashlib.sha256()
        try:
            with into.open("xb") as out:
                for piece in self._pieces(file.place):
                    found.update(piece)
                    if out.tell() > _LARGEST:
                        raise BuildError(f"{file.name} has no end")
                    out.write(piece)
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as exc:
            said = without_passwords(str(exc)).splitlines()[:1] or [type(exc).__name__]
            kind = PackageIndexError if isinstance(exc, httpx.TransportError) else BuildError
            host = urlsplit(file.place).netloc.rpartition("@")[2] or "this machine"
            raise kind(f"{host} does not give {file.name}: {said[0]}") from exc
        if found.hexdigest() != file.digest.hex:
            raise BuildError(
                f"{file.name} has other bytes than requirements.lock pins: sha256 {found.hexdigest()}"
            )

    def _pieces(self, place: str) -> Iterator[bytes]:
        parts = urlsplit(place)
        if parts.scheme in ("", "file"):
            with Path(unquote(parts.path)).open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
            return
        if offline():
            raise PackageIndexError(
                f"{parts.hostname} is not asked for {place.rpartition('/')[2]}: UV_OFFLINE is set"
            )
        auth = self._logins().get(parts.netloc.rpartition("@")[2])
        if auth is None and parts.username is None:
            auth = _netrc(parts.hostname or "")
        with httpx.stream(
            "GET", place, auth=auth, timeout=_PATIENCE, follow_redirects=True
        ) as answer:
            answer.raise_for_status()
            yield from answer.iter_bytes(_PIECE)

    def _logins(self) -> Mapping[str, tuple[str, str]]:
        """Host → user and password, of the indexes that uv is told of."""
        found: dict[str, tuple[str, str]] = {}
        for name, url in self._indexes():
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
            if parts.username:
                found[host] = (unquote(parts.username), unquote(parts.password or ""))
            variable = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"
            user, password = (
                os.environ.get(f"{variable}_{end}") for end in ("USERNAME", "PASSWORD")
            )
            if name and (user or password):
                found[host] = (user or "", password or "")
        return found

    def _indexes(self) -> Iterator[tuple[str, str]]:
        """Name, empty where it has none, and URL."""
        for variable in _INDEXES:
            for each in os.environ.get(variable, "").split():
                name, equals, url = each.partition("=")
                yield (name, url) if equals and "/" not in name else ("", each)
        for settings in self._settings():
            for index in settings.get("index") or ():
                if isinstance(index, dict) and isinstance(index.get("url"), str):
                    yield str(index.get("name") or ""), index["url"]

    def _settings(self) -> Iterator[Mapping[str, Any]]:
        named = os.environ.get("UV_CONFIG_FILE")
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        files = [Path(named)] if named else [self.project / "uv.toml", home / "uv" / "uv.toml"]
        for path in files:
            yield _toml(path)
        if not named:
            tool = _toml(self.project / "pyproject.toml").get("tool")
            own = tool.get("uv") if isinstance(tool, dict) else None
            yield own if isinstance(own, dict) else {}


def _netrc(host: str) -> tuple[str, str] | None:
    """User and password by uv's rule: the file that NETRC names, else ~/.netrc; one that cannot be read says
    nothing."""
    try:
        # named, so that its permissions are its owner's affair, as they are to uv
        found = netrc.netrc(os.environ.get("NETRC") or Path.home() / ".netrc").authenticators(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError, RuntimeError):
        return None
    return (found[0], found[2] or "") if found else None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return {}
