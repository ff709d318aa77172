"""requirements.lock: which version of which package, for the reasons that a plan gives.

The installer reads the file by itself; nothing is installed from what is read here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from packaging.utils import canonicalize_name

from mlops.errors import ConfigError

LIMIT = 16 << 20  # bytes

# PEP 508 name and extras, then one exact version or a URL; markers and hashes follow.
_PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*+(?:\[[^\]]*+\])?+\s*+"
    r"(?:===?\s*+(?P<version>[^\s;,]+)|@\s*+(?P<url>\S+))"
)


def parse_requirements(content: bytes, origin: str = "requirements.lock") -> Mapping[str, str]:
    """Normalised name (PEP 503) → version, or URL where the package comes from one.

    Comments, options, hashes and markers are passed over; where markers list a package more than
    once, its versions stand together, `1.0 | 2.0`. Raises ConfigError on bytes that are no text.
    """
    if len(content) > LIMIT:
        raise ConfigError(f"{origin}: {len(content)} bytes long, expected at most {LIMIT}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{origin}:{line}: not UTF-8") from exc
    found: dict[str, list[str]] = {}
    for raw in re.sub(r"\\\r?\n", " ", text).splitlines():
        match = _PINNED.match(raw.strip())
        if match is not None:
            versions = found.setdefault(canonicalize_name(match["name"]), [])
            versions.append(match["version"] or match["url"])
    return MappingProxyType(
        {name: " | ".join(dict.fromkeys(found[name])) for name in sorted(found)}
    )
