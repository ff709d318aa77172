"""The directories behind a task's workspaces.

A claim is a directory of the run; an emptyDir is one of the attempt, shared with nobody. A subPath
leads to a directory inside, never through a link that an earlier task may have laid.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from mlops.adapters.executors.local.rundir import RunDirectory
from mlops.errors import ConfigError, ExecutorError
from mlops.tekton import substitution
from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.substitution import Scope

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def sub_paths(task: PipelineTask, scope: Scope) -> dict[str, str]:
    """The task's workspaces → their directories inside the run's workspace, references replaced.

    Raises ConfigError where one leads out of it, UnresolvedError where a result is missing.
    """
    found = {}
    for binding in task.workspaces:
        path = f"{binding.path}.subPath"
        text = substitution.text(binding.sub_path, scope, path)
        if text.startswith("/") or ".." in text.split("/") or "\0" in text:
            raise ConfigError(f"{path}: {text!r} leads out of the workspace")
        found[binding.name] = text
    return found


def bind(
    task: PipelineTask,
    run: PipelineRun,
    inside: Mapping[str, str],
    directory: RunDirectory,
    attempt: int,
) -> dict[str, Path]:
    """Make the directories of one attempt: the task's name for a workspace → directory.

    `inside` comes from `sub_paths`. Raises ExecutorError where a link stands in the way.
    """
    found = {}
    for binding in task.workspaces:
        kind = run.bound.get(binding.workspace)
        if kind is None:
            continue  # optional, and not given
        if kind == "claim":
            root = directory.workspace(binding.workspace)
        else:
            root = directory.attempt(task.name, attempt) / "empty" / binding.workspace
        root.mkdir(parents=True, exist_ok=True)
        found[binding.name] = _below(root, inside[binding.name])
    return found


def _below(root: Path, sub_path: str) -> Path:
    here, path = os.open(root, _DIRECTORY), root
    try:
        for part in Path(sub_path).parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=here)
            path /= part
            below = os.open(part, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
    except NotADirectoryError as exc:
        raise ExecutorError(f"{path} is no directory: a step put something else there") from exc
    except OSError as exc:
        raise ExecutorError(f"cannot make {path}: {exc.strerror}") from exc
    finally:
        os.close(here)
    return path
