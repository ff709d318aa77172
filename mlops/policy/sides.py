"""Builds the view that impact is judged on, from the files of commits: no repository, no dvc."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlops.domain import params
from mlops.domain.dvcfiles import LockedStage, TrackedData, parse_dvc, parse_lock
from mlops.domain.environment import GateRule
from mlops.domain.lock import ProjectLock
from mlops.domain.pipeline import Stage
from mlops.domain.project import ModelConfig
from mlops.domain.source import Commit
from mlops.domain.view import Pipeline, Side, Tree
from mlops.policy.hashes import graph_hashes

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(==|@)\s*([^\s;\\#]+)")


def tracked(tree: Tree) -> tuple[TrackedData, ...]:
    """What the `.dvc` files of a tree version, sorted by path. Raises ConfigError where one is
    not what DVC writes."""
    found: list[TrackedData] = []
    for path in tree.below("."):
        if path.endswith(".dvc") and posixpath.basename(path) != ".dvc":
            found.extend(parse_dvc(tree.content(path) or b"", path))
    return tuple(sorted(found, key=lambda data: data.path))


def _trackers(tree: Tree) -> dict[str, tuple[str, str]]:
    found = {}
    for path in tree.below("."):
        if path.endswith(".dvc") and posixpath.basename(path) != ".dvc":
            for data in parse_dvc(tree.content(path) or b"", path):
                found[data.path] = (data.md5, path)
    return found


def packages(content: bytes) -> dict[str, str]:
    """Name (PEP 503) → version of the pins of a requirements lock; the URL where one stands for
    the version. Several versions under different markers are joined."""
    found: dict[str, str] = {}
    for line in content.decode(errors="replace").splitlines():
        match = _REQUIREMENT.match(line)
        if match is not None:
            name = re.sub(r"[-_.]+", "-", match.group(1)).lower()
            version = match.group(3)
            found[name] = f"{found[name]}, {version}" if name in found else version
    return found


def side(commit: Commit, tree: Tree, model: ModelConfig | None, lock: ProjectLock | None) -> Side:
    """One model at one source; `tree` without the environments.

    `model` and `lock` are None where that source had no such model or no mlops.lock.
    """
    image = lock.image(model.build.base, model.build.platforms[0]) if lock and model else None
    if image is None and lock and model:
        image = lock.image(model.build.base)
    tools = dict(lock.tools) if lock else {}
    if lock and lock.builder:
        tools["builder"] = lock.builder
    return Side(
        commit=commit,
        files=dict(tree.blobs),
        config=flattened(model) if model else {},
        packages=packages(tree.content(model.build.lock) or b"") if model else {},
        base=str(image.digest) if image else "",
        tools=tools,
        data=_trackers(tree),
    )


def flattened(model: ModelConfig) -> dict[str, str]:
    """The settings as key → text, keys as mlops.yaml nests them; what is not set has no key."""
    build, train, serve = model.build, model.train, model.serve
    values: dict[str, Any] = {
        "paths": list(model.paths),
        "build.strategy": build.strategy,
        "build.base": build.base,
        "build.requirements": build.requirements,
        "build.code": list(build.code),
        "build.platforms": list(build.platforms),
        "build.allow_sdist": list(build.allow_sdist),
        "build.bytecode": build.bytecode,
        "build.compression": build.compression,
        **{f"build.labels.{name}": value for name, value in build.labels},
        "train.stages": list(train.stages),
        "train.command": list(train.command),
        "train.resources": " ".join(
            f"{name}={getattr(train.resources, name)}" for name in ("cpu", "memory", "gpu")
        ),
        "train.timeout": f"{train.timeout:g}s",
        "train.network": train.network,
        **{f"train.env.{name}": value for name, value in train.env},
        "artifact": model.artifact or "",
        "metrics": model.metrics or "",
        **{f"gates.{gate.metric}": _gate(gate) for gate in model.gates},
        "serve.command": list(serve.command),
        "serve.port": serve.port,
    }
    prefix = f"models.{model.name}."
    return {
        prefix + key: params.short(value) for key, value in values.items() if value not in ("", [])
    }


def _gate(gate: GateRule) -> str:
    named = (("min", gate.min), ("max", gate.max), ("max_regression", gate.max_regression))
    told = [f"{name} {value:g}" for name, value in named if value is not None]
    return ", ".join([*told, *([gate.direction] if gate.max_regression is not None else [])])


def pipeline(
    tree: Tree,
    stages: Sequence[Stage],
    targets: Sequence[str] = (),
    absent: Iterable[str] = (),
) -> Pipeline:
    """The stage graph with all that decides what is stale.

    `tree` is that of the source with the effective dvc.lock laid over it (`overlay`); `absent` are
    outputs that its dvc.lock records and the remote lacks. Raises ConfigError, with the file,
    where a lock, a `.dvc` file or a parameter file cannot be read.
    """
    data = {found.path: found.md5 for found in tracked(tree)}
    return Pipeline(
        stages=tuple(stages),
        targets=tuple(targets),
        locks=locks(tree),
        hashes=graph_hashes(stages, tree, data),
        params=dict(_parameters(tree, stages)),
        absent=frozenset(absent),
    )


def locks(tree: Tree) -> dict[str, LockedStage]:
    """All stages of the tree's dvc.lock files, by address."""
    found: dict[str, LockedStage] = {}
    for path in lock_paths(tree):
        found.update(parse_lock(tree.content(path) or b"", path))
    return found


def lock_paths(tree: Tree) -> tuple[str, ...]:
    return tuple(path for path in tree.below(".") if posixpath.basename(path) == "dvc.lock")


def _parameters(tree: Tree, stages: Iterable[Stage]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in sorted({param.path for stage in stages for param in stage.params}):
        content = tree.content(path)
        if content is not None:
            yield path, params.parse(content, path)


def effective_locks(
    source: Tree, since: Tree | None, recorded: Mapping[str, bytes]
) -> frozenset[str]:
    """The dvc.lock paths for which the baseline release's recorded lock is in force.

    It is, unless the user's own dvc.lock changed since the baseline's source: then theirs is.
    `recorded` holds the files of the baseline's tag by path.
    """
    if since is None:
        return frozenset()
    return frozenset(
        path
        for path in recorded
        if posixpath.basename(path) == "dvc.lock"
        and source.blobs.get(path) == since.blobs.get(path)
    )


def overlay(source: Tree, since: Tree | None, recorded: Mapping[str, bytes]) -> Tree:
    """The source's tree as the run starts from it: with the recorded dvc.lock, where that is in
    force, and with the recorded `cache: false` outputs that the user did not change since."""
    chosen = effective_locks(source, since, recorded)
    if since is None or not chosen:
        return source
    laid = {
        path: content
        for path, content in recorded.items()
        if path in chosen
        or (
            posixpath.basename(path) != "dvc.lock"
            and source.blobs.get(path) == since.blobs.get(path)
        )
    }
    return source.laid(laid)
