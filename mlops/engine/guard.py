"""`mlops guard`: every commit of a push, judged against the holds, quarantine and records it meets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from mlops.config.project import parse_project
from mlops.domain.digest import ReleaseId
from mlops.domain.history import PROMOTE
from mlops.domain.message import ACTION, MODEL
from mlops.domain.source import Commit
from mlops.engine.recorded import Recorded
from mlops.engine.standing import Standing
from mlops.errors import MlopsError, UsageError
from mlops.policy.guard import Overlay, Rule, Step, Violation, judge
from mlops.ports import FileEntry, Ranges, SourceReader

_OVERLAY = ("kustomization.yaml", "holds.yaml")
_RELEASES = "releases"
_PROJECT = "mlops.yaml"
LIFT = "lift"  # of Mlops-Action


@dataclass(frozen=True, slots=True)
class Found:
    """A violation and the commit that makes it."""

    commit: Commit
    violation: Violation


@dataclass(frozen=True, slots=True)
class Guard:
    """The use case; `path` is the directory of the environments, `now` decides which holds stand.

    `models` are ours beside those that the commits themselves tell of: the GitOps branch may hold no
    mlops.yaml.
    """

    reader: SourceReader
    ranges: Ranges
    path: str
    now: Callable[[], datetime]
    models: frozenset[str] = frozenset()
    standing: Standing = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "standing", Standing(self.reader, self.path))

    def check(self, base: Commit | None, head: Commit) -> tuple[Found, ...]:
        """The violations of base..head, commit by commit, oldest first.

        Without `base` (a branch that begins) the state at `head` is judged as if all of it were new.
        Raises GitError where a commit is not here.
        """
        if base is None:
            files = self.reader.files(head, self.path)
            nothing = Recorded(self.reader, self.path, ())
            step = self._step(None, head, files, self._ours((head,)), nothing)
            return self._judged(head, replace(step, spoiled={}))
        if not self.reader.is_ancestor(base, head):
            reason = f"{base.short} is not on the line of {head.short}: its pins would be lost"
            hint = "Bring your branch up to date and push without force: git pull --rebase"
            return (Found(head, Violation(Rule.LINE, reason, hint)),)
        found: list[Found] = []
        models = self._ours((base, head))
        records = self._records(base)
        for pushed in self.ranges.steps(base, head, self.path):
            step = self._step(pushed.parent, pushed.commit, pushed.files, models, records)
            step = replace(step, began=self._overlays(base, {*step.before, *step.after}))
            found += self._judged(pushed.commit, step)
        if self.ranges.passes_by(base, head, self.path):
            reason = (
                f"history from {head.short} would pass by {base.short}, and no longer tell its pins"
            )
            hint = "Make the merge the other way round: git pull --rebase"
            found.append(Found(head, Violation(Rule.LINE, reason, hint)))
        return tuple(found)

    def _judged(self, commit: Commit, step: Step) -> tuple[Found, ...]:
        return tuple(Found(commit, violation) for violation in judge(step, self.now()))

    def _step(
        self,
        before: Commit | None,
        after: Commit,
        files: Iterable[FileEntry],
        models: frozenset[str],
        records: Recorded,
    ) -> Step:
        """The commit as policy judges it, to be judged before the next one is asked for."""
        changed = {entry.path: entry for entry in files}
        names = sorted({name for path in changed if (name := self._environment(path))})
        quarantine, _ = self.standing.quarantine(before)
        forbidden, fault = self.standing.quarantine(after)
        return Step(
            before=self._overlays(before, names),
            after=self._overlays(after, names),
            models=models,
            record=records.find,
            quarantine=quarantine,
            forbidden=forbidden,
            lifted=self._named(after, LIFT) if quarantine != forbidden else frozenset(),
            promoted=self._named(after, PROMOTE) if names else frozenset(),
            spoiled=dict(records.follow(changed.values())),
            faults=tuple(text for text in (fault, *self._links(changed)) if text),
        )

    def _overlays(self, commit: Commit | None, names: Iterable[str]) -> dict[str, Overlay]:
        found = {} if commit is None else {n: self.standing.overlay(commit, n) for n in names}
        return {name: overlay for name, overlay in found.items() if overlay is not None}

    def _environment(self, path: str) -> str:
        """The environment that a file decides about; empty for any other file."""
        name, slash, rest = path.removeprefix(f"{self.path}/").partition("/")
        return name if slash and rest in _OVERLAY and name != _RELEASES else ""

    def _links(self, changed: dict[str, FileEntry]) -> Iterable[str]:
        """Directories that became a link or a submodule: git reads nothing below, a deployer would."""
        for path, entry in sorted(changed.items()):
            inside = path.removeprefix(f"{self.path}/")
            if inside == "quarantine.yaml":
                continue  # it is read, and refused, as a file
            if entry.mode in ("120000", "160000") and (path == self.path or "/" not in inside):
                kind = "link" if entry.mode == "120000" else "submodule"
                yield f"{path}: expected a directory or a file; found a {kind}"

    def _named(self, commit: Commit, action: str) -> frozenset[ReleaseId]:
        """The releases that a commit names, where it says that it carries out this action."""
        info = self.reader.info(commit)
        if info.trailer(ACTION) != action:
            return frozenset()
        found = set()
        for text in info.all(MODEL):
            try:
                found.add(ReleaseId.parse(text))
            except UsageError:
                continue  # no release
        return frozenset(found)

    def _records(self, commit: Commit) -> Recorded:
        files = self.reader.files(commit, f"{self.path}/{_RELEASES}")
        return Recorded(self.reader, self.path, files)

    def _ours(self, commits: Iterable[Commit]) -> frozenset[str]:
        """Our models: those of mlops.yaml, where it lies here, and those with a record."""
        models = set(self.models)
        for commit in commits:
            models |= self._records(commit).models
            content = self.reader.read(commit, _PROJECT)
            try:
                models |= set(parse_project(content, _PROJECT).names if content else ())
            except MlopsError:
                continue  # that mlops.yaml cannot be read is not what guard refuses
        return frozenset(models)
