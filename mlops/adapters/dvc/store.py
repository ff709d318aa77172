"""What DVC versions at a commit, its stage graph, and what its remote holds."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlops.adapters import process
from mlops.adapters.dvc import commands, export, program
from mlops.domain.dvcfiles import TrackedData, parse_dvc, parse_lock
from mlops.domain.pipeline import ParamsDep, Stage, StageOut
from mlops.domain.source import Commit, DataObject, DataVersion
from mlops.errors import ConfigError, DvcError
from mlops.ports import FileEntry, SourceReader

_TIMEOUT = 600.0  # seconds, for a remote with very many objects


class DvcStore:
    """DVC of one project.

    `reader` reads the repository, `root` is the project's directory (for `.dvc/config.local` and
    relative remotes; it need not be a work tree), `cache` keeps resolved stage graphs.
    """

    def __init__(
        self, reader: SourceReader, root: Path, cache: Path, *, confined: bool = False
    ) -> None:
        """`confined`: the commits are strangers'. Their graph is read where nothing of this machine
        can be seen, and no remote is asked: it counts as having everything."""
        self._confined = confined
        self._reader = reader
        self._root = root
        self._cache = cache

    def objects(self, commit: Commit) -> DataVersion:
        """The data version: what `.dvc` files and dvc.lock record, sorted by path.

        Raises ConfigError where one of those files is not what DVC writes.
        """
        found = {data.path: data.object for data in self.tracked(commit)}
        outs = {out.path: out for stage in self.stages(commit) for out in stage.outs}
        wdirs = {stage.name: stage.wdir for stage in self.stages(commit)}
        for entry in self._named(commit, "dvc.lock"):
            for name, stage in parse_lock(self._reader.blob(entry.blob), entry.path).items():
                for path, out in stage.outs.items():
                    where = os.path.normpath(f"{wdirs.get(name, '.')}/{path}")
                    if where in outs and out.md5:
                        found[where] = DataObject(where, out.md5, out.size, out.nfiles)
        return tuple(found[path] for path in sorted(found))

    def tracked(self, commit: Commit) -> tuple[TrackedData, ...]:
        """What `.dvc` files version, sorted by path."""
        found: list[TrackedData] = []
        for entry in self._named(commit, ".dvc"):
            found.extend(parse_dvc(self._reader.blob(entry.blob), entry.path))
        return tuple(sorted(found, key=lambda data: data.path))

    def stages(self, commit: Commit) -> tuple[Stage, ...]:
        """The resolved stage graph in execution order; empty without dvc.yaml.

        DVC resolves templates, foreach and matrix, once for the same files. Raises ConfigError with
        DVC's words (and file and line where it gives them) where dvc.yaml is broken.
        """
        entries = export.selected(self._reader, commit)
        if not any(entry.path.rpartition("/")[2] == "dvc.yaml" for entry in entries):
            return ()
        name = "strangers" if self._confined else "stages"
        kept = self._cache / name / f"{export.key(entries, version('dvc'))}.json"
        documents = _kept(kept)
        if documents is None:
            documents = self._probe(entries, {"what": "stages"}, "reading dvc.yaml")["stages"]
            _keep(kept, documents)
        return tuple(stage_of(document) for document in export.stage_values(documents))

    def has_remote(self, commit: Commit) -> bool:
        """Whether a default remote is configured, in the commit's `.dvc/config` or here."""
        return bool(export.default_remote(self._configs(commit)))

    def missing(self, commit: Commit, paths: Sequence[str] | None = None) -> tuple[str, ...]:
        """What `.dvc` files record and the remote lacks: `data/train.csv (md5 3f2a…)`.

        Only `paths`, and what lies in them, where given. Files within a versioned directory are
        named themselves. Without a remote everything is missing. Raises DvcError where the remote
        cannot be asked.
        """
        wanted = [
            data for data in self.tracked(commit) if not data.foreign and _among(data.path, paths)
        ]
        objects = [(data.path, data.md5, data.legacy, data.remote) for data in wanted]
        lacking = self._lacking(commit, objects)
        return tuple(_text(item["path"], item["md5"], item["inside"]) for item in lacking)

    def absent(self, commit: Commit, objects: Iterable[DataObject]) -> tuple[str, ...]:
        """The paths of those objects (outputs that a dvc.lock records) that the remote lacks, in
        whole or in part."""
        asked = [(item.path, item.md5, False, "") for item in objects]
        return tuple(dict.fromkeys(item["path"] for item in self._lacking(commit, asked)))

    def _lacking(
        self, commit: Commit, objects: Sequence[tuple[str, str, bool, str]]
    ) -> Sequence[Mapping[str, str]]:
        """Path, md5 and (of a file within a directory object) `inside` of what is not there."""
        if not objects or self._confined:
            return ()
        if not self.has_remote(commit) and not all(remote for *_, remote in objects):
            return [{"path": path, "md5": md5, "inside": ""} for path, md5, _, _ in objects]
        names = ("path", "md5", "legacy", "remote")
        request = {
            "what": "missing",
            "project": str(self._root),
            "objects": [dict(zip(names, item, strict=True)) for item in objects],
        }
        entries = [e for e in self._reader.files(commit, ".dvc") if e.path == ".dvc/config"]
        found = self._probe(entries, request, "asking the DVC remote for the data of a commit")
        return list(found["missing"])

    def add(self, paths: Sequence[str]) -> None:
        """`dvc add`: version files or directories, given from the root."""
        commands.add(self._root, paths)

    def status(self) -> tuple[str, ...]:
        """What differs in the work tree from what `.dvc` files and dvc.lock record, as text."""
        return commands.status(self._root)

    def push(self) -> None:
        """`dvc push` of the work tree."""
        commands.push(self._root)

    def pull(self, rev: Commit | None = None) -> None:
        """`dvc pull` of the work tree; with a commit, its data into the DVC cache, the work tree
        left alone: `git checkout` and `dvc checkout` then find it."""
        if rev is None:
            commands.pull(self._root)
            return
        commands.require(self._root)
        entries = export.selected(self._reader, rev)
        self._probe(entries, {"what": "fetch", "project": str(self._root)}, "fetching data")

    def _named(self, commit: Commit, suffix: str) -> Iterable[FileEntry]:
        for entry in self._reader.files(commit):
            name = entry.path.rpartition("/")[2]
            if entry.mode.startswith("100") and name.endswith(suffix) and name != ".dvc":
                yield entry

    def _configs(self, commit: Commit) -> tuple[str, ...]:
        here = commands.config_files(self._root)
        own = (self._reader.read(commit, ".dvc/config") or b"").decode(errors="replace")
        return (*here[:-1], own, here[-1])

    def _probe(
        self, entries: Iterable[FileEntry], request: Mapping[str, Any], doing: str
    ) -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory(prefix="mlops-dvc-") as directory:
            target = Path(directory) / "tree"
            target.mkdir()
            export.write(self._reader, entries, target)
            if self._confined:
                request = {**request, "confined": True}
                return ask(request, target, program.confined(Path(directory)), doing)
            return ask(request, target, program.environment(site=Path(directory) / "site"), doing)


