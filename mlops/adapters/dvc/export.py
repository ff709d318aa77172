"""Writes the DVC files of a commit into a directory, for the probe to read.

Only what DVC needs to resolve the stage graph: a project with a gigabyte of code stays out.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops.domain import yaml12
from mlops.domain.dvcfiles import join
from mlops.domain.source import Commit
from mlops.errors import ConfigError, DvcError
from mlops.ports import FileEntry, SourceReader

FORMAT = "1"  # of the probe's answers: a cache of another one is not read
_LARGEST = 2**20  # bytes of a params file that templates may read
_NAMES = ("dvc.yaml", "dvc.lock", ".dvcignore", "params.yaml")


def selected(reader: SourceReader, commit: Commit) -> tuple[FileEntry, ...]:
    """The commit's DVC files, `.dvc/config`, and the parameter files that templates may name."""
    regular = {e.path: e for e in reader.files(commit) if e.mode.startswith("100")}
    chosen = {path: entry for path, entry in regular.items() if _is_dvc(path)}
    for path in [path for path in chosen if posixpath.basename(path) == "dvc.yaml"]:
        for name in _vars_files(reader.blob(chosen[path].blob), path):
            if name in regular:
                chosen[name] = regular[name]
    return tuple(entry for _, entry in sorted(chosen.items()))


def _is_dvc(path: str) -> bool:
    name = posixpath.basename(path)
    return name in _NAMES or path == ".dvc/config" or (name.endswith(".dvc") and name != ".dvc")


def _vars_files(content: bytes, path: str) -> Iterator[str]:
    """Files that `vars` of the project or of a stage name; DVC resolves them from its `wdir`."""
    try:
        document = yaml12.load(content, path)
    except ConfigError:
        return  # DVC says what is wrong with it, in its own words
    if not isinstance(document, dict):
        return
    directory = posixpath.dirname(path)
    yield from (join(directory, name) for name in _named(document.get("vars")))
    stages = document.get("stages")
    for body in stages.values() if isinstance(stages, dict) else ():
        for part in (body, body.get("do")) if isinstance(body, dict) else ():
            if isinstance(part, dict):
                wdir = part.get("wdir", ".")
                inner = join(directory, wdir) if isinstance(wdir, str) else directory
                for name in (*_named(part.get("vars")), "params.yaml"):
                    yield join(inner, name)
                    yield join(directory, name)


def _named(items: Any) -> Iterable[str]:
    if not isinstance(items, list):
        return ()
    return [item.partition(":")[0] for item in items if isinstance(item, str)]


def key(entries: Iterable[FileEntry], version: str) -> str:
    """The cache key of a graph: the blobs it is resolved from, DVC's version, our format."""
    text = "\n".join(f"{entry.blob} {entry.path}" for entry in entries)
    return hashlib.sha256(f"{FORMAT}\n{version}\n{text}".encode()).hexdigest()[:32]


def write(reader: SourceReader, entries: Iterable[FileEntry], target: Path) -> None:
    """Write the files below `target`. Raises DvcError where a path leads out of it."""
    root = target.resolve()
    for entry in entries:
        content = reader.blob(entry.blob)
        if len(content) > _LARGEST and not _is_dvc(entry.path):
            continue
        path = (root / entry.path).resolve()
        if not path.is_relative_to(root):
            raise DvcError(f"{entry.path} lies outside the project")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / ".dvc").mkdir(exist_ok=True)


def default_remote(configs: Iterable[str]) -> str:
    """The default remote's name, of the last of DVC's configuration texts that sets one."""
    found = ""
    for text in configs:
        section = ""
        for raw in text.splitlines():
            line = raw.strip()
            if line.startswith("["):
                section = line.strip("[] \"'").lower()
            elif section == "core" and line.partition("=")[0].strip().lower() == "remote":
                found = line.partition("=")[2].strip().strip("\"'")
    return found


def stage_values(documents: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The probe's stages, checked for the keys that we read."""
    for document in documents:
        if not isinstance(document, dict) or "name" not in document:
            raise DvcError("the probe of dvc.yaml gave an answer that is none")
        yield document
