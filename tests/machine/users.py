"""Users of mlops on a branch: the use cases as the commands wire them; a refusal is a False."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from mlops.domain.project import ModelConfig, Project
from mlops.domain.release import record_path
from mlops.domain.source import Commit
from mlops.engine import hold, quarantine
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.publishing import Publisher
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.engine.state import Environments
from mlops.errors import ConfigError, RefusedError
from mlops.ports import GitOps
from mlops.steps import propose
from mlops.steps.inputs import Inputs
from mlops.steps.sources import Source
from mlops.steps.state import State
from tests.fakes.estate import digest, record, source
from tests.fakes.gitops import Clock
from tests.fakes.sources import MemorySources
from tests.machine import edits
from tests.machine.observer import MODELS, ROOT

ENVIRONMENTS = ("dev", "staging", "prod", "prod-eu")
SOURCES = {"staging": "dev", "prod": "staging", "prod-eu": "staging"}
NAMES = "ABCDEF"
RECORDED = "ABCD"  # from the beginning; the others when a run proposes them
# C and D have one artifact; names are digests too, so that the two models share every one
ARTIFACTS = {name: "f" * 32 if name in "CD" else f"{ord(name):032x}" for name in NAMES}
PROJECT = Project("demo", tuple(ModelConfig(name) for name in MODELS), environments=ENVIRONMENTS)
LINES = ("ABCD", "EF")  # two branches: of E and A neither is the older


class Branches(MemorySources):
    """Sources on two branches."""

    def is_ancestor(self, ancestor: Commit, descendant: Commit) -> bool:
        older, newer = self._line.index(ancestor), self._line.index(descendant)
        names = (self.names[older], self.names[newer])
        return older <= newer and any(set(names) <= set(line) for line in LINES)


LINE = Branches(NAMES)


def made(name: str, model: str):
    """The record of a release, as a run makes it."""
    return record(name, model, artifact={"path": "m", "md5": ARTIFACTS[name]})


def opening() -> dict[str, bytes]:
    """The files that the branch begins with; each overlay in another hand."""
    files = {"mlops.yaml": b"name: demo\n"}
    styles = (edits.plain, edits.quoted, edits.windows, edits.flow_entries)
    for name, style in zip(ENVIRONMENTS, styles, strict=True):
        files[f"{ROOT}/{name}/kustomization.yaml"] = style([])
        policy = "apiVersion: mlops/v1\nkind: Environment\n"
        if name in SOURCES:
            policy += f"from: {SOURCES[name]}\nauto: true\n"
        files[f"{ROOT}/{name}/environment.yaml"] = policy.encode()
    for model in MODELS:
        for name in RECORDED:
            path = record_path(ROOT, model, digest(name))
            files[path] = made(name, model).dump()
    return files


@dataclass(frozen=True)
class User:
    """What one user's commands do."""

    gitops: GitOps
    name: str
    clock: Clock

    @property
    def _publisher(self) -> Publisher:
        return Publisher(self.gitops, PROJECT, self.name, self.clock, pause=lambda _: None)

    def environments(self) -> Environments:
        return self._publisher.environments()

    def promote(self, references: tuple[str, ...], where: str, *, despite: bool) -> bool:
        order = PromoteOrder(references, where, despite_hold=despite)
        return self._done(lambda: Promoter(self._publisher, LINE).promote(order))

    def automatic(self) -> bool:
        unread: list[ConfigError] = []
        Promoter(self._publisher, LINE).automatic(unread=unread.append)
        return not unread

    def roll_back(self, order: RollbackOrder) -> bool:
        return self._done(lambda: Roller(self._publisher, Preflight()).roll_back(order))

    def hold(self, order: hold.HoldOrder) -> bool:
        return self._done(lambda: hold.hold(self._publisher, order))

    def resume(self, where: str, model: str) -> bool:
        return self._done(lambda: hold.resume(self._publisher, where, model))

    def quarantine(self, reference: str, reason: str, *, digest_only: bool) -> bool:
        return self._done(
            lambda: quarantine.quarantine(
                self._publisher, reference, reason, digest_only=digest_only
            )
        )

    def lift(self, reference: str) -> bool:
        return self._done(lambda: quarantine.lift(self._publisher, reference))

    def propose(self, model: str, name: str) -> bool | None:
        """The end of a run; None where the environment cannot be read."""
        inputs = {
            "PARAM_ENVIRONMENT": "dev",
            "PARAM_PIN": "true",
            "PARAM_RUN": f"{model}-{name}-1",
            "PARAM_ACTOR": self.name,
            "PARAM_MODEL": model,
        }
        at = Source(Inputs(inputs), LINE, source(name), State(Path(tempfile.gettempdir())))
        at.__dict__["project"] = PROJECT
        clock = SimpleNamespace(now=lambda _zone: self.clock())
        rest = SimpleNamespace(sleep=lambda _seconds: None)
        with patch.object(propose, "datetime", clock), patch.object(propose, "time", rest):
            try:
                done, _ = propose.publish(at, self.gitops, made(name, model), None)
            except ConfigError:
                return None
        return done.pinned

    def _done(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except (RefusedError, ConfigError):
            return False
        return True
