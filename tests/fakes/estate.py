"""A small estate of environments on a GitOps branch, for tests of pins: real documents, any branch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.message import compose
from mlops.domain.project import ModelConfig, Project
from mlops.domain.release import ReleaseRecord, record_path
from mlops.domain.source import Commit
from mlops.engine.publishing import Publisher
from mlops.engine.state import Environments
from mlops.manifests import kustomization
from tests.fakes.gitops import MemoryGitOps

ENVIRONMENTS = ("dev", "staging", "prod")
KUSTOMIZATION = b"""# by a person
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../base
images: []
"""


def digest(name: str) -> Digest:
    """The digest of the release that a test calls `name`."""
    return Digest(hashlib.sha256(name.encode()).hexdigest())


def source(name: str) -> Commit:
    return Commit(hashlib.sha1(name.encode()).hexdigest())  # noqa: S324


def release(name: str, model: str = "spam") -> ReleaseId:
    return ReleaseId(model, digest(name))


def record(name: str, model: str = "spam", **more: Any) -> ReleaseRecord:
    """A record with what history, policy and diff read of one."""
    document = {
        "schema": "mlops/release/v1",
        "release": str(release(name, model)),
        "model": model,
        "image": f"{model}@{digest(name)}",
        "source": {"repository": "demo", "commit": source(name).sha, "url": ""},
        "artifact": {
            "path": "models/spam.pkl",
            "md5": hashlib.md5(name.encode()).hexdigest(),  # noqa: S324
        },
        "metrics": {"accuracy": 0.95},
        "gates": [],
        "run": {"name": f"{model}-{source(name).sha[:12]}-1", "attempt": 1},
        "created": "2024-01-01T00:00:00Z",
        **more,
    }
    return ReleaseRecord.of(document)


def overlays(path: str = "environments") -> dict[str, bytes]:
    """The files of fresh overlays: dev → staging → prod."""
    files = {}
    before = None
    for name in ENVIRONMENTS:
        policy = "apiVersion: mlops/v1\nkind: Environment\n"
        policy += f"from: {before}\n" if before else ""
        files[f"{path}/{name}/kustomization.yaml"] = KUSTOMIZATION
        files[f"{path}/{name}/environment.yaml"] = policy.encode()
        before = name
    return files


@dataclass
class Estate:
    """An in-memory branch with overlays on it, and short words for what happens to it."""

    gitops: MemoryGitOps = field(default_factory=MemoryGitOps)
    models: tuple[str, ...] = ("eggs", "spam")
    notes: list[str] = field(default_factory=list)
    names: tuple[str, ...] = ENVIRONMENTS

    def __post_init__(self) -> None:
        if self.gitops.tip() is None:
            self.gitops.edit({"mlops.yaml": b"name: demo\n", **overlays()}, "begin")

    @property
    def project(self) -> Project:
        models = tuple(ModelConfig(name) for name in self.models)
        return Project("demo", models, environments=self.names)

    def add(self, environment: str, *sources: str, more: str = "") -> None:
        """One more environment at the end of the order, with its overlay and policy."""
        if environment not in self.names:
            self.names = (*self.names, environment)
            self.write(f"{environment}/kustomization.yaml", KUSTOMIZATION)
        head = "apiVersion: mlops/v1\nkind: Environment\n"
        text = f"{head}from: [{', '.join(sources)}]\n{more}"
        self.write(f"{environment}/environment.yaml", text.encode())

    @property
    def publisher(self) -> Publisher:
        return Publisher(
            gitops=self.gitops,
            project=self.project,
            actor="Ada",
            now=self.gitops.clock,
            note=self.notes.append,
            pause=lambda _: None,
        )

    def environments(self) -> Environments:
        return self.publisher.environments()

    def pins(self, environment: str) -> Mapping[str, Digest]:
        return self.environments().state(environment).pins

    def read(self, path: str) -> bytes:
        tip = self.gitops.tip()
        content = self.gitops.read(tip, f"environments/{path}") if tip else None
        return content or b""

    def write(self, path: str, content: bytes | None, message: str = "by hand") -> Commit:
        self.gitops.clock.pass_time(minutes=1)
        return self.gitops.edit({f"environments/{path}": content}, message)

    def record(self, name: str, model: str = "spam", **more: Any) -> ReleaseId:
        made = record(name, model, **more)
        path = record_path("environments", model, made.release.digest)
        self.gitops.edit({path: made.dump()}, f"record {name}")
        return made.release

    def pin(self, environment: str, **names: str) -> Commit:
        """A pin by hand: no trailers. `pin("prod", spam="A")`."""
        return self.write(
            f"{environment}/kustomization.yaml", self._pinned(environment, names), "pin by hand"
        )

    def ours(
        self, action: str, environment: str, more: Iterable[tuple[str, str]] = (), **names: str
    ) -> Commit:
        """A pin with the trailers of ours, as a run or a promotion writes it."""
        trailers = [("Mlops-Action", action), ("Mlops-Environment", environment)]
        trailers += [("Mlops-Model", str(release(names[model], model))) for model in names]
        message = compose(f"{action} {environment}", [*trailers, ("Mlops-Actor", "Bob"), *more])
        content = self._pinned(environment, names)
        return self.write(f"{environment}/kustomization.yaml", content, message)

    def _pinned(self, environment: str, names: Mapping[str, str]) -> bytes:
        content = self.read(f"{environment}/kustomization.yaml")
        for model, name in names.items():
            content = kustomization.with_pin(content, model, digest(name), "k")
        return content

    def released(self, *names: str, model: str = "spam", to: Iterable[str] = ENVIRONMENTS) -> None:
        """Record each release and promote it through `to`, one after the other."""
        for name in names:
            self.record(name, model)
            for environment in to:
                action = "run" if environment == "dev" else "promote"
                self.ours(action, environment, **{model: name})
