"""What impact is judged on: one model's ingredients at two sources, and its stage graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mlops.domain.dvcfiles import LockedStage
from mlops.domain.pipeline import Stage
from mlops.domain.source import Commit


class Entry(Protocol):
    """A file of a commit, as the git adapter lists it."""

    @property
    def path(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def blob(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Tree:
    """The regular files of a commit: path → blob id, and what reads a blob.

    `over` holds files that are laid over those of the commit: a release's recorded dvc.lock and
    its `cache: false` outputs. `odd` lists paths of symlinks and submodules.
    """

    blobs: Mapping[str, str]
    read: Callable[[str], bytes]
    over: Mapping[str, bytes] = field(default_factory=dict)
    odd: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[Entry], read: Callable[[str], bytes], without: str = "") -> Tree:
        """The files of a commit, those below the directory `without` left out."""
        blobs, odd = {}, set()
        for entry in entries:
            if without and entry.path.startswith(f"{without}/"):
                continue
            if entry.mode.startswith("100"):
                blobs[entry.path] = entry.blob
            else:
                odd.add(entry.path)
        return cls(blobs, read, odd=frozenset(odd))

    def content(self, path: str) -> bytes | None:
        """The file's bytes, None where there is no regular file of that name."""
        if path in self.over:
            return self.over[path]
        blob = self.blobs.get(path)
        return None if blob is None else self.read(blob)

    def below(self, directory: str) -> tuple[str, ...]:
        """The regular files in a directory, sorted; `.` is the root."""
        prefix = "" if directory in ("", ".") else f"{directory}/"
        found = {path for path in (*self.blobs, *self.over) if path.startswith(prefix)}
        return tuple(sorted(found))

    def laid(self, files: Mapping[str, bytes]) -> Tree:
        return replace(self, over={**self.over, **files})


@dataclass(frozen=True, slots=True)
class Side:
    """What one model is made from at one source.

    `files`: path → blob id (environments left out). `config`: the model's settings, key → text,
    keys as mlops.yaml nests them (`models.spam.serve.port`). `packages`: name → version, of the
    requirements lock. `base`: digest of the locked base, empty where not locked. `data`: path that
    a `.dvc` file versions → (md5, path of the `.dvc` file).
    """

    commit: Commit
    files: Mapping[str, str]
    config: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stage graph at the source, and what decides which of its stages are stale.

    `targets` are the model's `train.stages`; none means every stage. `locks` is the effective
    dvc.lock by stage address. `hashes` has the md5s that DVC could take of each input now: none
    where that cannot be known, no key where the input is not there. `params`: file → values.
    `absent` lists outputs that dvc.lock records and the remote lacks.
    """

    stages: tuple[Stage, ...] = ()
    targets: tuple[str, ...] = ()
    locks: Mapping[str, LockedStage] = field(default_factory=dict)
    hashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SourceView:
    """One model between two sources; `since` is None at its first release.

    `paths` are the model's globs, `code` its code directories, `lock` the path of its requirements
    lock; `command` says that it trains by a command of its own, without DVC. `recorded` is the
    md5 of the artifact in the release at `since`.
    """

    model: str
    source: Side
    since: Side | None
    pipeline: Pipeline = Pipeline()
    paths: tuple[str, ...] = ("**",)
    code: tuple[str, ...] = ()
    lock: str = "requirements.lock"
    base_name: str = "host"
    command: bool = False
    artifact: str = ""
    recorded: str = ""
