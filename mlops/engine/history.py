"""What an environment pinned, when, and by whose commit, derived from git as it is asked for.

Pins come from the differences of `environments/ENV/kustomization.yaml` along the line of pushed
tips, so hand edits and other tools' commits count; the trailers of our commits annotate them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.history import EDIT, PinRow
from mlops.domain.message import ACTION, ACTOR, INCIDENT, REASON, RUN
from mlops.domain.reference import Day, Instant, When
from mlops.domain.source import Commit
from mlops.engine.annotation import words
from mlops.errors import ConfigError, RefusedError
from mlops.manifests.versions import Versions
from mlops.ports import CommitInfo, GitOps, LineChange

Note = Callable[[str], None]
Pins = Mapping[str, Digest]
# a tip and the path of a kustomization → the changes on the line from there, newest first
Changes = Callable[[Commit, str], Iterator[LineChange]]

UNSHALLOW = "Run: git fetch --unshallow"
_REMEMBERED = 64  # parsed kustomizations: neighbours share a blob, and memory stays flat
_AHEAD = 32  # changes whose versions are fetched at once, at most


def kustomization_path(gitops: GitOps, environment: str) -> str:
    return f"{gitops.path}/{environment}/kustomization.yaml"


@dataclass(frozen=True, slots=True)
class _Step:
    """One commit that may have changed what is pinned; `before` is None beyond a shallow end.
    `name` is what the environment was called then."""

    info: CommitInfo
    since: datetime
    before: Pins | None
    after: Pins
    name: str


@dataclass(frozen=True, slots=True)
class _Version:
    """A commit that changed the kustomization of an environment called `name`: its blobs."""

    change: LineChange
    old: str | None
    new: str | None
    name: str


class History:
    """The pins of one environment at a tip, newest first; what was read once is kept.

    Order is that of the line, not of the clocks: a commit whose time lies after a later commit's
    (or after `now`) counts from the later one's. An overlay that was renamed is followed to its former
    name: in the commit that brought it exactly one other overlay went, with the same pins. `note` hears
    of kustomizations that cannot be read, and of former names.
    """

    def __init__(
        self,
        gitops: GitOps,
        tip: Commit,
        environment: str,
        versions: Versions,
        now: datetime,
        note: Note = lambda _: None,
        changes: Changes | None = None,
    ) -> None:
        """`versions` reads kustomizations; `changes` gives the changes of the environment's, default:
        the branch's line."""
        self.environment = environment
        self.path = kustomization_path(gitops, environment)
        self._gitops = gitops
        self._tip = tip
        self._now = now
        self._note = note
        self._changes = changes or gitops.line
        self._reader = versions.of(self.path)
        self._parsed = lru_cache(maxsize=_REMEMBERED)(self._parse)
        self._noted: set[str] = set()
        self._fetched: dict[str, bytes] = {}
        self._end: tuple[Commit, datetime] | None = None  # where a shallow clone ends
        self._read: list[PinRow] = []
        self._rest = self._derive()

    def rows(self, model: str | None = None) -> Iterator[PinRow]:
        """Every pin that ever was (of one model, where named), newest first, as far as asked for."""
        for row in self._all():
            if model is None or row.model == model:
                yield row

    def standing(self, pins: Pins) -> dict[str, PinRow]:
        """The row of each pin that stands now, by model; reads no further back than they need."""
        missing = set(pins)
        found: dict[str, PinRow] = {}
        rows = self._all()
        while missing and (row := next(rows, None)) is not None:
            if row.model in missing and row.until is None:
                missing.discard(row.model)
                found[row.model] = row
        return found

    def last_moved(self) -> tuple[PinRow, ...]:
        """The rows that the newest commit that pinned anything wrote; empty before the first."""
        found: list[PinRow] = []
        for row in self._all():
            if found and row.commit != found[0].commit:
                break
            found.append(row)
        return tuple(found)

    def at(self, when: When, model: str | None = None) -> tuple[PinRow, ...]:
        """The pins in force at an instant (one for each model) or on a day (all that were).

        Empty before the first pin. Raises RefusedError where history is cut off before that.
        """
        found: dict[str, list[PinRow]] = {}
        done: set[str] = set()
        for row in self.rows(model):
            if row.model not in done and _in_force(row, when):
                found.setdefault(row.model, []).append(row)
            if row.since <= _start(when):
                done.add(row.model)
                if model is not None:
                    break
        if model is None or not done:
            self._must_reach(_start(when))
        return tuple(row for name in sorted(found) for row in found[name])

    @property
    def cut_off(self) -> str:
        """Where a shallow clone ended what has been read so far, in words; empty where none did."""
        if self._end is None:
            return ""
        commit, when = self._end
        return (
            f"the history of {self.environment} is cut off at {commit.short}, {when:%Y-%m-%d}: "
            "this clone is shallow"
        )

    def doubt(self, model: str) -> None:
        """Note what a choice among earlier pins cannot know where what was read is cut off."""
        if self._end is not None:
            self._note(
                f"{self.cut_off}, so nobody can tell whether {self.environment} was rolled back from an "
                f"earlier {model} before that. {UNSHALLOW}"
            )

    def _must_reach(self, start: datetime) -> None:
        if self._end is not None and self._end[1] > start:
            raise RefusedError(self.cut_off, hint=UNSHALLOW)

    def _all(self) -> Iterator[PinRow]:
        at = 0
        while True:
            if at == len(self._read):
                row = next(self._rest, None)
                if row is None:
                    return
                self._read.append(row)
            yield self._read[at]
            at += 1

    def _derive(self) -> Iterator[PinRow]:
        ended: dict[str, datetime] = {}
        for step in self._steps():
            before = step.before or {}
            for model in _differing(before, step.after):
                old, new = before.get(model), step.after.get(model)
                if new is not None:
                    yield self._row(step, ReleaseId(model, new), old, ended.get(model))
                ended[model] = step.since

    def _steps(self) -> Iterator[_Step]:
        """Neighbouring kustomizations that can be read, newest first.

        One that cannot be read deployed nothing: what stood before it went on standing, and the
        commit that mended it made the change.
        """
        since = self._now
        mended: tuple[CommitInfo, datetime, Pins, str] | None = None
        for version in self._versions():
            change = version.change
            since = min(since, change.info.committed)
            if change.cut:
                self._end = (change.info.commit, since)
            if version.old == version.new:
                continue
            after = self._pins(version.new)
            if mended is None and after is not None:
                mended = (change.info, since, after, version.name)
            if mended is None:
                continue
            before = None if change.cut else self._pins(version.old)
            if before is not None or change.cut:
                info, begun, pins, name = mended
                yield _Step(info, begun, before, pins, name)
                mended = None

    def _versions(self) -> Iterator[_Version]:
        """Every version of the kustomization, newest first, under all the names that it had."""
        name, tip = self.environment, self._tip
        while True:
            former = None
            path = kustomization_path(self._gitops, name)
            for change in self._ahead(self._changes(tip, path), path):
                if name != self.environment and change.info.commit == tip:
                    continue  # here it went away under its former name
                old, new = change.files.get(path, (None, None))
                if old is None and new is not None and not change.cut:
                    former = self._former(change, new)
                yield _Version(change, former[1] if former else old, new, name)
                if former is not None:
                    break
            if former is None:
                return
            name, tip = former[0], change.info.commit
            self._note(f"{self.environment} was called {name} until {change.info.commit.short}")

    def _ahead(self, changes: Iterator[LineChange], path: str) -> Iterator[LineChange]:
        """The same changes, their versions fetched some at a time: one, then two, four …"""
        size = 1
        while block := list(islice(changes, size)):
            wanted = (blob for change in block for blob in change.files.get(path, ()) if blob)
            blobs = [blob for blob in dict.fromkeys(wanted) if blob not in self._fetched]
            self._fetched = dict(zip(blobs, self._gitops.blobs(blobs), strict=True))
            yield from block
            size = min(2 * size, _AHEAD)

    def _former(self, change: LineChange, blob: str) -> tuple[str, str] | None:
        """The overlay that the commit renamed: its name and its last blob; None where it made anew
        what it brought, or nobody can tell."""
        whole = next(iter(self._gitops.line(change.info.commit, self._gitops.path)))
        pins = self._pins(blob)
        found = []
        for path, (old, new) in whole.files.items():
            rest = path.removeprefix(f"{self._gitops.path}/").split("/")
            gone = old is not None and new is None and rest[1:] == ["kustomization.yaml"]
            if gone and old is not None and (old == blob or (pins and self._pins(old) == pins)):
                found.append((rest[0], old))
        return found[0] if len(found) == 1 else None

    def _pins(self, blob: str | None) -> Pins | None:
        return {} if blob is None else self._parsed(blob)

    def _parse(self, blob: str) -> Pins | None:
        try:
            content = self._fetched.get(blob)
            return self._reader.pins(self._gitops.blob(blob) if content is None else content)
        except ConfigError as exc:
            if blob not in self._noted:
                self._noted.add(blob)
                self._note(f"history passes over a version that cannot be read: {exc}")
            return None

    def _row(
        self, step: _Step, release: ReleaseId, previous: Digest | None, until: datetime | None
    ) -> PinRow:
        cut = step.before is None
        said = {} if cut else words(step.info, step.name, release, previous)
        return PinRow(
            environment=self.environment,
            release=release,
            previous=previous,
            since=step.since,
            until=until,
            commit=step.info.commit,
            author=step.info.author,
            action=said.get(ACTION) or EDIT,
            actor=said.get(ACTOR, ""),
            reason=said.get(REASON, ""),
            incident=said.get(INCIDENT, ""),
            run=said.get(RUN, ""),
            cut=cut,
        )


def _differing(before: Pins, after: Pins) -> list[str]:
    """The models whose pin differs, in order of their names."""
    if before is after:
        return []
    # neighbours share most digests: identity first, equality of a frozen class costs a call
    changed = [
        model
        for model, digest in after.items()
        if (old := before.get(model)) is not digest and old != digest
    ]
    return sorted([*changed, *(model for model in before if model not in after)])


def _start(when: When) -> datetime:
    return when.at if isinstance(when, Instant) else when.start


def _in_force(row: PinRow, when: Instant | Day) -> bool:
    if isinstance(when, Instant):
        return row.since <= when.at and (row.until is None or row.until > when.at)
    begun_that_day = when.start <= row.since < when.end  # also one replaced within the same second
    return begun_that_day or (
        row.since < when.start and (row.until is None or row.until > when.start)
    )
