"""What changed between two releases: commits, data, parameters, dependencies, base, metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.domain.digest import ReleaseId
from mlops.domain.params import short
from mlops.domain.reference import EnvironmentReference
from mlops.domain.release import ReleaseRecord
from mlops.domain.source import Commit
from mlops.engine.show import recorded
from mlops.engine.state import Environments
from mlops.errors import GitError, RefusedError, UsageError
from mlops.policy import metrics as metric_files
from mlops.policy import sides
from mlops.ports import CommitInfo, SourceReader


@dataclass(frozen=True, slots=True)
class Difference:
    """One named thing on both sides; None where a side lacks it. Values are short texts."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class ReleaseDiff:
    """From one release of a model to another; `old` or `new` is None where a side has none.

    `commits` lie between the two sources, newest first; `backwards` where `new` is the older one.
    `unknown` says what could not be compared, and why.
    """

    model: str
    old: ReleaseId | None
    new: ReleaseId | None
    commits: tuple[CommitInfo, ...] = ()
    backwards: bool = False
    data: tuple[Difference, ...] = ()
    params: tuple[Difference, ...] = ()
    dependencies: tuple[Difference, ...] = ()
    base: Difference | None = None
    metrics: tuple[Difference, ...] = ()
    unknown: tuple[str, ...] = ()


Side = ReleaseId | EnvironmentReference


def diff(
    environments: Environments,
    reader: SourceReader,
    old: Side,
    new: Side,
    models: Collection[str] = (),
) -> tuple[ReleaseDiff, ...]:
    """One difference for each model (of `models`, where any are named) that differs; for two
    releases always one.

    Raises RefusedError where a release has no record, UsageError for releases of two models.
    """
    if isinstance(old, ReleaseId) and isinstance(new, ReleaseId):
        if old.model != new.model:
            raise UsageError(
                f"{old.short} and {new.short} are two models", hint="Compare two releases of one"
            )
        return (_compare(environments, reader, old, new),)
    before, after = _pinned(environments, old), _pinned(environments, new)
    named = [environments.model(model) for model in models] or {*before, *after}
    if isinstance(old, ReleaseId) or isinstance(new, ReleaseId):
        named = [side.model for side in (old, new) if isinstance(side, ReleaseId)]
    return tuple(
        _compare(environments, reader, before.get(model), after.get(model))
        for model in sorted(set(named))
        if before.get(model) != after.get(model)
    )


def _pinned(environments: Environments, side: Side) -> Mapping[str, ReleaseId]:
    if isinstance(side, ReleaseId):
        return {side.model: side}
    pins = environments.state(side.environment).pins
    return {model: ReleaseId(model, digest) for model, digest in pins.items()}


def _compare(
    environments: Environments,
    reader: SourceReader,
    old: ReleaseId | None,
    new: ReleaseId | None,
) -> ReleaseDiff:
    present = old or new
    if present is None:
        raise RefusedError("neither side pins the model")
    if old is None or new is None:
        return ReleaseDiff(present.model, old, new)
    before, after = recorded(environments, old), recorded(environments, new)
    unknown: list[str] = []
    commits, backwards = _commits(reader, before.source, after.source, unknown)
    return ReleaseDiff(
        model=present.model,
        old=old,
        new=new,
        commits=commits,
        backwards=backwards,
        data=_differ(_data(before), _data(after)),
        params=_differ(_flat(before, "params"), _flat(after, "params")),
        dependencies=_dependencies(environments, reader, before, after, unknown),
        base=_base(before, after),
        metrics=_differ(_metrics(before), _metrics(after)),
        unknown=tuple(unknown),
    )


def _differ(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Difference, ...]:
    return tuple(
        Difference(key, old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    )


def _commits(
    reader: SourceReader, old: Commit, new: Commit, unknown: list[str]
) -> tuple[tuple[CommitInfo, ...], bool]:
    absent = [commit.short for commit in (old, new) if not reader.has(commit)]
    if absent:
        unknown.append(f"commits: {' and '.join(absent)} is not in this clone (git fetch --all)")
        return (), False
    try:
        left, right = reader.between(old, new)
    except GitError as exc:
        unknown.append(f"commits: {exc}")
        return (), False
    return (right, False) if right else (left, bool(left))


def _data(record: ReleaseRecord) -> dict[str, str]:
    found = record.document.get("data")
    entries = found if isinstance(found, list) else []
    return {
        str(entry["path"]): str(entry.get("md5", ""))
        for entry in entries
        if isinstance(entry, Mapping) and "path" in entry
    }


def _flat(record: ReleaseRecord, key: str) -> dict[str, str]:
    return dict(_leaves(record.document.get(key), ""))


def _metrics(record: ReleaseRecord) -> dict[str, str]:
    found = _leaves(record.metrics, "")
    return {name: value for name, value in found if _is_number(record, name)}


def _is_number(record: ReleaseRecord, name: str) -> bool:
    return metric_files.number(metric_files.lookup(record.metrics, name)) is not None


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, short(value)


def _base(old: ReleaseRecord, new: ReleaseRecord) -> Difference | None:
    before, after = (_base_text(record) for record in (old, new))
    return None if before == after else Difference("base", before, after)


def _base_text(record: ReleaseRecord) -> str | None:
    found = record.document.get("base")
    if not isinstance(found, Mapping):
        return None
    digest = found.get("manifest") or found.get("index") or "no digest"
    return f"{found.get('ref') or 'base'} {digest}"


def _dependencies(
    environments: Environments,
    reader: SourceReader,
    old: ReleaseRecord,
    new: ReleaseRecord,
    unknown: list[str],
) -> tuple[Difference, ...]:
    """Versions by package, from the requirements locks at the two sources."""
    if old.document.get("locks") == new.document.get("locks") and "locks" in old.document:
        return ()
    path = _lock_path(environments, new.release.model)
    contents = []
    for record in (old, new):
        content = reader.read(record.source, path) if reader.has(record.source) else None
        if content is None:
            unknown.append(f"dependencies: {path} cannot be read at {record.source.short}")
            return ()
        contents.append(sides.packages(content))
    return _differ(*contents)


def _lock_path(environments: Environments, model: str) -> str:
    found = [entry for entry in environments.project.models if entry.name == model]
    return found[0].build.lock if found else "requirements.lock"
