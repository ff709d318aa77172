"""The pins of a requirements lock: each with its hash, and held against what its source trusts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from packaging.utils import canonicalize_version

from mlops.config.sources.pinned import Trusted, joined, pin_of
from mlops.errors import BuildError, ConfigError

_PINNED = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?(?:==[^\s;]+| @ https?://\S+)"
    r"(?:\s*;[^#]*?)?(?:\s+--hash=sha256:[0-9a-f]{64})+"
)
_HASH = re.compile(r"\s+--hash=sha256:(?P<hex>[0-9a-fA-F]+)")
Key = tuple[str, str]  # name (PEP 503), and version or URL


def check_pins(content: bytes, origin: str) -> None:
    """Raise ConfigError at a requirement of the resolver's answer without version and hash."""
    for line in joined(content.decode()):
        if _PINNED.fullmatch(line) is None:
            raise ConfigError(
                f"{origin}: {line.split(' --hash')[0][:80]} has no version and hash to lock",
                hint="Name a released package or the URL of a wheel",
            )


def without_options(content: bytes) -> bytes:
    """The pins without lines of options, such as an index with a password, which uv's settings may ask
    it to write."""
    lines = content.decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("--")).encode()


def damaged(content: bytes) -> str:
    """The first line of a requirements lock that is no pin with a hash; empty where there is none."""
    for line in joined(content.decode(errors="replace")):
        if _PINNED.fullmatch(line) is None:
            return line.split(" --hash")[0].strip()[:80]
    return ""


def sound(content: bytes) -> bytes:
    """What can be read of a lock that was damaged, as by a merge: the first pin of each package."""
    kept: dict[str, str] = {}
    for line in joined(content.decode(errors="replace")):
        found = pin_of(line) if _PINNED.fullmatch(line) else None
        if found is not None:
            kept.setdefault(found[0][0], line)
    return "".join(f"{line}\n" for line in kept.values()).encode()


def hashes(content: bytes) -> Mapping[Key, frozenset[str]]:
    """The sha256 of each pin."""
    found = (pin_of(line) for line in joined(content.decode(errors="replace")))
    return {pin[0]: pin[1] for pin in found if pin is not None}


def held_against(content: bytes, trusted: Trusted, source: str) -> bytes:
    """The pins with those hashes alone that the source trusts, where it names any.

    Raises BuildError where the index knows none of them: its bytes are others.
    """
    if not any(trusted.values()):
        return content
    known: dict[Key, frozenset[str]] = {}
    for key, some in trusted.items():
        known[_same(key)] = known.get(_same(key), frozenset()) | some
    return "".join(_held(content.decode(), known, source)).encode()


def _same(key: Key) -> Key:
    """The key with its version in one form: `1.0.0` and `1` are the same release (PEP 440)."""
    name, version = key
    return name, version if "://" in version else canonicalize_version(version)


def _held(text: str, trusted: Trusted, source: str) -> Iterator[str]:
    for line in joined(text):
        found = pin_of(line)
        known = trusted.get(_same(found[0])) if found is not None else None
        if found is None or not known:
            kept = sorted(found[1]) if found is not None else []
        else:
            kept = sorted(found[1] & known)
            if not kept:
                raise _mismatch(found[0], known, found[1], source)
        words = [_HASH.sub("", line), *(f"--hash=sha256:{each}" for each in kept)]
        yield " \\\n    ".join(words) + "\n"


def _mismatch(key: Key, known: frozenset[str], found: frozenset[str], source: str) -> BuildError:
    name, version = key
    shown = [
        ", ".join(f"sha256:{each[:12]}…" for each in sorted(some)[:3]) for some in (known, found)
    ]
    return BuildError(
        f"{name} {version} has other bytes in the package index than {source} pins: expected "
        f"{shown[0]}, found {shown[1]}",
        hint="The index, or somebody on the way, replaced it: find out why before you lock anew",
    )
