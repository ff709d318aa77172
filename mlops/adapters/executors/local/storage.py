"""What volumes and workspaces stand on, laid out on the host for one attempt.

A claim is a directory of the run, or of this machine where it has a name; all else is one of the
attempt, shared with no other task. A subPath leads to a directory inside, never through a link that
an earlier task may have laid.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.errors import ConfigError, ExecutorError
from mlops.tekton import names, substitution
from mlops.tekton.document import Binding, PipelineRun, PipelineTask
from mlops.tekton.pod import Claim, Config, ConfigFiles, Projected, Source
from mlops.tekton.substitution import Scope

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """Where something lies on the host; `limit` in bytes, `claim` the name of a claim behind it.

    `inside` is a path below `root`, where containers may have written.
    """

    path: Path
    writable: bool = True
    limit: int | None = None
    claim: str = ""
    root: Path | None = None
    inside: str = ""

    def now(self) -> Path:
        """Where it is in this moment: what lies below `root` is looked at again, for containers may
        have put a link there. Raises ExecutorError where one did."""
        return self.path if self.root is None else below(self.root, self.inside)


def _made_claim(run: str, workspace: str) -> str:
    """A name for the claim that a template makes, the same throughout a run."""
    return "pvc-" + hashlib.sha256(f"{run}/{workspace}".encode()).hexdigest()[:10]


def sub_paths(task: PipelineTask, scope: Scope) -> dict[str, str]:
    """The task's workspaces → their directories inside the run's workspace, references replaced.

    Raises ConfigError where one leads out of it, UnresolvedError where a result is missing.
    """
    return {binding.name: _sub_path(binding, scope) for binding in task.workspaces}


def _sub_path(binding: Binding, scope: Scope) -> str:
    text = substitution.text(binding.sub_path, scope)
    if leads_out(text):
        where = binding.at / "subPath"
        raise ConfigError(where.complaint(f"{text!r} leads out of the workspace"))
    return text


def leads_out(path: str) -> bool:
    """Whether a path given as relative is absolute, goes up, or is none."""
    return path.startswith("/") or ".." in path.split("/") or "\0" in path


def bind(
    task: PipelineTask,
    run: PipelineRun,
    scope: Scope,
    inside: Mapping[str, str],
    directory: RunDirectory,
    attempt: Path,
) -> dict[str, Place]:
    """Make the directories of one attempt: the task's name for a workspace → where it is.

    `inside` comes from `sub_paths`. Raises ExecutorError where a link stands in the way.
    """
    found = {}
    for binding in task.workspaces:
        bound = run.bound.get(binding.workspace)
        if bound is None:
            continue  # optional, and not given
        if isinstance(bound.source, Claim) and not bound.source.name:
            claim = _made_claim(run.name, binding.workspace)
            place = Place(directory.workspace(binding.workspace), claim=claim)
        else:
            own = attempt / "bound" / binding.workspace
            place = lay(bound.source, own, run, scope, directory)
        place.path.mkdir(parents=True, exist_ok=True)
        outer = substitution.text(bound.sub_path, scope)
        if leads_out(outer):
            raise ConfigError((bound.at / "subPath").complaint("leads out of the workspace"))
        within = f"{outer}/{inside[binding.name]}".strip("/")
        if within:
            path = below(place.path, within)
            place = replace(place, path=path, root=place.path, inside=within)
        found[binding.name] = place
    return found


def lay(
    source: Source, own: Path, run: PipelineRun, scope: Scope, directory: RunDirectory
) -> Place:
    """Lay a source out; `own` is the attempt's directory for it. Raises ConfigError, ExecutorError."""
    if isinstance(source, Claim):
        path = _claim(source, run, scope, directory) if source.name else own
        path.mkdir(parents=True, exist_ok=True)
        return Place(path, not source.read_only, claim=path.name)
    own.mkdir(parents=True, exist_ok=True)
    if isinstance(source, ConfigFiles):
        _write_files(source, own, run, scope)
        return Place(own, writable=False)
    if isinstance(source, Projected):
        for each in source.sources:
            _write_files(each, own, run, scope)
        return Place(own, writable=False)
    return Place(own, limit=source.limit)


def _claim(source: Claim, run: PipelineRun, scope: Scope, directory: RunDirectory) -> Path:
    """The directory of a claim with a name, which may come from a result that a stranger wrote."""
    name = substitution.text(source.name, scope)
    if not names.is_object(name):
        raise ConfigError(f"{name!r} cannot be the name of a claim")
    path = directory.claim(name)
    if name not in run.claims and not path.is_dir():
        raise ConfigError(
            f"there is no claim {name!r}",
            hint="Put the PersistentVolumeClaim among the files: it becomes a directory that stays",
        )
    return path


def _write_files(files: ConfigFiles, own: Path, run: PipelineRun, scope: Scope) -> None:
    for name, content, mode in _contents(files, run, scope):
        path = own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        path.chmod(mode)


def _contents(
    files: ConfigFiles, run: PipelineRun, scope: Scope
) -> Iterator[tuple[str, bytes, int]]:
    """Path, content and mode of each file."""
    held = config(files.kind, substitution.text(files.name, scope), run, optional=files.optional)
    data = held.files
    if files.items is None:
        yield from ((key, content, files.mode) for key, content in data.items())
        return
    for key, path, mode in files.items:
        wanted, to = substitution.text(key, scope), substitution.text(path, scope)
        if leads_out(to):
            raise ConfigError(files.at.complaint(f"{to!r} leads out of the volume"))
        if wanted in data:
            yield to, data[wanted], files.mode if mode is None else mode
        elif not files.optional:
            raise ConfigError(files.at.complaint(f"the {files.kind} has no key {wanted!r}"))


def config(kind: str, name: str, run: PipelineRun, *, optional: bool) -> Config:
    """A ConfigMap's or Secret's content. Raises ConfigError where there is none and must be."""
    held = run.configs.get((kind, name))
    if held is None:
        if not optional:
            raise ConfigError(f"there is no {kind} {name!r} in the files")
        return Config({})
    return held


def below(root: Path, sub_path: str) -> Path:
    """A directory or file inside `root`, made as a directory where it is absent.

    Raises ExecutorError where a link stands in the way.
    """
    here, path = os.open(root, _DIRECTORY), root
    wanted = [part for part in sub_path.split("/") if part not in {"", "."}]
    try:
        for number, part in enumerate(wanted):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=here)
            path /= part
            last = number == len(wanted) - 1
            if last and path.is_file() and not path.is_symlink():
                return path
            inner = os.open(part, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
    except NotADirectoryError as exc:
        raise ExecutorError(f"{path} is no directory: a step put something else there") from exc
    except OSError as exc:
        raise ExecutorError(f"cannot make {path}: {exc.strerror}") from exc
    finally:
        os.close(here)
    return path
