"""What another tool's lock pins: requirement lines for the resolver, and the hashes it trusts.

The resolver looks up hashes anew, and would take what an index says today for the truth. So the
hashes that the other lock holds are kept beside, and the answer is held against them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*+(?:\[[^\]]*+\])?+\s*+"
    r"(?:===?\s*+(?P<version>[^\s;,*#]++)|@\s*+(?P<url>[^\s#]++)\S*+)"
)
_HASH = re.compile(r"--hash[= ]sha256:(?P<hex>[0-9a-fA-F]{64})(?![0-9a-fA-F])")
_JOINED = re.compile(r"\\\r?\n")
Trusted = Mapping[tuple[str, str], frozenset[str]]  # name (PEP 503) and version or URL → sha256


@dataclass(frozen=True, slots=True)
class Pinned:
    """Requirement lines without hashes, and the sha256 (hex) that are trusted for each pin."""

    lines: tuple[str, ...] = ()
    trusted: Trusted = field(default_factory=dict)


def of_lines(lines: Iterable[str]) -> Pinned:
    """The pins of requirement lines; what has no hash is trusted with any."""
    kept: list[str] = []
    trusted: dict[tuple[str, str], frozenset[str]] = {}
    for line in lines:
        kept.append(_HASH.sub("", line).strip())
        if found := pin_of(line):
            key, hashes = found
            trusted[key] = trusted.get(key, frozenset()) | hashes
    return Pinned(tuple(kept), trusted)


def hashes_of(text: str) -> dict[tuple[str, str], frozenset[str]]:
    """The pins of a requirements file that name hashes."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for line in joined(text):
        if (known := pin_of(line)) and known[1]:
            found[known[0]] = found.get(known[0], frozenset()) | known[1]
    return found


def pin_of(line: str) -> tuple[tuple[str, str], frozenset[str]] | None:
    """Name and version (or URL) of a pin, and its hashes; None where the line is no pin."""
    match = _PIN.match(line.strip())
    if match is None:
        return None
    key = (canonicalize_name(match["name"]), match["version"] or match["url"])
    return key, frozenset(each["hex"].lower() for each in _HASH.finditer(line))


def joined(text: str) -> Iterator[str]:
    """Lines as an installer sees them: a backslash joins one to the next; without comments."""
    for raw in _JOINED.sub(" ", text).splitlines():
        line = re.sub(r"(?:\A|\s)#.*", "", raw).strip()
        if line:
            yield line
