"""`mlops doctor`: what is missing here, and the command that mends it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from mlops.adapters import process
from mlops.adapters.checkout import Checkout
from mlops.adapters.executors.local.runtime import sandbox
from mlops.adapters.git.claims import RunClaims
from mlops.adapters.git.command import discover
from mlops.adapters.git.repository import Repository
from mlops.adapters.git.standin import HERE
from mlops.adapters.kustomize import Kustomize
from mlops.adapters.leading import FileLeader
from mlops.cli import options, render, wiring, wiring_forge
from mlops.cli.config import check_files
from mlops.config.lockfile import parse_lock
from mlops.config.project import parse_project
from mlops.domain.cluster import ClusterConfig
from mlops.domain.lock import TOOL
from mlops.engine import doctor as engine
from mlops.engine.doctor import Finding, Machine, Setup
from mlops.errors import ConfigError, GitError, MlopsError, OutsideError


def doctor(
    *,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Look for what is missing or misconfigured here, and name the command that mends it.

    Exits 1 where something is missing that mlops needs.
    """
    found = tuple(_examine(repo))
    value = [asdict(finding) for finding in found]
    render.answer(value, output, lambda: _print(found))
    return 1 if any(finding.needed and not finding.fine for finding in found) else 0


def _examine(start: Path) -> Iterator[Finding]:
    machine = _machine()
    yield from engine.machine(machine)
    if not machine.git:
        return
    try:
        tree = Checkout(start)
    except MlopsError as exc:
        yield Finding("repository", False, True, exc.message, "git init")
        return
    yield from engine.project(tree, _setup(start))
    yield from _watcher(tree.root)
    opened = _opened(start)
    if opened is not None:
        yield from wiring_forge.examined(opened)
        yield from _cluster(opened)


def _watcher(root: Path) -> Iterator[Finding]:
    """Whether somebody watches in this clone, where somebody once did."""
    lock = root / ".mlops" / "watch" / "lock"
    if not lock.is_file():
        return
    leader = FileLeader(lock, once=True)
    try:
        other = leader.other()
    except MlopsError as exc:
        yield Finding("mlops watch", False, False, exc.message, f"look at {lock.parent}")
        return
    leader.resign()
    if other:
        yield Finding("mlops watch", True, False, f"{other} watches")
    else:
        said = "nobody watches in this clone any more: no push begins a run, unless somebody watches elsewhere"
        yield Finding("mlops watch", False, False, said, "mlops watch")


def _opened(start: Path) -> wiring.Opened | None:
    """The project as its files stand; None where there is none that can be read, which is told already."""
    repository = Repository(discover(start))
    content = wiring.read_file(repository.root, wiring.PROJECT_FILE)
    if content is None:
        return None
    try:
        project = parse_project(content, wiring.PROJECT_FILE)
    except ConfigError:
        return None
    return wiring.Opened(repository.root, repository, project)


def _cluster(opened: wiring.Opened) -> Iterator[Finding]:
    """What the cluster lacks, where the project says that it uses one."""
    project = opened.project
    if project.executor == "tekton" or project.cluster != ClusterConfig():
        from mlops.cli import wiring_doctor  # noqa: PLC0415 - heavy libraries

        yield from wiring_doctor.examined(opened, _tool(opened.root))


def _tool(root: Path) -> str:
    """The tool image that mlops.lock has; empty where none stands there, or not on a registry."""
    content = wiring.read_file(root, "mlops.lock")
    try:
        lock = parse_lock(content, "mlops.lock") if content is not None else None
    except ConfigError:  # told already
        return ""
    image = lock.image(TOOL) if lock is not None else None
    return f"{image.ref}@{image.digest}" if image is not None else ""


def _machine() -> Machine:
    try:
        git = process.run(["git", "--version"], doing="asking git for its version").text.strip()
    except OutsideError:
        git = ""
    with tempfile.TemporaryDirectory(prefix="mlops-doctor-") as scratch:
        probe = sandbox.probe(Path(scratch) / "layers", Path(scratch) / "runs")
    return Machine(git, probe.reasons, probe.hint, Kustomize().name)


def _setup(start: Path) -> Setup | None:
    repository = Repository(discover(start))
    path = repository.root / wiring.PROJECT_FILE
    if not path.is_file():
        return None
    faults, _ = check_files(start)
    try:
        project = parse_project(path.read_bytes(), wiring.PROJECT_FILE)
        registry = project.registry
        same = not project.gitops.url and project.gitops.branch in ("", *project.branches)
    except ConfigError:
        registry, same = "", False
    kept = RunClaims(repository, None, HERE).refs()
    who = _identity(repository)
    return Setup(faults, registry, same, who, repository.is_shallow(), len(kept))


def _identity(repository: Repository) -> str:
    try:
        return repository.identity()
    except GitError:
        return ""


def _print(found: tuple[Finding, ...]) -> None:
    for finding in found:
        mark = "ok" if finding.fine else ("missing" if finding.needed else "note")
        render.line(f"{mark:8}{finding.subject}: {render.words(finding.said)}")
        if finding.remedy:
            render.line(f"        → {finding.remedy}")
