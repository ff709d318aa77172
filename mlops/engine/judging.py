"""What one tip calls for: which commits, for which models, and which of them need no run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from mlops.domain.project import ModelConfig, Project
from mlops.domain.source import Commit
from mlops.domain.watching import Tip, WatchConfig
from mlops.engine import claiming
from mlops.engine.claiming import Decision
from mlops.errors import MlopsError
from mlops.policy.concern import concerned
from mlops.policy.plan import nothing
from mlops.ports import History, SourceReader, Step

_FAR = 100_000  # commits, behind which nothing is looked for
_DIGITS = 12  # of a source in a run's name
_EMPTY = "nothing to do: it changes no file"


@dataclass(frozen=True, slots=True)
class Judged:
    """A commit and a model; `skip` says why no run is made, and is else empty. `kept`: the skip is written down
    all the same, as it is where a branch begins to be watched.

    `floor` is the commit up to which all is decided for sure, where a tip calls for several: a watcher that dies
    between two of them leaves a gap, and the next one looks for gaps down to there.
    """

    model: str
    source: Commit
    skip: str = ""
    kept: bool = False
    floor: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a tip calls for, oldest commit first; `trouble` says why nothing could be told of it."""

    judged: tuple[Judged, ...]
    trouble: str = ""


@dataclass(frozen=True)
class Known:
    """The decisions that there are, by `claiming.subject`."""

    decisions: Mapping[str, Decision]

    def has(self, model: str, source: Commit) -> bool:
        return claiming.subject(model, source) in self.decisions

    @cached_property
    def tried(self) -> Mapping[str, set[str]]:
        """Model → the sources that runs were, or will be, made of: what a push is compared with."""
        return self._sources(claiming.tried)

    @cached_property
    def floors(self) -> Mapping[str, Mapping[str, str]]:
        """Model → the sources that a watcher decided, each with its floor: where each: commit goes on."""
        found: dict[str, dict[str, str]] = {}
        for subject, decision in self.decisions.items():
            if decision.tip is not None:
                model, _, source = subject.rpartition("-")
                found.setdefault(model, {})[source] = decision.floor
        return found

    def _sources(self, which: Callable[[Decision], bool]) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for subject, decision in self.decisions.items():
            if which(decision):
                model, _, source = subject.rpartition("-")
                found.setdefault(model, set()).add(source)
        return found


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Of a line, newest first, what is to be judged for a model: all before `end`, which is decided, and so is all
    behind it; at `start` is the newest commit that is decided, and between the two there may be gaps."""

    start: int
    end: int
    newest: str
    last: str

    def floor(self, *, gap: bool) -> str:
        return self.last if gap else self.newest


@dataclass(slots=True)
class Judge:
    """Judges tips by what git holds. `projects` gives mlops.yaml at a source, and raises MlopsError."""

    reader: SourceReader
    history: History
    projects: Callable[[Commit], Project]
    config: WatchConfig
    transparent: str
    _done: dict[str, Commit] = field(
        default_factory=dict
    )  # ref → the last tip that was judged whole

    def judge(self, tip: Tip, step: Step, known: Known) -> Verdict:
        """`step` is what the tip's own commit changed."""
        try:
            source = step.commit if self._outside(step) else self._source(step.commit)
            project = self.projects(source)
            if self.config.each == "commit" and tip.branch:
                judged = tuple(self._commits(tip, source, project, known))
            else:
                judged = tuple(self._push(tip, source, project, known))
        except MlopsError as exc:  # one bad branch must not keep the others waiting
            return Verdict((), f"{tip.commit.short} is not decided: {exc}")
        return Verdict(judged)

    def told(self, tip: Tip) -> None:
        """All that the tip calls for is decided, and need not be looked for again."""
        self._done[tip.ref] = tip.commit

    def forget(self, refs: Collection[str]) -> None:
        """Only these refs are still there."""
        self._done = {ref: commit for ref, commit in self._done.items() if ref in refs}

    def _source(self, commit: Commit) -> Commit:
        return self.reader.source_of(commit, self.transparent)

    def _outside(self, step: Step) -> tuple[str, ...]:
        """What a commit changes outside the directory whose commits are our own."""
        own = f"{self.transparent.strip('/')}/" if self.transparent.strip("/") else ""
        return tuple(path for path in step.paths if not own or not path.startswith(own))

    # -- each push

    def _push(self, tip: Tip, source: Commit, project: Project, known: Known) -> Iterator[Judged]:
        fresh = [model.name for model in project.models if not known.has(model.name, source)]
        mark = self._mark(source) if fresh else ""
        bases = self._bases(source, fresh, known.tried) if tip.branch and not mark else {}
        pipelines = self._pipelines(source, self._named(source)) if bases else ()
        for model in project.models:
            skip = mark if model.name in fresh else ""
            if model.name in bases:
                skip = self._unconcerned(model, bases[model.name], source, pipelines)
            yield Judged(model.name, source, skip)

    def _bases(
        self, source: Commit, models: Sequence[str], known: Mapping[str, set[str]]
    ) -> dict[str, Commit]:
        """Model → the nearest first-parent ancestor that is known for it; none where there is none."""
        pending = {model for model in models if known.get(model)}
        found: dict[str, Commit] = {}
        if not pending:
            return found
        for number, commit in enumerate(self.history.line(source)):
            here = {model for model in pending if commit.sha[:_DIGITS] in known[model]}
            found |= dict.fromkeys(here, commit)
            pending -= here
            if not pending or number > _FAR:
                break
        return found

    def _unconcerned(
        self, model: ModelConfig, base: Commit, source: Commit, pipelines: Sequence[str]
    ) -> str:
        paths = self._outside(Step(source, "", self.history.between(base, source)))
        return "" if concerned(model, paths, pipelines) else nothing(base, paths)

    def _mark(self, source: Commit, step: Step | None = None) -> str:
        (found,) = (step,) if step is not None else self.history.changed([source])
        mark = self.config.mark(found.message)
        return f"its message says {mark}" if mark else ""

    def _named(self, commit: Commit) -> tuple[str, ...]:
        return _pipeline_files(entry.path for entry in self.reader.files(commit))

    def _pipelines(self, commit: Commit, paths: Collection[str]) -> tuple[str, ...]:
        contents = (self.reader.read(commit, path) for path in paths)
        return tuple(content.decode("utf-8", "replace") for content in contents if content)

    # -- each commit

    def _commits(
        self, tip: Tip, source: Commit, project: Project, known: Known
    ) -> Iterator[Judged]:
        line, stretches = self._passed(tip, project.names, known)
        named = self._named(source) if line else ()
        found: list[tuple[int, Judged]] = []
        steps = self.history.changed(line)
        for number, step in reversed(tuple(enumerate(steps))):
            models = {model for model, stretch in stretches.items() if number < stretch.end}
            found += ((number, judged) for judged in self._step(step, models, named, known))
        gaps = {j.model for n, j in found if not j.skip and n >= stretches[j.model].start}
        for _, judged in found:
            floor = stretches[judged.model].floor(gap=judged.model in gaps)
            yield replace(judged, floor=floor)
        told = {(judged.model, judged.source) for _, judged in found}
        for model in project.names:
            if (model, source) not in told:
                first = model not in stretches
                mark = self._mark(source) if first and not known.has(model, source) else ""
                yield Judged(model, source, mark, kept=first)

    def _passed(
        self, tip: Tip, models: Sequence[str], known: Known
    ) -> tuple[list[Commit], dict[str, _Stretch]]:
        """The line from a tip, newest first, as far back as a model needs it, and what each model needs of it. A
        model of which no watcher decided anything on it is left out."""
        done = self._done.get(tip.ref)
        pending = {model for model in models if done is not None or known.floors.get(model)}
        line: list[Commit] = []
        near: dict[str, tuple[int, str]] = {}  # model → the newest that is decided, and its floor
        found: dict[str, _Stretch] = {}
        for number, commit in enumerate(self.history.line(tip.commit) if pending else ()):
            line.append(commit)
            for model in tuple(pending):
                floor = known.floors.get(model, {}).get(commit.sha[:_DIGITS])
                if floor is not None and model not in near:
                    near[model] = number, floor or commit.sha
                if commit == done or commit.sha == near.get(model, (0, ""))[1]:
                    start = near.get(model, (number, ""))[0]
                    found[model] = _Stretch(start, number, line[start].sha, commit.sha)
                    pending.remove(model)
            if not pending or number > _FAR:
                break
        return line[: max((each.end for each in found.values()), default=0)], found

    def _step(
        self, step: Step, models: Collection[str], named: Sequence[str], known: Known
    ) -> Iterator[Judged]:
        """What one commit of several calls for; nothing where its mlops.yaml cannot be read."""
        outside = self._outside(step)
        mine = [model for model in models if outside and not known.has(model, step.commit)]
        try:
            project = self.projects(step.commit) if mine else None
        except MlopsError:
            return
        mark = self._mark(step.commit, step)
        pipelines = (
            self._pipelines(step.commit, {*named, *_pipeline_files(outside)}) if mine else ()
        )
        for model in project.models if project is not None else ():
            if model.name in mine:
                skip = mark
                if not skip and not concerned(model, outside, pipelines):
                    skip = nothing(None, outside) if outside else _EMPTY
                yield Judged(model.name, step.commit, skip)


def _pipeline_files(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if path.rpartition("/")[2] == "dvc.yaml")
