"""What a change between two sources means for one model.

Where DVC describes the training, its stage graph decides what is stale, and nothing else does; a
file that DVC explains (dvc.yaml, dvc.lock, `*.dvc`, parameters, inputs and outputs of stages)
counts by what it says, not by having changed. Every other changed file concerns the model where
its `paths` or code directories say so.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlops.domain.dvcfiles import join
from mlops.domain.patterns import matches
from mlops.domain.plan import Change, Impact, Kind
from mlops.domain.view import Side, SourceView
from mlops.policy.hashes import overlaps
from mlops.policy.stale import Finding, in_scope, short_md5, stale_stages

SETTINGS = ("mlops.yaml", "mlops.lock")
# these say how training is run or which files concern it, not what is released
_NOT_RELEASED = ("paths", "train.resources", "train.timeout", "train.network")
_TRAINING = "train"  # the one stage of a project that trains by a command of its own


def assess(view: SourceView) -> Impact:
    """The impact: changes that concern the model, changed paths that do not, and stale stages.

    Raises ConfigError where `train.stages` names a stage that is not in the graph.
    """
    touched, data = _touched(view), _data(view)
    findings = stale_stages(view.pipeline, view.source.data, (*touched, *data))
    if view.since is None:
        stale = _reasons(findings)
        if view.command:
            stale = ((_TRAINING, f"first release of {view.model}"),)
        return Impact((Change(Kind.FIRST, view.model),), (), stale)
    graph = _Graph.of(view)
    changes = (
        *_packages(view),
        *_base(view),
        *_settings(view),
        *(found.change for _, all_ in findings for found in all_ if found.change is not None),
        *_data_changes(view, graph, data),
        *_artifact(view, bool(findings)),
    )
    files, unrelated = _files(view, graph, touched, changes)
    concerned = _distinct((*changes, *files))
    stale = _commanded(view, concerned) if view.command else _reasons(findings)
    return Impact(concerned, unrelated, stale)


def _reasons(findings: Iterable[tuple[str, tuple[Finding, ...]]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, "; ".join(found.text for found in all_)) for name, all_ in findings)


def _commanded(view: SourceView, changes: Iterable[Change]) -> tuple[tuple[str, str], ...]:
    """Without DVC nothing says what a command reads: all that concerns the model but its serving
    and gates calls for training."""
    prefix = f"models.{view.model}."
    texts = []
    for change in changes:
        key = (change.old or change.new or "").removeprefix(prefix)
        if change.kind is not Kind.CONFIGURATION or key.startswith("train."):
            texts.append(change.text)
    return ((_TRAINING, "; ".join(texts)),) if texts else ()


def _distinct(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Each text once: a change that makes two stages stale is one change."""
    return tuple({change.text: change for change in reversed([*changes])}.values())[::-1]


def _touched(view: SourceView) -> tuple[str, ...]:
    old = view.since.files if view.since else {}
    return tuple(path for path, _, _ in _differences(old, view.source.files)) if view.since else ()


