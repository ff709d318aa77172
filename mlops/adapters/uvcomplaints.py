"""What uv says when it cannot install, as errors that name package, target and what would help.

uv's own words are kept where they are not understood. Its texts are those of uv 0.9 and newer; tests hold
them against the locked one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlops.errors import BuildError, PackageIndexError

_NO_WHEEL = re.compile(r"Because (?P<name>\S+?)==(?P<version>\S+) has no (?:usable )?wheels")
_TAGS = re.compile(
    r"we only found wheels for `[^`]+`(?: \([^)]*\))? with the following (?P<tags>.+)"
)
_NOT_THERE = re.compile(
    r"Because (?P<name>[^\s=]+) was not found in the (?P<where>package registry|provided package locations)"
)
_NOT_CACHED = re.compile(r"Because (?P<name>[^\s=]+) was not found in the cache")
_NO_VERSION = re.compile(r"Because there is no version of (?P<name>[^\s=]+)==(?P<version>\S+) and")
_MISMATCH = re.compile(
    r"Hash mismatch for `(?P<what>[^`]+)`\s+Expected:\s+(?P<expected>(?:sha256:\w+\s+)+)"
    r"Computed:\s+(?P<computed>sha256:\w+)"
)
_DENIED = re.compile(r"(?P<code>40[13]) (?:Unauthorized|Forbidden)|Missing credentials")
_COMPILER = re.compile(
    r"(?:command|unable to execute|failed to execute command|error: linker|Unknown compiler)[^\n]*?"
    r"(?P<name>[\w.+-]*(?:gcc|g\+\+|clang|\bcc|c\+\+|gfortran|cargo|rustc))\b|Unknown compiler"
)
_YANKED = re.compile(
    r"warning: `(?P<what>[^`]+)` is yanked(?: \(reason: \"(?P<reason>[^\n]*)\"\))?"
)
_AWAY = re.compile(
    r"(?:Failed to fetch: |error sending request for url \()`?(?P<url>https?://[^\s`)]+)"
)
_SERVER = re.compile(r"HTTP status (?:server error|client error) \((?P<code>5\d\d|429)[^)]*\)")
_GONE = re.compile(
    r"HTTP status client error \((?:404|410) [^)]*\) for url \((?P<url>https?://[^\s`)]+)\)"
)
_FULL = re.compile(r"[^\n]*(?=: No space left on device|(?<=\S)\s*\(os error 28\))")
_USERINFO = re.compile(r"(?<=://)[^/@\s`]+@")
_PACKAGE = re.compile(r"[Ff]ailed to (?:build|prepare|download(?: and build)?) `(?P<what>[^`]+)`")


def explained(error: BuildError, target: str) -> BuildError:
    """The error in our words, where it is one of those that are known; `target` says what wheels were
    wanted for. Passwords in URLs are taken out in any case."""
    text = without_passwords(error.message)
    flat = " ".join(text.split())
    for found in _readings(text, flat, target):
        return found
    return BuildError(text, hint=error.hint, retryable=error.retryable)


def _cause(text: str) -> str:
    """The last reason that uv gives, which is the first one in the chain of events."""
    return text.strip().splitlines()[-1].strip().removeprefix("cause: ")


def without_passwords(text: str) -> str:
    """A text whose URLs name neither user nor password."""
    return _USERINFO.sub("…@", text)


def withdrawn(stderr: str) -> tuple[str, ...]:
    """The releases that uv says are yanked (PEP 592), a sentence each."""
    return tuple(
        f"{match['what'].replace('==', ' ')} was withdrawn from its index"
        + (f": {match['reason']}" if match["reason"] else "")
        for match in _YANKED.finditer(without_passwords(stderr))
    )


def _readings(text: str, flat: str, target: str) -> Iterator[BuildError]:
    if match := _MISMATCH.search(flat):
        yield BuildError(
            f"{match['what']} has other bytes than requirements.lock pins: expected "
            f"{match['expected'].strip()}, found {match['computed']}",
            hint="The index, or somebody on the way, replaced it. Find out why before you run: "
            "mlops lock --upgrade " + re.split(r"[=<>@ ]", match["what"])[0],
        )
    if match := _FULL.search(text):
        yield BuildError(
            f"there is no room left to install packages: {match[0].strip()}: No space left on device",
            hint="Make room there or for uv's cache, and repeat: what was there before is unharmed",
            retryable=True,
        )
    if match := _NO_WHEEL.search(flat):
        name, tags = match["name"], _TAGS.search(text)
        there = f"; there are wheels with the {tags['tags']}" if tags else ""
        yield BuildError(
            f"there is no wheel of {name} {match['version']} for {target}{there}",
            hint=f"Require another version, name another base, or let it be built from source in the "
            f"base: build: {{allow_sdist: [{name}]}}",
        )
    if match := _COMPILER.search(text):
        what = _PACKAGE.search(text)
        yield BuildError(
            f"{what['what'] if what else 'a package'} cannot be built from source: the base has no "
            f"{match['name'] or 'compiler'}",
            hint="Name a base with a compiler, or a version of the package that has a wheel",
        )
    if _DENIED.search(flat):
        yield PackageIndexError(
            f"the package index refuses: {flat[-400:]}",
            hint="Give uv its user and password: netrc, UV_INDEX_<NAME>_USERNAME and _PASSWORD, or keyring",
        )
    if (match := _AWAY.search(flat)) and (_SERVER.search(flat) or "HTTP status" not in flat):
        yield PackageIndexError(
            f"the package index cannot be asked for {match['url']}: {_cause(text)}",
            hint="Nothing was changed. Repeat when it answers, or check uv's settings of indexes",
            retryable=True,
        )
    if match := _GONE.search(flat):
        yield PackageIndexError(
            f"the package index has no {match['url']} any more",
            hint="Check uv's settings of indexes (UV_INDEX, uv.toml), or move on: mlops lock --upgrade",
        )
    if match := _NOT_CACHED.search(flat):
        yield PackageIndexError(
            f"{match['name']} is not in uv's cache, and UV_OFFLINE keeps uv from its index",
            hint="Let it ask: UV_OFFLINE=0",
            retryable=True,
        )
    for pattern in (_NOT_THERE, _NO_VERSION):
        if match := pattern.search(flat):
            version = match.groupdict().get("version", "")
            yield PackageIndexError(
                f"{match['name']}{f' {version}' if version else ''} is not in the package index that uv asks",
                hint="Check uv's settings of indexes (UV_INDEX, uv.toml), or run: mlops lock",
            )
