"""What DVC's own files record, read from their text: `dvc.lock` and `*.dvc`.

Nothing here imports dvc. Paths in these files are relative to a stage's working directory or to
the `.dvc` file; what leaves this module is relative to the project's root.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops.domain import yaml12
from mlops.domain.source import DataObject
from mlops.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LockedEntry:
    r"""A dependency or output as dvc.lock has it.

    `legacy` tells an md5 of before DVC 3, that was taken of text with its line ends made `\n`.
    """

    md5: str
    size: int | None = None
    nfiles: int | None = None
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class LockedStage:
    """A stage as dvc.lock has it; paths as written there: relative to the stage's directory."""

    cmd: tuple[str, ...]
    deps: Mapping[str, LockedEntry] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outs: Mapping[str, LockedEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrackedData:
    """An output of a `.dvc` file. `foreign` tells one that `dvc import` takes from another
    repository: it is fetched from there, never from this project's remote."""

    path: str
    md5: str
    size: int | None = None
    nfiles: int | None = None
    legacy: bool = False
    foreign: bool = False
    remote: str = ""

    @property
    def object(self) -> DataObject:
        return DataObject(self.path, self.md5, self.size, self.nfiles)


def join(directory: str, path: str) -> str:
    """`path` as seen from the project's root; URLs and absolute paths stay as they are."""
    if "://" in path or path.startswith("/"):
        return path
    return posixpath.normpath(posixpath.join(directory, path))


def address(lock_path: str, name: str) -> str:
    """DVC's address of a stage: `train`, or `sub/dvc.yaml:train` outside the root."""
    directory = posixpath.dirname(lock_path)
    return f"{directory}/dvc.yaml:{name}" if directory else name


def lock_path_of(stage: str) -> str:
    """Which dvc.lock records the stage of that address."""
    project, colon, _ = stage.rpartition(":")
    directory = posixpath.dirname(project) if colon else ""
    return posixpath.join(directory, "dvc.lock") if directory else "dvc.lock"


def parse_lock(content: bytes, path: str) -> dict[str, LockedStage]:
    """Stages of a dvc.lock (schema 1 or 2) by their address.

    Raises ConfigError with file and stage where it is not what DVC writes.
    """
    document = yaml12.load(content, path)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: not a dvc.lock", hint="Run: dvc repro, or restore it from git")
    stages = document.get("stages", {}) if "schema" in document else document
    if not isinstance(stages, dict):
        raise ConfigError(f"{path}: stages is not a mapping")
    return {address(path, str(name)): _stage(path, name, body) for name, body in stages.items()}


def _stage(path: str, name: object, body: Any) -> LockedStage:
    where = f"{path}: stage {name}"
    if not isinstance(body, dict):
        raise ConfigError(f"{where} is not a mapping")
    params = body.get("params", {})
    if not isinstance(params, dict) or not all(isinstance(v, dict) for v in params.values()):
        raise ConfigError(f"{where}: params is not a mapping of mappings")
    return LockedStage(
        cmd=commands(body.get("cmd")),
        deps=_entries(where, "deps", body.get("deps", [])),
        params={str(key): dict(value) for key, value in params.items()},
        outs=_entries(where, "outs", body.get("outs", [])),
    )


def commands(value: Any) -> tuple[str, ...]:
    """A stage's `cmd`, one text or a list, as a tuple; empty where there is none."""
    if value is None:
        return ()
    return tuple(str(line) for line in value) if isinstance(value, list) else (str(value),)


def _entries(where: str, key: str, items: Any) -> dict[str, LockedEntry]:
    if not isinstance(items, list):
        raise ConfigError(f"{where}: {key} is not a list")
    found = {}
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("path"), str):
            raise ConfigError(f"{where}: {key} has an entry without path")
        found[item["path"]] = LockedEntry(
            md5=str(item.get("md5") or item.get("etag") or item.get("checksum") or ""),
            size=_number(item.get("size")),
            nfiles=_number(item.get("nfiles")),
            legacy=_legacy(item),
        )
    return found


def _legacy(item: Mapping[str, Any]) -> bool:
    # DVC 3 writes `hash: md5` beside its md5; without it the md5 is that of DVC 2
    return "md5" in item and item.get("hash") is None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def parse_dvc(content: bytes, path: str) -> tuple[TrackedData, ...]:
    """The outputs that a `.dvc` file at `path` (from the root) records with their md5.

    Raises ConfigError where it is not what DVC writes.
    """
    document = yaml12.load(content, path)
    if not isinstance(document, dict) or not isinstance(document.get("outs", []), list):
        raise ConfigError(f"{path}: not a .dvc file", hint="Run: dvc add, or restore it from git")
    wdir = document.get("wdir")
    directory = join(posixpath.dirname(path), wdir if isinstance(wdir, str) else ".")
    deps = document.get("deps", [])
    foreign = any("repo" in dep for dep in _mappings(deps))
    return tuple(_tracked(path, directory, out, foreign) for out in _outs(path, document))


def _outs(path: str, document: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for out in document.get("outs", []):
        if not isinstance(out, dict) or not isinstance(out.get("path"), str):
            raise ConfigError(f"{path}: outs has an entry without path")
        if out.get("md5"):
            yield out


def _tracked(path: str, directory: str, out: Mapping[str, Any], foreign: bool) -> TrackedData:
    where = join(directory, out["path"])
    if where.startswith(("../", "/")) or where == "..":
        raise ConfigError(f"{path}: {out['path']} lies outside the project")
    return TrackedData(
        path=where,
        md5=str(out["md5"]),
        size=_number(out.get("size")),
        nfiles=_number(out.get("nfiles")),
        legacy=_legacy(out),
        foreign=foreign,
        remote=str(out.get("remote") or ""),
    )


def _mappings(items: Any) -> Iterable[Mapping[str, Any]]:
    return (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()