def _differences(
    old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[tuple[str, str | None, str | None]]:
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield key, old.get(key), new.get(key)


def _packages(view: SourceView) -> Iterator[Change]:
    since = _before(view)
    found = False
    for name, old, new in _differences(since.packages, view.source.packages):
        found = True
        if old is None:
            yield Change(Kind.DEPENDENCIES, view.lock, None, f"{name} {new}")
        else:
            yield Change(Kind.DEPENDENCIES, view.lock, f"{name} {old}", new)
    if not found and since.files.get(view.lock) != view.source.files.get(view.lock):
        yield Change(Kind.DEPENDENCIES, view.lock)  # hashes or markers only: still another image


def _base(view: SourceView) -> Iterator[Change]:
    since = _before(view)
    if since.base != view.source.base:
        old, new = (
            short_md5(side.base.removeprefix("sha256:")) if side.base else None
            for side in (since, view.source)
        )
        yield Change(Kind.BASE, f"base {view.base_name}", old, new)
    for name, before, now in _differences(since.tools, view.source.tools):
        old_text = None if before is None else f"{name} {before}"
        yield Change(Kind.BASE, "mlops.lock", old_text, now if old_text else f"{name} {now}")


def _before(view: SourceView) -> Side:
    if view.since is None:
        raise AssertionError("asked what changed since nothing")
    return view.since


def _settings(view: SourceView) -> Iterator[Change]:
    prefix = f"models.{view.model}."
    for key, old, new in _differences(_before(view).config, view.source.config):
        inner = key.removeprefix(prefix)
        if inner.startswith(_NOT_RELEASED):
            continue
        kind = Kind.CONFIGURATION
        if inner.startswith("build.") and not inner.startswith(("build.code", "build.labels")):
            kind = Kind.DEPENDENCIES if inner.startswith("build.requirements") else Kind.BASE
        if old is None:
            yield Change(kind, "mlops.yaml", None, f"{key} {new}")
        else:
            yield Change(kind, "mlops.yaml", f"{key} {old}", new)


def _data(view: SourceView) -> tuple[str, ...]:
    """Paths whose versioned md5 differs between the two sides."""
    if view.since is None:
        return ()
    old = {path: md5 for path, (md5, _) in view.since.data.items()}
    new = {path: md5 for path, (md5, _) in view.source.data.items()}
    return tuple(path for path, _, _ in _differences(old, new))


def _data_changes(view: SourceView, graph: _Graph, paths: Iterable[str]) -> Iterator[Change]:
    for path in paths:
        old, new = (side.data.get(path) for side in (_before(view), view.source))
        tracker = (new or old or ("", ""))[1]
        globbed = not _read(graph.every, path) and matches(view.paths, tracker)
        if globbed or _concerns(view, graph, path):
            yield Change(
                Kind.DATA,
                path,
                short_md5(old[0]) if old else None,
                short_md5(new[0]) if new else None,
            )


def _artifact(view: SourceView, stale: bool) -> Iterator[Change]:
    """A model that somebody trained elsewhere and recorded in their own dvc.lock."""
    if stale or not view.artifact or not view.recorded:
        return
    for stage in view.pipeline.stages:
        locked = view.pipeline.locks.get(stage.name)
        for path, entry in locked.outs.items() if locked else ():
            here = join(stage.wdir, path) == view.artifact
            if here and entry.md5 and entry.md5 != view.recorded:
                old, new = short_md5(view.recorded), short_md5(entry.md5)
                yield Change(Kind.DATA, view.artifact, old, new)


def _files(
    view: SourceView, graph: _Graph, touched: Iterable[str], changes: Iterable[Change]
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Changes of plain files that concern the model, and the changed paths that do not."""
    related: list[Change] = []
    unrelated: list[str] = []
    said = {change.path.partition(": ")[0] for change in changes}
    if any(change.kind is Kind.BASE for change in changes):
        said.add("mlops.lock")
    for path in touched:
        if path in (*SETTINGS, view.lock) or graph.explains(path):
            if path not in said and not _tracks(view, path, said):
                unrelated.append(path)
        elif _concerns(view, graph, path):
            related.append(Change(Kind.CODE, path))
        else:
            unrelated.append(path)
    return tuple(related), tuple(unrelated)


def _tracks(view: SourceView, path: str, said: set[str]) -> bool:
    """Whether `path` is the `.dvc` file of data that is among the changes."""
    sides = (view.source, _before(view))
    return any(
        tracker == path and data in said
        for side in sides
        for data, (_, tracker) in side.data.items()
    )


@dataclass(frozen=True, slots=True)
class _Graph:
    """What the stages read and make: the model's own (in scope, not frozen), and all of them."""

    mine: frozenset[str]
    every: frozenset[str]
    made: frozenset[str]
    params: frozenset[str]

    @classmethod
    def of(cls, view: SourceView) -> _Graph:
        stages = view.pipeline.stages
        own = [stage for stage in in_scope(view.pipeline) if not stage.frozen]
        return cls(
            mine=frozenset(dep for stage in own for dep in stage.deps),
            every=frozenset(dep for stage in stages for dep in stage.deps),
            made=frozenset(out.path for stage in stages for out in stage.outs),
            params=frozenset(param.path for stage in stages for param in stage.params),
        )

    def explains(self, path: str) -> bool:
        """Whether what the file says is judged elsewhere: DVC's own files, parameters, outputs."""
        name = posixpath.basename(path)
        if name in ("dvc.yaml", "dvc.lock") or name.endswith(".dvc") or path in self.params:
            return True
        return any(overlaps(path, out) for out in self.made)


def _concerns(view: SourceView, graph: _Graph, path: str) -> bool:
    """Whether a changed path concerns the model.

    What is packaged does, and an input of a stage in scope; an input of other stages alone does
    not, whatever the globs say; else the globs decide.
    """
    if any(overlaps(path, code) for code in view.code) or path == view.artifact:
        return True
    if _read(graph.mine, path):
        return True
    return not _read(graph.every, path) and matches(view.paths, path)


def _read(deps: Iterable[str], path: str) -> bool:
    return any(overlaps(dep, path) for dep in deps)
