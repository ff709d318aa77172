"""Which stages DVC would run, decided on dvc.lock and hashes alone.

The rules are DVC's own (`dvc repro`, DVC 3): a stage is stale where its command, an input, a
parameter or the list of its outputs differs from what dvc.lock records; what follows a stale
stage is stale. Two that DVC applies to the work tree only are applied to the commit here: an
absent or different `cache: false` output forces its stage, and a frozen stage never runs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.domain import params
from mlops.domain.dvcfiles import LockedEntry, LockedStage, join
from mlops.domain.pipeline import Stage
from mlops.domain.plan import Change, Kind
from mlops.domain.view import Pipeline
from mlops.errors import ConfigError
from mlops.policy.hashes import overlaps


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a stage is stale: the text, and the change behind it where there is one."""

    text: str
    change: Change | None = None

    @classmethod
    def of(cls, change: Change) -> Finding:
        return cls(change.text, change)


def short_md5(md5: str) -> str:
    """`3f2a…`: enough to tell two versions apart in a sentence."""
    return f"{md5[:4]}…"


def in_scope(pipeline: Pipeline) -> tuple[Stage, ...]:
    """The targets and what they need, in execution order; every stage where no target is named.

    A target is a stage, a foreach or matrix group, or a whole `sub/dvc.yaml`. A frozen stage needs
    nothing. Raises ConfigError, with the nearest name, where a target is none of the graph's.
    """
    if not pipeline.targets:
        return pipeline.stages
    wanted = {name for target in pipeline.targets for name in _targeted(target, pipeline.stages)}
    for stage in reversed(pipeline.stages):
        if stage.name in wanted and not stage.frozen:
            wanted |= {other.name for other in producers(stage, pipeline.stages)}
    return tuple(stage for stage in pipeline.stages if stage.name in wanted)


def _targeted(target: str, stages: Iterable[Stage]) -> tuple[str, ...]:
    names = [stage.name for stage in stages]
    plain = target.removeprefix("./").removeprefix("dvc.yaml:")
    if plain == "dvc.yaml":
        found = [name for name in names if ":" not in name]
    else:
        found = [
            name for name in names if name == plain or name.startswith((f"{plain}@", f"{plain}:"))
        ]
    if not found:
        near = difflib.get_close_matches(plain, names, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(names) or 'no stage'}"
        raise ConfigError(f"mlops.yaml: train.stages: dvc.yaml has no stage {target!r}", hint=hint)
    return tuple(found)


