"""Finding and reading the project that a command is about."""

from __future__ import annotations

from pathlib import Path

from mlops.adapters.git import Repository, discover
from mlops.cli import render
from mlops.cli.wiring import PROJECT_FILE, Opened, read_file
from mlops.config.project import parse_project
from mlops.domain.project import Project
from mlops.errors import ConfigError, GitUsageError, UsageError

_LOOK_BACK = 200  # commits


def open_work_tree(start: Path) -> Opened:
    """The project as its files stand on disk: what `mlops lock` and `mlops config` look at.

    Raises UsageError where there is no mlops.yaml.
    """
    repository = Repository(discover(start))
    content = read_file(repository.root, PROJECT_FILE)
    if content is None:
        raise UsageError("no mlops.yaml here or above: run mlops init")
    return Opened(repository.root, repository, parse_project(content, PROJECT_FILE))


def open_project(start: Path) -> Opened:
    """Find and read the project at `start` or above.

    mlops.yaml is read from HEAD, so that what is not committed decides nothing; before its first commit
    from the work tree. Raises UsageError where there is none.
    """
    try:
        repository = Repository(discover(start))
    except GitUsageError as exc:
        if not start.is_dir():
            raise
        raise UsageError("no mlops.yaml here or above: run mlops init") from exc
    content = None
    if repository.has_commits():
        content = repository.read(repository.head(), PROJECT_FILE)
    if content is None:
        content = read_file(repository.root, PROJECT_FILE)
    if content is None:
        raise UsageError("no mlops.yaml here or above: run mlops init")
    try:
        project = parse_project(content, PROJECT_FILE)
    except ConfigError as exc:
        project = _before(repository, exc)
    return Opened(repository.root, repository, project)


def _before(repository: Repository, fault: ConfigError) -> Project:
    """The newest mlops.yaml before HEAD's that can be read: an incident must not wait for a typo.

    What runs or plans a commit reads that commit's own, and refuses it. Raises `fault` where none is found.
    """
    if not repository.has_commits():
        raise fault
    for number, commit in enumerate(repository.ancestors(repository.head())):
        content = repository.read(commit, PROJECT_FILE)
        if content is None or number > _LOOK_BACK:
            break
        try:
            project = parse_project(content, PROJECT_FILE)
        except ConfigError:
            continue
        render.warn(
            f"HEAD's {fault.message.splitlines()[0]}; going by mlops.yaml of {commit.short}"
        )
        return project
    raise fault
