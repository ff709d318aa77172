"""The environments at a tip of the GitOps branch: policy, pins, holds, quarantine, records."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from mlops.config import environment as files
from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import EnvironmentPolicy, Hold, QuarantineEntry
from mlops.domain.project import Project
from mlops.domain.release import ReleaseRecord, record_path
from mlops.domain.source import Commit
from mlops.engine.history import History, kustomization_path
from mlops.engine.together import Together
from mlops.errors import ConfigError, UsageError
from mlops.manifests.versions import Versions
from mlops.ports import GitOps

_DIGEST_FILE = 64 + len(".json")


@dataclass(frozen=True, slots=True)
class EnvironmentState:
    """One environment: `pins` holds our models alone, `kustomization` the file's bytes."""

    pins: Mapping[str, Digest]
    holds: tuple[Hold, ...]
    kustomization: bytes

    def hold(self, model: str, now: datetime) -> Hold | None:
        """The hold that stops `model` at `now`: its own before the environment's."""
        covering = [hold for hold in self.holds if hold.covers(model, now)]
        return next((hold for hold in covering if hold.model == model), next(iter(covering), None))


class Environments:
    """All environments at one tip. Each is read when first asked for, and then kept.

    One that cannot be read thus does not stop a rollback of another.
    """

    def __init__(
        self,
        gitops: GitOps,
        tip: Commit,
        project: Project,
        now: datetime,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.gitops = gitops
        self.tip = tip
        self.project = project
        self.now = now
        self._note = note
        self._reader: Versions | None = None
        self._states: dict[str, EnvironmentState] = {}
        self._policies: dict[str, EnvironmentPolicy] = {}
        self._histories: dict[str, History] = {}
        self._records: dict[ReleaseId, ReleaseRecord | None] = {}

    @classmethod
    def load(
        cls,
        gitops: GitOps,
        tip: Commit | None,
        project: Project,
        now: datetime,
        note: Callable[[str], None] = lambda _: None,
    ) -> Environments:
        """Raises ConfigError where the branch does not exist yet."""
        if tip is None:
            raise ConfigError(
                "the GitOps branch has no commit yet",
                hint="Commit and push what mlops init wrote: it prints the commands",
            )
        return cls(gitops, tip, project, now, note)

    @property
    def names(self) -> tuple[str, ...]:
        """The environments, in promotion order."""
        return self.project.environments

    @cached_property
    def models(self) -> frozenset[str]:
        """Our models: those of mlops.yaml, and those that have a record."""
        recorded = self.gitops.directories(self.tip, f"{self.gitops.path}/releases")
        return frozenset({*self.project.names, *recorded})

    @property
    def _versions(self) -> Versions:
        """What read the last kustomization; knows nothing before the first."""
        return self._reader or Versions("", self.models)

    @cached_property
    def quarantine(self) -> tuple[QuarantineEntry, ...]:
        content = self.gitops.read(self.tip, self.quarantine_path)
        return files.parse_quarantine(content, self.quarantine_path)

    @property
    def quarantine_path(self) -> str:
        return f"{self.gitops.path}/quarantine.yaml"

    def holds_path(self, environment: str) -> str:
        return f"{self.gitops.path}/{environment}/holds.yaml"

    def state(self, environment: str) -> EnvironmentState:
        """One environment. Raises UsageError where mlops.yaml does not list it, ConfigError where
        its files are missing or wrong."""
        found = self._states.get(self.environment(environment))
        if found is None:
            found = self._states[environment] = self._load(environment)
        return found

    def _load(self, name: str) -> EnvironmentState:
        path = kustomization_path(self.gitops, name)
        content = self.gitops.read(self.tip, path)
        if content is None:
            raise ConfigError(
                f"{path} is not on the GitOps branch", hint="Run mlops init, commit and push"
            )
        # environments are much alike: the last one's reader mostly knows where to look
        self._reader = self._versions.of(path)
        pins = self._reader.pins(content)
        return EnvironmentState(pins, self._holds(name), content)

    def policy(self, name: str) -> EnvironmentPolicy:
        """How releases may enter an environment; what leaves or holds one does not ask. Raises
        UsageError where mlops.yaml does not list it, ConfigError where its file is wrong."""
        found = self._policies.get(self.environment(name))
        if found is None:
            path = f"{self.gitops.path}/{name}/environment.yaml"
            content = self.gitops.read(self.tip, path)
            found = files.parse_environment(content, name, path, self.names)
            self._policies[name] = found
        return found

    def _holds(self, name: str) -> tuple[Hold, ...]:
        path = self.holds_path(name)
        return files.parse_holds(self.gitops.read(self.tip, path), path)

    def history(self, environment: str) -> History:
        """The environment's past, read as far as it is asked for."""
        found = self._histories.get(self.environment(environment))
        if found is None:
            found = self._histories[environment] = History(
                self.gitops, self.tip, environment, self._versions, self.now, self._note
            )
        return found

    def read_together(self, names: Sequence[str] = ()) -> None:
        """Let the pasts of some environments (default: all) come from one walk: for who asks about
        all of them."""
        chosen = names or self.names
        paths = [kustomization_path(self.gitops, name) for name in chosen]
        changes = Together(self.gitops, self.tip, paths)
        for name in chosen:
            self._histories[name] = History(
                self.gitops, self.tip, name, self._versions, self.now, self._note, changes
            )

    def record(self, release: ReleaseId) -> ReleaseRecord | None:
        """The release's record, None where there is none. Raises ConfigError where it is damaged."""
        if release not in self._records:
            path = record_path(self.gitops.path, release.model, release.digest)
            content = self.gitops.read(self.tip, path)
            record = None if content is None else ReleaseRecord.parse(content, path)
            if record is not None and record.release != release:
                raise ConfigError(f"{path}: this is the record of {record.release}")
            self._records[release] = record
        return self._records[release]

    def sound(self, release: ReleaseId) -> ReleaseRecord | None:
        """As `record`, and None also where it is damaged: nobody can be sent back to such a one."""
        try:
            return self.record(release)
        except ConfigError as exc:
            self._note(str(exc))
            return None

    def recorded(self, model: str) -> tuple[Digest, ...]:
        """The digests of a model that have a record, in order of the digest."""
        prefix = f"{self.gitops.path}/releases/{model}/"
        names = (entry.path.removeprefix(prefix) for entry in self.gitops.files(self.tip, prefix))
        return tuple(
            sorted(
                Digest(name.removesuffix(".json"))
                for name in names
                if name.endswith(".json") and len(name) == _DIGEST_FILE
            )
        )

    def environment(self, name: str) -> str:
        """`name`, where it is an environment of ours. Raises UsageError with the nearest one."""
        return known(name, self.names, "environment")

    def model(self, name: str) -> str:
        """`name`, where it is a model of ours. Raises UsageError with the nearest one."""
        return known(name, sorted(self.models), "model")


def known(name: str, names: Sequence[str], what: str) -> str:
    """`name`, where it is one of `names`. Raises UsageError with the nearest one."""
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    there = f"There is: {', '.join(names)}" if names else f"There is no {what} yet"
    raise UsageError(
        f"no {what} {name!a} here", hint=f"Did you mean {near[0]}? {there}" if near else there
    )
