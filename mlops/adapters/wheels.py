"""Wheels from package indexes, as files: uv says where they lie, and they are downloaded as they are.

uv keeps what it installs unpacked, and a wheel cannot be made again from that byte for byte; so the bytes come
from where uv would take them, and are held against the hash of the lock.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.pylock import PackageWheel, Pylock, PylockSelectError, PylockValidationError

from mlops.adapters.barehttpx import httpx
from mlops.adapters.uv import Uv
from mlops.adapters.uvcomplaints import without_passwords
from mlops.config.sources.wanted import Wanted
from mlops.domain.digest import Digest
from mlops.domain.wheel import Wheel
from mlops.errors import BuildError
from mlops.ports import Target

_PATIENCE = httpx.Timeout(20.0, connect=5.0)
_LARGEST = 8 << 30  # bytes of a wheel
_PIECE = 1 << 20
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")


@dataclass(slots=True)
class IndexedWheels:
    """Meets `build.custody.PackageSource` with the indexes of uv's settings in `project`.

    Who we are to an index is read from URLs in the environment and in uv's settings, from UV_INDEX_…_USERNAME and
    …_PASSWORD; neither netrc nor a keyring is asked.
    """

    uv: Uv
    project: Path
    _places: dict[Digest, str] = field(default_factory=dict)

    def find(self, requirements: bytes, target: Target) -> Sequence[Wheel]:
        wanted = Wanted(target.platform, target.python, target.libc)
        try:
            lock = Pylock.from_dict(tomllib.loads(self.uv.located(requirements, target)))
            chosen = list(lock.select(environment=wanted.environment, tags=wanted.tags))
        except (PylockValidationError, PylockSelectError, ValueError, KeyError) as exc:
            raise BuildError(f"no wheels could be chosen for {wanted}: {exc}") from exc
        return tuple(self._wheel(part) for _, part in chosen)

    def _wheel(self, part: object) -> Wheel:
        if not isinstance(part, PackageWheel) or not (part.url or part.path):
            raise BuildError("a package of the lock has no wheel to be kept")
        sha256 = part.hashes.get("sha256", "")
        place = part.url or str(self.project / str(part.path))
        name = part.name or unquote(urlsplit(place).path.rpartition("/")[2])
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise BuildError(f"the index has no sha256 of {name}")
        wheel = Wheel(name, Digest(sha256), part.size or 0)
        self._places[wheel.digest] = place
        return wheel

    def bring(self, wheel: Wheel, into: Path) -> None:
        place = self._places[wheel.digest]
        found = hashlib.sha256()
        try:
            with into.open("xb") as file:
                for piece in self._pieces(place):
                    found.update(piece)
                    if file.tell() > _LARGEST:
                        raise BuildError(f"{wheel.name} has no end")
                    file.write(piece)
        except (OSError, httpx.HTTPError) as exc:
            said = without_passwords(str(exc)) or type(exc).__name__
            raise BuildError(f"{wheel.name} could not be downloaded: {said}") from exc
        if found.hexdigest() != wheel.digest.hex:
            raise BuildError(
                f"{wheel.name} has other bytes than the index says: sha256 {found.hexdigest()}"
            )

    def _pieces(self, place: str) -> Iterator[bytes]:
        parts = urlsplit(place)
        if parts.scheme in ("", "file"):
            with Path(unquote(parts.path)).open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
            return
        auth = self._logins().get(parts.netloc.rpartition("@")[2])
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


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return {}
