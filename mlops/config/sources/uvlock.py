"""uv.lock: checked before uv reads it, which alone knows all of the format."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mlops.errors import ConfigError

LIMIT = 64 << 20  # bytes
_VERSION = 1
_AGAIN = "Write it again: uv lock"


def check(content: bytes, path: str, project: bytes | None, beside: str) -> None:
    """Raise ConfigError where it is damaged, or older than the dependencies of `project`, the content
    of the pyproject.toml at `beside`."""
    document = _document(content, path)
    if project is None:
        raise ConfigError(
            f"{path} has no pyproject.toml beside it", hint=f"Bring {beside} back: uv reads both"
        )
    wanted = _dependencies(project, beside)
    locked = _locked(document)
    if wanted is None or locked is None:
        return
    if changed := sorted(wanted ^ locked):
        raise ConfigError(
            f"{path} is older than {beside}: {', '.join(dict.fromkeys(changed))} changed",
            hint="Run uv lock, then mlops lock",
        )


def _document(content: bytes, path: str) -> Mapping[str, Any]:
    if len(content) > LIMIT:
        raise ConfigError(f"{path}: {len(content)} bytes long, expected at most {LIMIT}")
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is no TOML: {exc}", hint=_AGAIN) from exc
    version, packages = document.get("version"), document.get("package", [])
    if version != _VERSION:
        raise ConfigError(f"{path}: version is {version!a}, expected {_VERSION}", hint=_AGAIN)
    if not isinstance(packages, list) or not all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in packages
    ):
        raise ConfigError(f"{path}: its packages have no names", hint=_AGAIN)
    return document


def _dependencies(project: bytes, path: str) -> set[str] | None:
    """`[project] dependencies` in a form to compare; None where uv alone can know them."""
    try:
        table = tomllib.loads(project.decode("utf-8-sig")).get("project", {})
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is no TOML: {exc}") from exc
    listed = table.get("dependencies", []) if isinstance(table, Mapping) else []
    if not isinstance(listed, list) or "dependencies" in table.get("dynamic", ()):
        return None
    try:
        found = [Requirement(str(text)) for text in listed]
    except InvalidRequirement as exc:
        raise ConfigError(f"{path}: dependencies: {exc}") from exc
    return {_form(each.name, str(each.specifier)) for each in found if each.url is None}


def _locked(document: Mapping[str, Any]) -> set[str] | None:
    """What the project required when it was locked, of the package that is the project itself."""
    for package in document.get("package", ()):
        source = package.get("source")
        if isinstance(source, Mapping) and "." in (source.get("virtual"), source.get("editable")):
            metadata = package.get("metadata")
            listed = metadata.get("requires-dist", []) if isinstance(metadata, Mapping) else []
            return set(_forms(listed))
    return None


def _forms(listed: Any) -> Iterable[str]:
    for each in listed if isinstance(listed, list) else ():
        plain = isinstance(each, Mapping) and not {"url", "git", "path", "editable"} & set(each)
        if plain and "extra ==" not in str(each.get("marker", "")):
            yield _form(str(each.get("name", "")), str(each.get("specifier", "")))


def _form(name: str, specifier: str) -> str:
    parts = ",".join(sorted(part.strip().replace(" ", "") for part in specifier.split(",")))
    return f"{canonicalize_name(name)}{parts}"
