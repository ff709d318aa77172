"""What `mlops guard` looks at: the two ends of a push, the GitOps branch, and where its environments lie."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mlops.adapters.git import Repository
from mlops.cli import render, wiring
from mlops.config.project import parse_project
from mlops.domain.project import GitOpsConfig, Project
from mlops.domain.source import Commit
from mlops.errors import ConfigError, GitError, UsageError

_ZERO = re.compile(r"0{40}(?:0{24})?")
_LINE = re.compile(
    r"([0-9a-f]{40}(?:[0-9a-f]{24})?) ([0-9a-f]{40}(?:[0-9a-f]{24})?) (\S[^\n]*)", re.ASCII
)
_WHOLE = "Fetch it whole: git fetch --unshallow (in CI: fetch-depth: 0)"


@dataclass(frozen=True, slots=True)
class Pushed:
    """Two ends of a push; None where the branch begins or goes."""

    base: Commit | None
    head: Commit | None


def named(repository: Repository, text: str, second: str = "") -> Pushed:
    """`BASE..HEAD`, or the two apart. Raises UsageError where that is no range, or not all here."""
    base, dots, head = text.partition("..")
    if second:
        dots, head = ("", "") if dots else ("..", second)
    if not dots or not base or head.startswith(".") or ".." in head:
        raise UsageError(f"{text!a} is no range", hint="It looks like origin/main..HEAD")
    pushed = Pushed(_commit(repository, base), _commit(repository, head or "HEAD"))
    if pushed.base and pushed.head and repository.is_shallow():
        try:
            repository.is_ancestor(pushed.base, pushed.head)
        except GitError as exc:
            between = f"{pushed.base.short}..{pushed.head.short}"
            raise UsageError(
                f"this clone is shallow, {between} is not all here", hint=_WHOLE
            ) from exc
    return pushed


def _commit(repository: Repository, rev: str) -> Commit | None:
    if _ZERO.fullmatch(rev):  # what git and CI services say of a branch that is not there
        return None
    try:
        return repository.resolve(rev)
    except GitError as exc:
        if repository.is_shallow():
            raise UsageError(
                f"{rev!a} is not here, and this clone is shallow", hint=_WHOLE
            ) from exc
        raise


def received(repository: Repository, lines: Iterable[str], branch: str) -> list[Pushed]:
    """The updates of the GitOps branch among `old new ref` lines (githooks(5), pre-receive)."""
    found = []
    for line in lines:
        match = _LINE.fullmatch(line.rstrip("\n"))
        if match is None:
            raise UsageError(f"{line[:80]!a} is not what git tells a pre-receive hook")
        old, new, ref = match.groups()
        base, head = (None if _ZERO.fullmatch(sha) else Commit.parse(sha) for sha in (old, new))
        if ref == f"refs/heads/{branch or _branch(repository, base or head)}":
            found.append(Pushed(base, head))
    return found


def paths(repository: Repository, pushed: Pushed) -> tuple[str, ...]:
    """The directories of environments that mlops.yaml names: on the default branch, before the push and
    after it. All are looked at: a push that names another one must not leave the old one unguarded."""
    commits = (repository.ref("HEAD"), pushed.base, pushed.head)
    found = [config.path for each in commits if each and (config := _config(repository, each))]
    return tuple(dict.fromkeys(found)) or (GitOpsConfig().path,)


def models(repository: Repository) -> frozenset[str]:
    """The models of mlops.yaml on the default branch: a GitOps branch of its own holds none."""
    head = repository.ref("HEAD")
    project = _project(repository, head) if head else None
    return frozenset(project.names if project else ())


def _config(repository: Repository, commit: Commit) -> GitOpsConfig | None:
    project = _project(repository, commit)
    return project.gitops if project else None


def _branch(repository: Repository, pushed: Commit | None) -> str:
    """The GitOps branch as mlops.yaml names it, else the default branch.

    mlops.yaml of the default branch as it is comes first: what is being pushed has no say in whether it
    is looked at.
    """
    for commit in (repository.ref("HEAD"), pushed):
        project = _project(repository, commit) if commit else None
        if project is not None:
            plain = [name for name in project.branches if not set(name) & set("*?[")]
            return project.gitops.branch or (plain[0] if plain else repository.branch() or "main")
    return repository.branch() or "main"


def _project(repository: Repository, commit: Commit) -> Project | None:
    """mlops.yaml of a commit; a repository of pins alone has none."""
    content = repository.read(commit, wiring.PROJECT_FILE)
    try:
        return parse_project(content, wiring.PROJECT_FILE) if content is not None else None
    except ConfigError as exc:
        render.warn(f"{commit.short}: {exc.message.splitlines()[0]}")
        return None
