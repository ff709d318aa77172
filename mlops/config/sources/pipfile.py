"""Pipfile.lock (pipenv, `pipfile-spec` 6): the packages of its default section."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlops.config.sources.pinned import Pinned
from mlops.config.sources.wanted import Wanted
from mlops.errors import ConfigError

LIMIT = 64 << 20  # bytes
_SPEC = 6
_AGAIN = "Write it again: pipenv lock"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HASH = re.compile(r"sha256:(?P<hex>[0-9a-f]{64})")
_EXTRA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# the tables of a Pipfile that a lock has elsewhere, or not at all; another one is a category of packages
_TABLES = ("source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv")
_SOURCE = {
    "name": "pypi",
    "url": "https://pypi.org/simple",
    "verify_ssl": True,
}  # where it names none
_ELSEWHERE = ("git", "hg", "svn", "bzr", "path", "file", "editable")


def parse(content: bytes, path: str, wanted: Wanted) -> Pinned:
    """The pins whose markers fit the target; `develop` is left out.

    Raises ConfigError: no such document, another Python, something else than a release with a sha256.
    """
    document = _document(content, path)
    _check_python(document, path, wanted)
    lines: list[str] = []
    trusted: dict[tuple[str, str], frozenset[str]] = {}
    for name, entry in document["default"].items():
        if not isinstance(entry, Mapping) or _NAME.fullmatch(name) is None:
            raise ConfigError(f"{path}: default: {name!a} is no package", hint=_AGAIN)
        if not _fits(entry, name, path, wanted):
            continue
        version, hashes = _pin(entry, name, path)
        lines.append(f"{name}{_extras(entry, name, path)}=={version}")
        trusted[canonicalize_name(name), version] = hashes
    return Pinned(tuple(lines), trusted)


def check(content: bytes, path: str, project: bytes | None, beside: str) -> None:
    """Raise ConfigError where it was made from another Pipfile than `project`, that at `beside`.

    A lock without a hash, or without a Pipfile, is taken at its word, as `pipenv sync` takes it.
    """
    made = _document(content, path)["_meta"].get("hash")
    known = made.get("sha256") if isinstance(made, Mapping) else None
    if project is None or known is None:
        return
    try:
        document = tomllib.loads(project.decode("utf-8-sig"))
        fresh = known in _hashes(document)
    except (ValueError, RecursionError, TypeError, AttributeError) as exc:
        raise ConfigError(f"{beside} is no Pipfile: {exc}") from exc
    if not fresh:
        raise ConfigError(
            f"{path} was made from another {beside}: it changed since",
            hint="Run pipenv lock, then mlops lock",
        )


def _hashes(pipfile: Mapping[str, Any]) -> set[str]:
    """What pipenv's releases write of a Pipfile: with its names as typed or canonical, and with categories
    besides packages and dev-packages or, before 2022.8, without."""
    found = set()
    categories = {key: table for key, table in pipfile.items() if key not in _TABLES}
    for others in (categories, {}):
        for spelled in (str, canonicalize_name):
            document = {
                "_meta": {
                    "sources": pipfile.get("source", [_SOURCE]),
                    "requires": pipfile.get("requires", {}),
                },
                "default": _spelled(pipfile.get("packages", {}), spelled),
                "develop": _spelled(pipfile.get("dev-packages", {}), spelled),
                **{key: _spelled(table, spelled) for key, table in others.items()},
            }
            text = json.dumps(document, sort_keys=True, separators=(",", ":"))
            found.add(hashlib.sha256(text.encode()).hexdigest())
    return found


def _spelled(table: Mapping[str, Any], spelled: Callable[[str], str]) -> dict[str, Any]:
    return {spelled(name): value for name, value in table.items()}


def _document(content: bytes, path: str) -> Mapping[str, Any]:
    if len(content) > LIMIT:
        raise ConfigError(f"{path}: {len(content)} bytes long, expected at most {LIMIT}")
    try:
        document: Any = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is no JSON: {exc}", hint=_AGAIN) from exc
    meta = document.get("_meta") if isinstance(document, dict) else None
    if not isinstance(meta, dict) or not isinstance(document.get("default"), dict):
        raise ConfigError(
            f"{path} is no lock file of pipenv: _meta or default is missing", hint=_AGAIN
        )
    if meta.get("pipfile-spec") != _SPEC:
        raise ConfigError(
            f"{path}: pipfile-spec is {meta.get('pipfile-spec')!a}, expected {_SPEC}", hint=_AGAIN
        )
    return dict(document)


def _check_python(document: Mapping[str, Any], path: str, wanted: Wanted) -> None:
    """It names one Python, to the minor version or to the patch."""
    requires = document["_meta"].get("requires")
    if not isinstance(requires, Mapping):
        return
    version = requires.get("python_full_version") or requires.get("python_version")
    if isinstance(version, str) and version.split(".")[:2] != wanted.python.split(".")[:2]:
        raise ConfigError(
            f"{path} is for Python {version}, and the base has {wanted.python}",
            hint="Name a base with that Python, or lock anew with pipenv --python",
        )


def _fits(entry: Mapping[str, Any], name: str, path: str, wanted: Wanted) -> bool:
    text = entry.get("markers")
    if text is None:
        return True
    try:
        environment = {key: str(value) for key, value in wanted.environment.items()}
        return Marker(str(text)).evaluate({**environment, "extra": ""})
    except (InvalidMarker, ValueError, RecursionError, KeyError) as exc:
        raise ConfigError(f"{path}: {name}: {text!a} is no marker", hint=_AGAIN) from exc


def _pin(entry: Mapping[str, Any], name: str, path: str) -> tuple[str, frozenset[str]]:
    if {*_ELSEWHERE} & set(entry):
        raise ConfigError(
            f"{path}: {name} comes from a directory, a repository or a file: it has no hash to lock",
            hint="Name a released package; your own code belongs into build.code",
        )
    version = entry.get("version")
    try:
        if not isinstance(version, str) or not version.startswith("=="):
            raise InvalidVersion(str(version))
        found = str(Version(version.lstrip("=").strip()))
    except InvalidVersion as exc:
        raise ConfigError(f"{path}: {name} has no exact version: {version!a}", hint=_AGAIN) from exc
    listed = entry.get("hashes")
    matches = [_HASH.fullmatch(str(each)) for each in listed] if isinstance(listed, list) else []
    hashes = frozenset(match["hex"] for match in matches if match is not None)
    if not hashes:
        raise ConfigError(f"{path}: {name} has no sha256 to lock", hint=_AGAIN)
    return found, hashes


def _extras(entry: Mapping[str, Any], name: str, path: str) -> str:
    extras = entry.get("extras") or []
    if not isinstance(extras, list) or not all(
        isinstance(each, str) and _EXTRA.fullmatch(each) for each in extras
    ):
        raise ConfigError(f"{path}: {name}: extras are no names", hint=_AGAIN)
    return f"[{','.join(extras)}]" if extras else ""
