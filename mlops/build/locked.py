"""requirements.lock as a build reads it: one pin a line, each with its hash, and nothing else.

The file comes from the repository. What names a place of its own (an index, a directory, a repository)
or a password in it is refused before any program sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from mlops.domain.digest import Digest
from mlops.errors import BuildError

_LOCK = "requirements.lock"
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*+(?P<extras>\[[^\]]*+\])?+\s*+"
    r"(?:===?\s*+(?P<version>[^\s;,*]++)(?=[\s;]|\Z)|@\s*+(?P<url>\S++))(?P<rest>.*)\Z"
)
_REST = re.compile(r"(?:\s*;[^#]*?)?(?:\s+--hash=sha256:[0-9a-f]{64})+\s*")
_HASH = re.compile(r"\s--hash=sha256:([0-9a-f]{64})")
_OTHERS = (
    (re.compile(r"(?:-e|--editable)\b"), "an editable install"),
    (re.compile(r"-"), "an option"),
    (re.compile(r"(?:[^@]*@\s*)?(?:git|hg|svn|bzr)\+"), "a repository and not a package"),
    (re.compile(r"(?:[^@]*@\s*)?(?:\.{0,2}/|file:)"), "a path of one machine"),
)
_INSTEAD = "Run mlops lock. Name released packages or the https URL of a wheel; your own code belongs into build.code"


@dataclass(frozen=True, slots=True)
class Pin:
    """A locked package: normalised `name` (PEP 503), `version` or else `url`, and its line."""

    name: str
    version: str
    url: str
    line: str

    @property
    def hashes(self) -> tuple[Digest, ...]:
        return tuple(Digest(found) for found in _HASH.findall(self.line))

    def by_version(self, version: str) -> Pin:
        """A pin by URL as one by version: the same hashes, from wherever they come."""
        rest = self.line.partition(self.url)[2]
        return Pin(self.name, version, "", f"{self.name}=={version}{rest}")


def parse(content: bytes) -> tuple[Pin, ...]:
    """The pins in their order. Raises BuildError at every line that is none, with its number."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BuildError(f"{_LOCK} is not UTF-8", hint="Run mlops lock") from exc
    return tuple(_pin(number, line) for number, line in _lines(text))


def dump(pins: Sequence[Pin]) -> bytes:
    """The pins as a requirements file."""
    return "".join(f"{pin.line}\n" for pin in pins).encode()


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines as the installer sees them, a backslash joining one to the next, without comments."""
    whole, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        first = first or number
        line = re.sub(r"(?:\A|\s)#.*", "", raw).strip()
        whole += line.removesuffix("\\")
        if line.endswith("\\"):
            whole += " "
            continue
        if whole.strip():
            yield first, whole.strip()
        whole, first = "", 0
    if whole.strip():
        yield first, whole.strip()


def _pin(number: int, line: str) -> Pin:
    for pattern, what in _OTHERS:
        if pattern.match(line):
            raise _refused(number, line, f"is {what}: it has no hash that a build could check")
    match = _PIN.match(line)
    if match is None:
        raise _refused(number, line, "is no package with an exact version")
    if _REST.fullmatch(match["rest"]) is None:
        raise _refused(number, line, "has no sha256 to check it by")
    url = match["url"] or ""
    if url:
        _check_url(number, line, url)
    return Pin(canonicalize_name(match["name"]), match["version"] or "", url, line)


def _check_url(number: int, line: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        secret = parts.username is not None
    except ValueError:
        raise _refused(number, line, "has a URL that cannot be read") from None
    if secret:
        raise BuildError(
            f"{_LOCK}:{number}: the URL of {line.split(maxsplit=1)[0]} has a user or password in it",
            hint="Everybody who may read the repository can read it: change that password, and let "
            "netrc or the environment (UV_INDEX_…) hold the new one",
        )
    if parts.scheme not in ("https", "http"):
        raise _refused(number, line, f"comes by {parts.scheme or 'no'} URL, and not by https")
    if not parts.path.endswith(".whl"):
        raise _refused(number, line, "is the URL of something else than a wheel")


def _refused(number: int, line: str, why: str) -> BuildError:
    shown = re.sub(
        r"(?<=://)[^/@\s]*@", "…@", " ".join(line.split()).split(" --hash", maxsplit=1)[0]
    )[:80]
    return BuildError(f"{_LOCK}:{number}: {shown} {why}", hint=_INSTEAD)
