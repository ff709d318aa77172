"""pylock.toml (PEP 751): what it selects for a target. Selection and validation are `packaging`'s."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from packaging.pylock import (
    Package,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)

from mlops.config.sources.pinned import Pinned
from mlops.config.sources.wanted import Wanted
from mlops.errors import ConfigError

LIMIT = 64 << 20  # bytes
_AGAIN = "Write it again with the tool that made it, such as: uv export --format pylock.toml"


def parse(content: bytes, path: str, wanted: Wanted, sources: tuple[str, ...] = ()) -> Pinned:
    """The pins for the target, default groups without extras; `sources` names (PEP 503) what is built
    from source.

    Raises ConfigError: no such document, another Python or platform, no wheel that fits, something
    else than a release with a sha256.
    """
    lock = _document(content, path)
    lines, trusted = [], {}
    try:
        chosen = list(lock.select(environment=wanted.environment, tags=wanted.tags))
    except (PylockSelectError, PylockValidationError, KeyError, ValueError) as exc:
        raise ConfigError(
            f"{path} has nothing to install for {wanted}: {exc}",
            hint="Lock for this target with the tool that made it, or name another base",
        ) from exc
    for package, part in chosen:
        key, hashes = _pin(package, part, path, wanted, sources)
        lines.append(f"{key[0]}=={key[1]}")
        trusted[key] = hashes
    return Pinned(tuple(lines), trusted)


def _document(content: bytes, path: str) -> Pylock:
    if len(content) > LIMIT:
        raise ConfigError(f"{path}: {len(content)} bytes long, expected at most {LIMIT}")
    try:
        return Pylock.from_dict(tomllib.loads(content.decode("utf-8-sig")))
    except (PylockValidationError, ValueError, TypeError, RecursionError) as exc:
        raise ConfigError(f"{path} is no lock file by PEP 751: {exc}", hint=_AGAIN) from exc


def _pin(
    package: Package, part: object, path: str, wanted: Wanted, sources: tuple[str, ...]
) -> tuple[tuple[str, str], frozenset[str]]:
    if not isinstance(part, PackageWheel | PackageSdist) or package.version is None:
        raise ConfigError(
            f"{path}: {package.name} comes from a directory, a repository or an archive",
            hint="Name a released package; your own code belongs into build.code",
        )
    if isinstance(part, PackageSdist) and package.name not in sources:
        raise ConfigError(
            f"{path}: there is no wheel of {package.name} {package.version} for {wanted}",
            hint="Require another version, name another base, or let it be built from source in the "
            f"base: build: {{allow_sdist: [{package.name}]}}",
        )
    hashes = frozenset(_hashes(package))
    if not hashes:
        raise ConfigError(f"{path}: {package.name} has no sha256 to lock", hint=_AGAIN)
    return (package.name, str(package.version)), hashes


def _hashes(package: Package) -> Iterator[str]:
    parts: list[PackageWheel | PackageSdist] = [*(package.wheels or ())]
    parts += [package.sdist] if package.sdist else []
    for part in parts:
        if (digest := part.hashes.get("sha256")) is not None:
            yield digest.lower()