def ask(
    request: Mapping[str, Any], cwd: Path, env: Mapping[str, str], doing: str
) -> Mapping[str, Any]:
    """One question to the probe. Raises ConfigError or DvcError as it answers."""
    done = process.run(
        [*program.PYTHON, "mlops.adapters.dvc.probe"],
        doing=doing,
        cwd=cwd,
        env=env,
        stdin=json.dumps(request).encode(),
        timeout=_TIMEOUT,
        check=False,
        error=DvcError,
    )
    try:
        found = json.loads(done.stdout)
    except ValueError as exc:
        raise program.failure(doing, done) from exc
    if "error" not in found:
        return dict(found)
    if found.get("kind") == "config":
        raise ConfigError(str(found["error"]), hint="DVC says so: mend it, then commit")
    raise DvcError(
        f"DVC failed while {doing}: {found['error']}", hint="Run: dvc remote list; dvc doctor"
    )


def stage_of(document: Mapping[str, Any]) -> Stage:
    """A stage from the probe's JSON."""
    return Stage(
        name=str(document["name"]),
        cmd=tuple(document["cmd"]),
        wdir=str(document["wdir"]),
        deps=tuple(document["deps"]),
        params=tuple(ParamsDep(p["path"], tuple(p["keys"])) for p in document["params"]),
        outs=tuple(StageOut(out["path"], out["cached"]) for out in document["outs"]),
        frozen=bool(document["frozen"]),
        always_changed=bool(document["always_changed"]),
    )


def _text(path: str, md5: str, inside: str) -> str:
    where = f"{path}/{inside}" if inside else path
    return f"{where} (md5 {md5[:4]}…)"


def _among(path: str, paths: Sequence[str] | None) -> bool:
    if paths is None:
        return True
    return any(path == p or path.startswith(f"{p}/") or p.startswith(f"{path}/") for p in paths)


def _kept(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _keep(path: Path, documents: Any) -> None:
    """Best effort: a cache that cannot be written costs the next command a second."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(documents))
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