def producers(stage: Stage, stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages that make what `stage` reads."""
    return tuple(
        other
        for other in stages
        if other.name != stage.name
        and any(overlaps(dep, out.path) for dep in stage.deps for out in other.outs)
    )


def stale_stages(
    pipeline: Pipeline, data: Mapping[str, tuple[str, str]], touched: Iterable[str]
) -> tuple[tuple[str, tuple[Finding, ...]], ...]:
    """The stages in scope that must run, in execution order, each with what makes it stale.

    `data`: as in `Side.data`; `touched` are the paths that changed between the two sources: they
    name the files behind a directory whose hash differs.
    """
    paths = tuple(touched)
    found: dict[str, tuple[Finding, ...]] = {}
    for stage in in_scope(pipeline):
        if stage.frozen:
            continue
        findings = tuple(_findings(stage, pipeline, data, paths, found))
        if findings:
            found[stage.name] = tuple(dict.fromkeys(findings))
    return tuple(found.items())


def _findings(
    stage: Stage,
    pipeline: Pipeline,
    data: Mapping[str, tuple[str, str]],
    touched: tuple[str, ...],
    stale: Mapping[str, object],
) -> Iterator[Finding]:
    where = f"{project_file(stage.name)}: stage {local_name(stage.name)}"
    if stage.always_changed or not (stage.deps or stage.params or stage.outs):
        yield Finding(f"{where} always runs")
    locked = pipeline.locks.get(stage.name)
    if locked is None:
        file, _, name = where.partition(": ")
        yield Finding.of(Change(Kind.PIPELINE, file, None, name))
    else:
        if locked.cmd != stage.cmd:
            yield Finding.of(Change(Kind.PIPELINE, f"{where}: cmd"))
        yield from _inputs(stage, locked, pipeline, data, touched)
        yield from _params(stage, locked, pipeline, where)
        yield from _outputs(stage, locked, pipeline, where)
    for other in producers(stage, pipeline.stages):
        if other.name in stale:
            yield Finding(f"follows {other.name}")


def project_file(stage: str) -> str:
    """The dvc.yaml of a stage's address."""
    return stage.rpartition(":")[0] or "dvc.yaml"


def local_name(stage: str) -> str:
    return stage.rpartition(":")[2]


def _inputs(
    stage: Stage,
    locked: LockedStage,
    pipeline: Pipeline,
    data: Mapping[str, tuple[str, str]],
    touched: tuple[str, ...],
) -> Iterator[Finding]:
    known = {join(stage.wdir, path): entry for path, entry in locked.deps.items()}
    where = f"{project_file(stage.name)}: stage {local_name(stage.name)}"
    for dep in stage.deps:
        entry = known.get(dep)
        if entry is None:
            yield Finding.of(Change(Kind.PIPELINE, where, None, f"dep {dep}"))
        elif any(overlaps(dep, out.path) for other in pipeline.stages for out in other.outs):
            yield from _made(dep, entry, pipeline)
        else:
            yield from _given(dep, entry, pipeline, data, touched)


def _made(dep: str, entry: LockedEntry, pipeline: Pipeline) -> Iterator[Finding]:
    """An input that a stage makes: what that stage's own lock says of it must be the same."""
    for other in pipeline.stages:
        locked = pipeline.locks.get(other.name)
        for path, out in locked.outs.items() if locked else ():
            if join(other.wdir, path) == dep and out.md5 and out.md5 != entry.md5:
                yield Finding.of(Change(Kind.DATA, dep, short_md5(entry.md5), short_md5(out.md5)))


def _given(
    dep: str,
    entry: LockedEntry,
    pipeline: Pipeline,
    data: Mapping[str, tuple[str, str]],
    touched: tuple[str, ...],
) -> Iterator[Finding]:
    hashes = pipeline.hashes.get(dep)
    beneath = [path for path in touched if path == dep or path.startswith(f"{dep}/")]
    if hashes is None:
        yield Finding.of(Change(Kind.CODE, dep, short_md5(entry.md5), None))
    elif not hashes:
        moved = [path for path in (*beneath, *touched) if overlaps(dep, path)]
        yield from (Finding.of(Change(Kind.CODE, path)) for path in moved)
    elif entry.md5 not in hashes:
        if dep in data:
            old, new = short_md5(entry.md5), short_md5(hashes[0])
            yield Finding.of(Change(Kind.DATA, dep, old, new))
        else:
            yield from (Finding.of(Change(Kind.CODE, path)) for path in beneath or [dep])


def _params(stage: Stage, locked: LockedStage, pipeline: Pipeline, where: str) -> Iterator[Finding]:
    known = {join(stage.wdir, path): values for path, values in locked.params.items()}
    for wanted in stage.params:
        old = known.get(wanted.path)
        now = pipeline.params.get(wanted.path)
        if old is None:
            yield Finding.of(Change(Kind.PIPELINE, where, None, f"params {wanted.path}"))
        elif now is None:
            yield Finding.of(Change(Kind.PARAMETERS, wanted.path, "the file", None))
        else:
            keys = wanted.keys or tuple(dict.fromkeys([*map(str, now), *map(str, old)]))
            for key in keys:
                yield from _param(wanted.path, key, old, now, where)


def _param(
    path: str, key: str, old: Mapping[str, Any], now: Mapping[str, Any], where: str
) -> Iterator[Finding]:
    there, value = params.lookup(now, key) if key not in now else (True, now[key])
    recorded, before = (key in old, old.get(key))
    if not there and not recorded:
        yield Finding.of(Change(Kind.PARAMETERS, path, key, None))
    elif there and not recorded:
        yield Finding.of(Change(Kind.PIPELINE, where, None, f"param {key}"))
    elif not there:
        yield Finding.of(Change(Kind.PARAMETERS, path, f"{key} {params.short(before)}", None))
    elif not params.same(value, before):
        yield from (Finding.of(change) for change in _leaves(path, key, before, value))


def _leaves(path: str, key: str, old: Any, new: Any) -> Iterator[Change]:
    """The innermost keys that differ: `train.depth`, where the stage reads all of `train`."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        yield Change(Kind.PARAMETERS, path, f"{key} {params.short(old)}", params.short(new))
        return
    for name in dict.fromkeys([*old, *new]):
        inner = f"{key}.{name}"
        if name not in new:
            yield Change(Kind.PARAMETERS, path, f"{inner} {params.short(old[name])}", None)
        elif name not in old:
            yield Change(Kind.PARAMETERS, path, None, f"{inner} {params.short(new[name])}")
        elif not params.same(new[name], old[name]):
            yield from _leaves(path, inner, old[name], new[name])


def _outputs(
    stage: Stage, locked: LockedStage, pipeline: Pipeline, where: str
) -> Iterator[Finding]:
    known = {join(stage.wdir, path): entry for path, entry in locked.outs.items()}
    for out in stage.outs:
        entry = known.get(out.path)
        if entry is None:
            yield Finding.of(Change(Kind.PIPELINE, where, None, f"out {out.path}"))
        elif out.path in pipeline.absent:
            yield Finding(f"{out.path} is not on the DVC remote")
        elif not out.cached:
            hashes = pipeline.hashes.get(out.path)
            if hashes is None:
                yield Finding(f"{out.path} is not there")
            elif hashes and entry.md5 not in hashes:
                yield Finding(f"{out.path} differs from dvc.lock")
