"""`mlops guard`: every commit of a push, judged against the holds, quarantine and records it meets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from mlops.config.environment import parse_holds, parse_quarantine
from mlops.config.project import parse_project
from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.domain.release import ReleaseRecord, record_path
from mlops.domain.source import Commit
from mlops.errors import ConfigError, MlopsError
from mlops.manifests import kustomization
from mlops.policy.guard import Overlay, Rule, Step, Violation, judge
from mlops.ports import FileEntry, Ranges, SourceReader

_OVERLAY = ("kustomization.yaml", "holds.yaml")
_RECORD = re.compile(r"(?P<model>[^/]+)/(?P<hex>[0-9a-f]{64})\.json", re.ASCII)
_PROJECT = "mlops.yaml"


@dataclass(frozen=True, slots=True)
class Found:
    """A violation and the commit that makes it."""

    commit: Commit
    violation: Violation


@dataclass(frozen=True, slots=True)
class Guard:
    """The use case; `path` is the directory of the environments, `now` decides which holds stand."""

    reader: SourceReader
    ranges: Ranges
    path: str
    now: Callable[[], datetime]

    def check(self, base: Commit | None, head: Commit) -> tuple[Found, ...]:
        """The violations of base..head, commit by commit, oldest first.

        Without `base` (a branch that begins) the state at `head` is judged as if all of it were new.
        Raises GitError where a commit is not here.
        """
        if base is None:
            return self._judged(head, self._whole(head))
        if not self.reader.is_ancestor(base, head):
            reason = f"{base.short} is not on the line of {head.short}: its pins would be lost"
            hint = "Bring your branch up to date and push without force: git pull --rebase"
            return (Found(head, Violation(Rule.LINE, reason, hint)),)
        found: list[Found] = []
        models = self._models(head) | self._models(base)
        for pushed in self.ranges.steps(base, head, self.path):
            step = self._step(pushed.parent, pushed.commit, pushed.files, models)
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

    def _whole(self, head: Commit) -> Step:
        files = self.reader.files(head, self.path)
        step = self._step(None, head, files, self._models(head))
        return replace(step, spoiled={})

    def _step(
        self,
        before: Commit | None,
        after: Commit,
        files: Iterable[FileEntry],
        models: frozenset[str],
    ) -> Step:
        changed = {entry.path: entry for entry in files}
        names = sorted({name for path in changed if (name := self._environment(path))})
        after_entries, fault = self._quarantine(after)
        before_entries, _ = self._quarantine(before)
        return Step(
            before=self._overlays(before, names),
            after=self._overlays(after, names),
            models=models,
            quarantine=tuple(dict.fromkeys((*before_entries, *after_entries))),
            record=lambda release: self._record(after, release),
            spoiled=self._spoiled(before, after, changed),
            faults=(fault,) if fault else (),
        )

    def _environment(self, path: str) -> str:
        """The environment that a file decides about; empty for any other file."""
        name, slash, rest = path.removeprefix(f"{self.path}/").partition("/")
        return name if slash and rest in _OVERLAY and name != "releases" else ""

    # -- what stands at a commit

    def _overlays(self, commit: Commit | None, names: Iterable[str]) -> dict[str, Overlay]:
        found = {}
        for name in names:
            overlay = self._overlay(commit, name) if commit is not None else None
            if overlay is not None:
                found[name] = overlay
        return found

    def _overlay(self, commit: Commit, name: str) -> Overlay | None:
        path = f"{self.path}/{name}/kustomization.yaml"
        holds = f"{self.path}/{name}/holds.yaml"
        try:
            content = self._content(commit, path)
            if content is None:
                return None
            return Overlay(
                {pin.model: pin.digest for pin in kustomization.pins(content, path)},
                kustomization.tagged(content, path),
                parse_holds(self._content(commit, holds), holds),
            )
        except ConfigError as exc:
            return Overlay(fault=str(exc))

    def _quarantine(self, commit: Commit | None) -> tuple[tuple[QuarantineEntry, ...], str]:
        if commit is None:
            return (), ""
        path = f"{self.path}/quarantine.yaml"
        try:
            return parse_quarantine(self._content(commit, path), path), ""
        except ConfigError as exc:
            return (), str(exc)

    def _content(self, commit: Commit, path: str) -> bytes | None:
        """A file's bytes, None where absent. Raises ConfigError where it is no regular file."""
        content = self.reader.read(commit, path)
        if content is None and self.reader.files(commit, path):
            raise ConfigError(f"{path}: expected a regular file; found a link or a directory")
        return content

    def _models(self, commit: Commit) -> frozenset[str]:
        """Our models at a commit: those of mlops.yaml, where it lies here, and those with a record."""
        records = frozenset(
            entry.path.removeprefix(f"{self.path}/releases/").partition("/")[0]
            for entry in self.reader.files(commit, f"{self.path}/releases")
        )
        content = self.reader.read(commit, _PROJECT)
        try:
            names = parse_project(content, _PROJECT).names if content is not None else ()
        except MlopsError:
            names = ()
        return records | frozenset(names)

    def _record(self, commit: Commit, release: ReleaseId) -> ReleaseRecord | None:
        path = record_path(self.path, release.model, release.digest)
        try:
            content = self.reader.read(commit, path)
            record = None if content is None else ReleaseRecord.parse(content, path)
        except ConfigError:
            return None
        return record if record is not None and record.release == release else None

    def _spoiled(
        self, before: Commit | None, after: Commit, changed: dict[str, FileEntry]
    ) -> dict[str, str]:
        """Records that the commit changed, removed or misplaced: path → what happened."""
        found = {}
        prefix = f"{self.path}/releases/"
        for path, entry in changed.items():
            match = (
                _RECORD.fullmatch(path.removeprefix(prefix)) if path.startswith(prefix) else None
            )
            if match is None:
                continue
            old = self.reader.read(before, path) if before is not None else None
            if old is not None and (not entry.blob or self.reader.read(after, path) != old):
                found[path] = "is changed" if entry.blob else "is removed"
            elif old is None and entry.blob:
                release = ReleaseId(match["model"], Digest(match["hex"]))
                if self._record(after, release) is None:
                    found[path] = f"is not the record of {release.short}"
        return found
