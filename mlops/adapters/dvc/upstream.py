"""Imported data at its source, by DVC's own `update`: what it is now, and bringing it in.

Both happen in a directory that is thrown away, with the `.dvc` file and the DVC configuration of a commit in it
and nothing else. Comparing downloads nothing: DVC asks for ETags, sizes and, of git repositories, the commit.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops.adapters.dvc import program
from mlops.adapters.dvc.workspace import Workspace
from mlops.adapters.git import Repository
from mlops.documents import load
from mlops.domain.source import Commit
from mlops.errors import ConfigError
from mlops.ports.upstream import Compared

_SUFFIX = ".dvc"
_LISTING = 900.0  # seconds: a prefix of a million objects is listed in this time, or not at all
_COPYING = 24 * 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class DvcUpstream:
    """Meets `ports.Upstream`. `home` is the project's own directory, from which relative remotes are seen;
    `scratch` holds the throw-away directories. `remotes` as `workspace.Workspace` has them."""

    repository: Repository
    home: Path
    scratch: Path
    config: bytes | None = None
    remotes: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    def compare(self, commit: Commit, source: str) -> Compared:
        """See `ports.Upstream`."""
        path, before = self._import(commit, source)
        with self._laid(path, before) as space:
            self._call(
                space, ["update", "--no-download", "--", path], "asking for changes of", path
            )
            after = (space.tree / path).read_bytes()
        return Compared(path, _fingerprint(before, path), _fingerprint(after, path))

    def bring(self, commit: Commit, path: str) -> tuple[bytes, str]:
        """See `ports.Upstream`."""
        before = self.repository.read(commit, path) or b""
        with self._laid(path, before) as space:
            self._call(space, ["update", "--", path], "bringing in", path)
            after = (space.tree / path).read_bytes()
            space.push([path], timeout=_COPYING)
        return after, _fingerprint(after, path)

    def _call(self, space: Workspace, arguments: list[str], doing: str, path: str) -> None:
        space.reset_config()
        limit = _LISTING if "--no-download" in arguments else _COPYING
        program.call(
            arguments,
            doing=f"{doing} {path}",
            cwd=space.tree,
            env=space.environment(),
            timeout=limit,
        )

    @contextmanager
    def _laid(self, path: str, content: bytes) -> Iterator[Workspace]:
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="import-", dir=self.scratch) as directory:
            tree = Path(directory) / "tree"
            target = tree / path
            target.parent.mkdir(parents=True)
            target.write_bytes(content)
            yield Workspace(tree, Path(directory) / "cache", self.config, self.home, self.remotes)

    def _import(self, commit: Commit, source: str) -> tuple[str, bytes]:
        """Path and content of the `.dvc` file that is meant. Raises ConfigError where there is none, or it is
        no import that can be looked at from elsewhere."""
        names = (source, f"{source.rstrip('/')}{_SUFFIX}")
        files = [
            entry
            for entry in self.repository.files(commit)
            if entry.path.endswith(_SUFFIX) and entry.mode.startswith("100")
        ]
        for entry in files:
            if entry.path in names:
                content = self.repository.blob(entry.blob)
                _check(_dependency(content, entry.path), entry.path)
                return entry.path, content
        for entry in files:
            content = self.repository.blob(entry.blob)
            dependency = _dependency(content, entry.path)
            if dependency is not None and _url(dependency).rstrip("/") == source.rstrip("/"):
                _check(dependency, entry.path)
                return entry.path, content
        raise ConfigError(
            f"no .dvc file in commit {commit.short} imports {source}",
            hint=f"Import it, and commit what that writes: dvc import-url {source}",
        )


def _dependency(content: bytes, path: str) -> Mapping[str, Any] | None:
    """The source of an import; None for a file that is none, or cannot be read."""
    try:
        document = load(content, path).value
    except ConfigError:
        return None
    found = document.get("deps") if isinstance(document, dict) else None
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
        return None
    return found[0]


def _url(dependency: Mapping[str, Any]) -> str:
    repo = dependency.get("repo")
    return str(
        (repo if isinstance(repo, dict) else dependency).get("url") or dependency.get("path")
    )


def _check(dependency: Mapping[str, Any] | None, path: str) -> None:
    if dependency is None:
        raise ConfigError(
            f"{path} imports nothing: its data has no source",
            hint="Name a .dvc file that dvc import or dvc import-url wrote",
        )
    url = _url(dependency)
    if "://" not in url and not url.startswith("/") and "@" not in url:
        raise ConfigError(
            f"{path} imports {url}, which is seen from the project's directory alone",
            hint="Import it by an absolute path or a URL",
        )


def _fingerprint(content: bytes, path: str) -> str:
    """sha256 over what DVC wrote of the source: its ETag or hash, size, or the commit of a repository."""
    text = json.dumps(_dependency(content, path), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
